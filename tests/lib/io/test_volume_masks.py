"""Masks of volumes keep every value and lie where their volume lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from volume_samples import ITK_KINDS, OBLIQUE, PRECISION, SHAPE, VOLUME_KINDS, same_grid

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.io.labels import read_label
from lib.io.masks import result_extension, write_mask, write_probabilities
from lib.io.read import read_image

MASK = np.random.default_rng(1).integers(0, 9, SHAPE)


def _read(path: Path) -> Image:
    return read_image(path, spatial_dims=3)


@pytest.mark.parametrize("kind", ITK_KINDS)
@pytest.mark.parametrize("image_kind", ITK_KINDS)
def test_a_mask_lies_where_its_volume_lies(tmp_path, kind, image_kind):
    image = _read(write_mask(tmp_path / f"a{image_kind}", MASK + 1, OBLIQUE))
    mask = _read(write_mask(tmp_path / f"m{kind}", MASK, image.geometry))
    np.testing.assert_array_equal(mask.pixels, MASK)
    assert same_grid(mask.geometry, image.geometry, PRECISION[kind])


@pytest.mark.parametrize("kind", VOLUME_KINDS)
@pytest.mark.parametrize("top", [1, 300, 70_000])
@pytest.mark.parametrize("shape", [SHAPE, (3, 20, 30), (4, 20, 30), (5, 20, 3), (5, 20, 4)])
def test_labels_round_trip_in_every_kind_and_shape(tmp_path, kind, top, shape):
    mask = np.random.default_rng(top).integers(0, top, shape, endpoint=True)
    path = write_mask(tmp_path / f"m{kind}", mask, Geometry.flat(*shape))
    label = read_label(path, shape)
    np.testing.assert_array_equal(label, mask)
    assert label.dtype == np.int32
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "an .mhd too is one file"


def test_a_volume_is_refused_for_png_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="a PNG holds one 2D image, found a volume of 30 x 20 x 7"):
        write_mask(tmp_path / "m.png", MASK, OBLIQUE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(20, 30), (7, 20, 31), (7, 20, 30, 1), (30, 20, 7)])
def test_a_mask_of_another_size_than_the_grid_is_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="does not fit a grid of"):
        write_mask(tmp_path / "m.nrrd", np.zeros(shape, np.uint8), OBLIQUE)


@pytest.mark.parametrize("kind", ITK_KINDS)
def test_probabilities_of_a_volume_round_trip(tmp_path, kind):
    probabilities = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    path = write_probabilities(tmp_path / f"p{kind}", probabilities, OBLIQUE)
    np.testing.assert_array_equal(_read(path).pixels, probabilities)
    with pytest.raises(ValueError, match="probabilities of shape .* do not fit a grid"):
        write_probabilities(path, probabilities[:3], OBLIQUE)


@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_a_label_of_another_size_than_its_volume_is_refused(tmp_path, kind):
    path = write_mask(tmp_path / f"m{kind}", MASK, OBLIQUE)
    with pytest.raises(
        InputError,
        match=rf"m{kind}: label has 7 slices, 20 rows and 30 columns, its image has 8, 20 and 30; ",
    ):
        read_label(path, (8, 20, 30))


def test_a_label_of_other_dimensions_than_its_image_is_refused(tmp_path):
    volume = write_mask(tmp_path / "volume.nrrd", MASK, OBLIQUE)
    flat = write_mask(tmp_path / "flat.nrrd", MASK[0], Geometry.flat(20, 30))
    with pytest.raises(InputError, match="^flat.nrrd: one slice of 30 x 20, expected a volume"):
        read_label(flat, SHAPE)
    for shape in (None, (20, 30)):
        with pytest.raises(InputError, match="^volume.nrrd: a volume of 30 x 20 x 7, expected one"):
            read_label(volume, shape)


def test_a_label_volume_may_have_more_voxels_than_an_image_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.io.layers.MAX_PIXELS", 100)
    path = write_mask(tmp_path / "m.nrrd", MASK, OBLIQUE)
    np.testing.assert_array_equal(read_label(path, SHAPE), MASK)


def test_a_coloured_label_volume_is_refused(tmp_path):
    colours = np.stack([MASK, MASK, 2 * MASK], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.nrrd"))
    with pytest.raises(InputError, match=r"c\.nrrd: a label image holds one integer per pixel"):
        read_label(tmp_path / "c.nrrd", SHAPE)


@pytest.mark.parametrize(
    ("wanted", "image", "expected"),
    [
        (None, "a.nii.gz", ".nii.gz"),
        (None, "a.mhd", ".mhd"),
        (None, "a.tif", ".tif"),
        (None, "a", ".nrrd"),
        ("mha", "a.tif", ".mha"),
    ],
)
def test_the_result_type_of_a_volume_is_the_wanted_one_else_its_own(wanted, image, expected):
    assert result_extension(wanted, image, spatial_dims=3) == expected


def test_a_png_is_refused_as_result_type_of_a_volume():
    with pytest.raises(InputError, match=r"'\.png' cannot hold a label volume; expected one of \."):
        result_extension(".png", "a.nrrd", spatial_dims=3)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"spacing": (0.30001, 0.7, 2.5)}, True),
        ({"spacing": (0.31, 0.7, 2.5)}, False),
        ({"origin": (-4.1, 11.5, 99.302)}, True),
        ({"origin": (-4.1, 11.5, 100.3)}, False),
        ({"origin": (-4.1, 11.51, 99.3)}, False),
        ({"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, False),
        ({"size": (30, 20, 8)}, False),
    ],
)
def test_grids_are_the_same_within_a_share_of_a_voxel(change, same):
    assert same_grid(OBLIQUE, replace(OBLIQUE, **change)) is same


def test_a_flat_grid_is_not_that_of_a_volume():
    assert not same_grid(Geometry.flat(20, 30), Geometry.flat(1, 20, 30))
    assert same_grid(Geometry.flat(20, 30), Geometry.flat(20, 30))


def test_colour_is_not_taken_for_an_axis():
    pixels = np.zeros((20, 30, 3), np.uint8)
    image = Image(pixels, Geometry.flat(20, 30), Path("a.png"), colour=True)
    assert (image.shape, image.spatial_dims) == ((20, 30), 2)
    with pytest.raises(ValueError, match=r"\(20, 30, 3\) with colour=False do not fit a grid of"):
        Image(pixels, Geometry.flat(20, 30), Path("a.png"))
