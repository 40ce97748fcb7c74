"""The tissue of the breast on the grid of its image, and percent density, on phantoms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lib.errors import InputError
from lib.mammography.density_labels import read_density, read_percent
from lib.mammography.exams import list_exams
from lib.mammography.mammogram import read_mammogram
from lib.mammography.tissue_map import DENSE, MUSCLE, OTHER, estimate_tissue, percent_density


@pytest.fixture(scope="module")
def exam(exam_studies):
    return list_exams(exam_studies)[0]


def test_each_view_has_a_map_on_its_own_grid_whose_percent_is_what_is_told(exam):
    tissue = estimate_tissue(exam)
    assert list(tissue.views) == ["R-CC", "L-CC", "R-MLO", "L-MLO"] and not tissue.left_out
    for view, path in exam.views.items():
        found = tissue.views[view.name]
        assert found.tissues.shape == read_mammogram(path).pixels.shape
        assert set(np.unique(found.tissues)) <= {0, DENSE, OTHER, MUSCLE}
        dense, other = ((found.tissues == value).sum() for value in (DENSE, OTHER))
        assert dense and found.percent == pytest.approx(100 * dense / (dense + other))
    right = np.mean([tissue.views[name].percent for name in ("R-CC", "R-MLO")])
    assert tissue.breasts["R"] == pytest.approx(right)
    assert tissue.percent == pytest.approx(np.mean(list(tissue.breasts.values())))


def test_muscle_counts_neither_as_dense_nor_as_breast():
    tissues = np.array([[DENSE, OTHER, OTHER, OTHER], [MUSCLE, MUSCLE, MUSCLE, 0]], np.uint8)
    assert percent_density(tissues) == 25
    assert percent_density(np.zeros((2, 2), np.uint8)) == 0


def test_a_view_that_cannot_be_read_is_left_out_and_named(exam, tmp_path):
    (tmp_path / "empty_R-CC.dcm").write_bytes(b"nothing")
    views = {**exam.views, next(iter(exam.views)): tmp_path / "empty_R-CC.dcm"}
    from dataclasses import replace

    tissue = estimate_tissue(replace(exam, views=views))
    assert list(tissue.views) == ["L-CC", "R-MLO", "L-MLO"]
    assert "empty_R-CC.dcm" in tissue.left_out["R-CC"]


def test_the_percent_of_a_label_is_read_and_checked(tmp_path):
    file = tmp_path / "label.json"
    file.write_text(json.dumps({"density": "B", "percent_density": {"R-CC": 12.5, "L-CC": 0}}))
    assert read_percent(file) == {"R-CC": 12.5, "L-CC": 0.0} and read_density(file) == "B"
    file.write_text('{"density": "B"}')
    assert read_percent(file) == {}
    for wrong, words in (
        ('{"R-CC": 101}', "R-CC is '101', expected a number from 0 to 100"),
        ('{"R-CC": true}', "R-CC is 'True'"),
        ('{"R-CC": NaN}', "R-CC is 'nan'"),
        ("[3]", "a number for each view"),
    ):
        file.write_text(f'{{"density": "B", "percent_density": {wrong}}}')
        with pytest.raises(InputError, match=words.replace("[", r"\[")):
            read_percent(file)
