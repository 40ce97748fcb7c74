"""`benchmark sizes`: images made smaller and larger, as they are, resampled, and of told size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import sizes
from lib.data.studies import list_items, read_item
from lib.errors import InputError
from lib.phantoms.nuclei import write_nuclei_studies
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models", SHIPPED_MODELS)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_nuclei_studies(folder, 2, 2, seed=7)
    return folder


def test_all_ways_are_measured_at_each_size(store, studies, monkeypatch):
    monkeypatch.setattr(sizes, "FACTORS", (1.0, 5.0))
    rounds = []
    report = sizes.run(lambda: rounds.append(1), store, studies)
    known, large = report["figures"]
    assert len(rounds) == 2
    assert (known["images"], known["resampled_images"], large["resampled_images"]) == (2, 0, 2)
    assert known["as it is"] == known["resampled"] == known["told"]
    assert (known["told_images"], large["told_images"]) == (0, 2)
    assert large["diameter"] == pytest.approx(5 * known["diameter"], rel=0.02)
    assert large["resampled"]["ap50"]["value"] > large["as it is"]["ap50"]["value"]
    low, high = large["resampled"]["ap50"]["interval"]
    assert low <= large["resampled"]["ap50"]["value"] <= high
    assert large["told"]["ap50"]["value"] > large["as it is"]["ap50"]["value"]
    lines = sizes.table(report)
    assert len(lines) == 2 and f"told {sizes.cell(large['told']['ap50'])} (2)" in lines[1]


def test_the_size_is_told_from_the_labels(store, studies, monkeypatch):
    monkeypatch.setattr(sizes, "FACTORS", (5.0,))
    told, answer = [], Predictor.__call__

    def noted(self, image, *given, **named):
        told.append(named.get("diameter"))
        return answer(self, image, *given, **named)

    monkeypatch.setattr(Predictor, "__call__", noted)
    (row,) = sizes.run(lambda: None, store, studies)["figures"]
    assert told[0::3] == told[1::3] == [None, None]
    assert row["diameter"] == round(float(np.median(told[2::3])), 1)


def test_a_report_from_before_sizes_were_told_is_read(store, studies, monkeypatch):
    monkeypatch.setattr(sizes, "FACTORS", (1.0,))
    report = sizes.run(lambda: None, store, studies)
    for name in ("told", "told_images"):
        del report["figures"][0][name]
    (line,) = sizes.table(report)
    assert "resampled" in line and "told" not in line


@pytest.mark.parametrize(("file", "name"), [("dsb2018", "DSB 2018"), ("nuinsseg", "NuInsSeg")])
def test_the_card_of_nuclei_has_the_figures_of_the_reports(file, name):
    report = json.loads((DOCS / "results" / f"benchmark_sizes_{file}.json").read_text())
    assert len(sizes.table(report)) == len(sizes.FACTORS)
    card = (DOCS / "models" / "nuclei.md").read_text().splitlines()
    expected = sizes.card_rows(report, name)
    assert [line for line in card if line.startswith(f"| {name}, ")] == expected


def test_images_that_become_too_large_are_left_out(store, studies, monkeypatch):
    monkeypatch.setattr(sizes, "FACTORS", (99.0,))
    with pytest.raises(InputError, match="no image of at most"):
        sizes.run(lambda: None, store, studies)


def test_what_cannot_be_measured_is_refused(store, studies):
    with pytest.raises(InputError, match="as they are"):
        sizes.run(lambda: None, store, studies, task="nuclei_vhllrhe")
    with pytest.raises(InputError, match="--studies"):
        sizes.run(lambda: None, store)


def test_image_and_label_keep_their_places(studies):
    item = list_items(studies, labelled=True)[0]
    image = read_item(item, get_task("nuclei"))
    label = np.zeros(image.shape, np.int32)
    label[40:80, 100:140] = 3
    marked = replace(image, pixels=np.where(label > 0, 255, 0).astype(np.uint8), colour=False)
    for factor in (0.5, 3.0):
        made, moved = sizes.resampled(marked, label, factor)
        assert made.shape == moved.shape == tuple(round(side * factor) for side in image.shape)
        assert np.mean((made.pixels > 127) != (moved == 3)) < 0.001
