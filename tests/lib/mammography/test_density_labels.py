"""Density labels as JSON and as label images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.mammography.density_labels import read_density, read_scale


@pytest.mark.parametrize(
    ("content", "density"),
    [
        ('{"density": "C"}', "C"),
        ('{"density": "a"}', "A"),
        ('{"density": 4}', "D"),
        ('{"density": "Dense"}', "dense"),
    ],
)
def test_a_density_is_read_from_json(tmp_path, content, density):
    (tmp_path / "a.json").write_text(content)
    assert read_density(tmp_path / "a.json") == density
    assert read_scale(tmp_path / "a.json") == "birads"


@pytest.mark.parametrize("content", ["{}", '{"density": "E"}', "[1]", "{", '{"density": true}'])
def test_json_without_a_density_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match="a.json"):
        read_density(tmp_path / "a.json")


def test_a_density_is_read_from_a_label_image(tmp_path):
    label = np.zeros((9, 7), np.uint8)
    for value, density in enumerate((*"ABCD", "non-dense", "dense"), start=1):
        label[2:5, 3:6] = value
        PillowImage.fromarray(label).save(tmp_path / "a.png")
        assert read_density(tmp_path / "a.png") == density


@pytest.mark.parametrize("values", [(0, 0), (1, 3), (7, 7)])
def test_a_label_image_of_no_or_several_classes_is_refused(tmp_path, values):
    label = np.zeros((9, 7), np.uint8)
    label[0, 0], label[1, 1] = values
    PillowImage.fromarray(label).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="expected one of 1"):
        read_density(tmp_path / "a.png")


def test_a_label_of_one_slice_is_read(tmp_path):
    import SimpleITK as sitk

    label = np.zeros((1, 9, 7), np.uint8)
    label[0, 2, 2] = 3
    sitk.WriteImage(sitk.GetImageFromArray(label), str(tmp_path / "a.nrrd"))
    assert read_density(tmp_path / "a.nrrd") == "C"
