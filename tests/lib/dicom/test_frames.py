"""DICOM of several frames reads as a volume or a loop, on the grid of its tags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence
from pydicom.uid import (
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)
from ultrasound_samples import COLUMNS, ROWS, SPACED, grey, group, item, write_us

from lib.errors import InputError
from lib.image import Image
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import check_readable, image_size, read_image

FRAMES = 4
COSINES = np.array((0.36, 0.48, -0.8)), np.array((-0.8, 0.6, 0.0))
NORMAL = np.cross(*COSINES)
START = np.array((-4.1, 11.5, 99.3))


def _read(path: Path | str, spatial_dims: int | None = None) -> Image:
    return read_image(path, spatial_dims=spatial_dims)


def _enhanced(path: Path, distances: list[float], modality: str = "MR", **tags) -> Path:
    """Write frames at `distances` in mm from the first along the normal."""
    per_frame = [
        group(
            PlanePositionSequence=item(
                ImagePositionPatient=[f"{value:.9f}" for value in START + NORMAL * distance]
            )
        )
        for distance in distances
    ]
    shared = group(
        PlaneOrientationSequence=item(
            ImageOrientationPatient=[f"{value:.9f}" for value in np.concatenate(COSINES)]
        ),
        PixelMeasuresSequence=item(PixelSpacing=["0.7", "0.3"], SliceThickness="9"),
    )
    return write_us(
        path,
        tags.pop("pixels", grey(len(distances), np.uint16)),
        Modality=modality,
        SOPClassUID=MRImageStorage,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(per_frame),
        **tags,
    )


# --- ultrasound ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial_dims", [3, None])
def test_a_loop_is_read_over_time(tmp_path, spatial_dims):
    path = write_us(tmp_path / "a.dcm", grey(FRAMES), FrameTime="40", **SPACED)
    image = _read(path, spatial_dims)
    np.testing.assert_array_equal(image.pixels, grey(FRAMES))
    assert (image.over_time, image.colour, image.region) == (True, False, None)
    assert image.geometry.spacing == (0.3, 0.2, 1.0)
    assert image_size(path) == image.geometry.size == (COLUMNS, ROWS, FRAMES)


def test_an_ultrasound_volume_is_read_in_space(tmp_path):
    tags = {"SpacingBetweenSlices": "0.8", "ImagePositionPatient": ["1", "2", "3"]}
    image = _read(write_us(tmp_path / "a.dcm", grey(FRAMES), **SPACED, **tags))
    assert not image.over_time
    assert image.spacing == (0.3, 0.2, 0.8)
    assert image.geometry.spacing == (0.3, 0.2, 1.0), "as ITK reads it"
    assert image.geometry.origin == (1.0, 2.0, 3.0)


def test_colour_of_ultrasound_is_read_as_luminance(tmp_path):
    pixels = np.repeat(grey(FRAMES)[..., None], 3, axis=3)
    pixels[:, 5:10, 5:10] = 200, 30, 30
    for frames in (1, FRAMES):
        image = _read(write_us(tmp_path / f"{frames}.dcm", pixels[:frames], "RGB"))
        assert not image.colour
        assert (image.pixels[..., 6, 6] == round(0.299 * 200 + 0.701 * 30)).all()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"Modality": "IVUS", "SOPClassUID": SecondaryCaptureImageStorage}, True),
        ({"Modality": None, "SOPClassUID": UltrasoundMultiFrameImageStorage}, True),
        ({"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage}, False),
    ],
)
def test_ultrasound_is_known_by_its_modality_or_its_class(tmp_path, tags, expected):
    pixels = np.zeros((FRAMES, 120, 160), np.uint8)
    pixels[:, 20:100, 30:130] = np.random.default_rng(0).integers(50, 200, (FRAMES, 80, 100))
    image = _read(write_us(tmp_path / "a.dcm", pixels, FrameTime="40", **tags))
    assert (image.region is not None) == expected
    assert image.over_time, "by its frame time, whatever it is"


# --- other objects -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [2.5, -2.5], ids=["up", "down"])
def test_every_frame_lies_where_its_position_says(tmp_path, step):
    image = _read(_enhanced(tmp_path / "a.dcm", [step * index for index in range(FRAMES)]))
    grid = image.geometry
    direction = np.array(grid.direction).reshape(3, 3)
    for index in range(FRAMES):
        place = grid.origin + direction @ (np.array((0, 0, index)) * grid.spacing)
        assert place == pytest.approx(START + NORMAL * step * index)
    assert direction[:, 0] == pytest.approx(COSINES[0])
    assert direction[:, 1] == pytest.approx(COSINES[1])
    assert grid.spacing == pytest.approx((0.3, 0.7, 2.5))
    assert not image.over_time
    np.testing.assert_array_equal(image.pixels, grey(FRAMES, np.uint16))


def test_an_ultrasound_volume_has_its_distances_from_the_probe_and_no_place(tmp_path):
    per_frame = [
        group(PlanePositionVolumeSequence=item(ImagePositionVolume=[5.0, 5.0, 0.8 * index]))
        for index in range(FRAMES)
    ]
    tags = {"PerFrameFunctionalGroupsSequence": Sequence(per_frame)}
    image = _read(write_us(tmp_path / "a.dcm", grey(FRAMES), **SPACED, **tags))
    assert not image.over_time
    assert image.spacing == pytest.approx((0.3, 0.2, 0.8))
    assert image.geometry.origin == (0.0, 0.0, 0.0)


def test_frames_at_one_place_follow_time(tmp_path):
    image = _read(_enhanced(tmp_path / "a.dcm", [0.0] * FRAMES))
    assert image.over_time
    assert image.geometry.spacing == (0.3, 0.7, 1.0)


def test_frames_at_uneven_distances_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"2 of 3 slices are not 1 mm from their neighbour"):
        _read(_enhanced(tmp_path / "a.dcm", [0.0, 1.0, 5.0, 5.5]))


def test_offsets_of_frames_are_heeded():
    image = _read(get_testdata_file("rtdose.dcm", download=False))
    assert image.shape == (15, 10, 10)
    assert image.geometry.spacing == (10.0, 10.0, 5.0)
    assert not image.over_time


def test_frames_without_any_geometry_have_unit_spacing(tmp_path):
    tags = {"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage}
    image = _read(write_us(tmp_path / "a.dcm", grey(FRAMES), **tags))
    assert image.geometry.spacing == (1.0, 1.0, 1.0)
    assert image.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert not image.over_time


def test_colour_of_other_objects_is_kept():
    image = _read(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False))
    assert (image.pixels.shape, image.colour) == ((2, 100, 100, 3), True)


# --- uploads and labels --------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_a_loop_is_read_to_the_end_before_it_is_taken(tmp_path, syntax):
    path = write_us(tmp_path / "a.dcm", grey(FRAMES))
    if syntax:
        data = pydicom.dcmread(path)
        data.compress(syntax)
        data.save_as(path)
    check_readable(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"^a\.dcm: .*export it again"):
        check_readable(path)


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha", ".tif"])
def test_a_label_of_a_loop_is_read_back(tmp_path, kind):
    image = _read(write_us(tmp_path / "a.dcm", grey(FRAMES), **SPACED))
    mask = (image.pixels > 100).astype(np.uint8)
    path = write_mask(tmp_path / f"label{kind}", mask, image.geometry)
    np.testing.assert_array_equal(read_label(path, image.shape), mask)
