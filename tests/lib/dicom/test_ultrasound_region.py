"""DICOM ultrasound is calibrated by its tags, and its region told from the surround."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from ultrasound_samples import COLUMNS, ROWS, SPACED, read_ultrasound
from ultrasound_samples import grey as _grey
from ultrasound_samples import write_us as _us

from lib.dicom.ultrasound_region import Crop, find_region
from lib.io.read import read_image


def _region(box: tuple[int, int, int, int], **tags) -> Dataset:
    """A region item; `box` is first column, first row, last column, last row."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2:]
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.03, 0.02
    for tag, value in tags.items():
        setattr(item, tag, value)
    return item


def _with_regions(path: Path, *items: Dataset, **tags) -> Path:
    return _us(path, _grey(), SequenceOfUltrasoundRegions=Sequence(items), FrameTime="40", **tags)


def test_the_region_of_the_header_is_taken_and_calibrates(tmp_path):
    path = _with_regions(tmp_path / "a.dcm", _region((10, 4, 49, 33)))
    read = read_ultrasound(path)
    assert read.region == Crop(4, 10, 30, 40)
    assert read.region_source == "header"
    np.testing.assert_array_equal(read.pixels, _grey())
    assert read.spacing == pytest.approx((40.0, 0.2, 0.3))
    assert (read.calibrated, read.timed, read.frame_axis) == (True, True, "time")
    assert read.warnings == ()
    image = read_image(path, spatial_dims=3)
    assert image.region == (slice(4, 34), slice(10, 50))
    assert image.spacing == pytest.approx((0.3, 0.2, 1.0))
    assert image.geometry.spacing == (1.0, 1.0, 1.0), "as ITK reads it"
    assert image.over_time
    np.testing.assert_array_equal(image.pixels, _grey())


def test_of_several_regions_all_of_tissue_are_taken(tmp_path):
    items = (
        _region((0, 0, 63, 47), RegionDataType=10),  # a trace
        _region((0, 0, 63, 47), RegionSpatialFormat=2),  # M-mode
        _region((2, 3, 19, 19), PhysicalDeltaX=0.5),
        _region((20, 5, 70, 60)),  # beyond the frame
    )
    read = read_ultrasound(_with_regions(tmp_path / "a.dcm", *items))
    assert read.region == Crop(3, 2, ROWS - 3, COLUMNS - 2)
    assert read.spacing[1:] == pytest.approx((0.2, 0.3)), "of the larger"
    assert read.warnings == ("2 tissue regions; all are taken, the largest's spacing for all",)


def test_pixel_spacing_comes_first(tmp_path):
    path = _with_regions(tmp_path / "a.dcm", _region((10, 4, 49, 33)), PixelSpacing=["0.5", "0.6"])
    assert read_ultrasound(path).spacing[1:] == (0.5, 0.6)


@pytest.mark.parametrize(
    "tags",
    [
        {"PhysicalUnitsXDirection": 4},  # seconds
        {"PhysicalDeltaX": 0.0},
    ],
    ids=["seconds", "zero"],
)
def test_a_region_without_lengths_calibrates_nothing(tmp_path, tags):
    read = read_ultrasound(_with_regions(tmp_path / "a.dcm", _region((10, 4, 49, 33), **tags)))
    assert read.spacing == (40.0, 1.0, 1.0)
    assert not read.calibrated
    assert any("no spacing in the file" in warning for warning in read.warnings)
    assert read.region == Crop(4, 10, 30, 40)


def test_malformed_regions_are_passed_over(tmp_path):
    empty, outside = Dataset(), _region((200, 200, 300, 300))
    read = read_ultrasound(_with_regions(tmp_path / "a.dcm", empty, outside))
    assert read.region_source != "header"
    assert not read.calibrated


@pytest.mark.parametrize(
    ("tags", "axis", "step"),
    [
        ({"FrameTime": "33.3"}, "time", 33.3),
        ({"FrameTimeVector": ["0", "20", "40"]}, "time", 30.0),
        ({"CineRate": "25"}, "time", 40.0),
        ({"RecommendedDisplayFrameRate": "50"}, "time", 20.0),
        ({"SpacingBetweenSlices": "0.8"}, "space", 0.8),
        ({"FrameTime": "0"}, "time", None),
        ({}, "time", None),
    ],
)
def test_frames_follow_time_or_space(tmp_path, tags, axis, step):
    read = read_ultrasound(_us(tmp_path / "a.dcm", _grey(), **SPACED, **tags))
    assert read.frame_axis == axis
    assert read.timed == (step is not None)
    assert read.spacing == pytest.approx((step or 1.0, 0.2, 0.3))


def test_missing_geometry_is_said(tmp_path):
    read = read_ultrasound(_us(tmp_path / "a.dcm", _grey(1)))
    assert read.spacing == (1.0, 1.0, 1.0)
    assert not read.calibrated
    assert read.warnings == ("no spacing in the file: rows and columns are taken as 1 mm apart",)


@pytest.mark.parametrize("modality", ["OT", None])
def test_another_modality_is_a_warning(tmp_path, modality):
    read = read_ultrasound(_us(tmp_path / "a.dcm", _grey(1), Modality=modality, **SPACED))
    assert read.warnings == (
        f"Modality is {modality or 'none'}, expected US; read as ultrasound all the same",
    )


def _screen(frames: int) -> np.ndarray:
    """A sector that moves, on black, with a still name above and a grey bar at the side."""
    rng, down, right = np.random.default_rng(1), *np.mgrid[:120, :160]
    sector = (np.abs(right - 80) < 10 + 0.5 * (down - 20)) & (down >= 20) & (down < 100)
    screen = rng.integers(30, 220, (frames, 120, 160)).astype(np.uint8) * sector
    screen[:, 4:10, 10:70:3] = 255
    screen[:, 30:90, 150:154] = np.linspace(0, 255, 60)[:, None].astype(np.uint8)
    return screen


@pytest.mark.parametrize("frames", [1, 5])
def test_the_sector_is_found_among_names_and_scales(tmp_path, frames):
    box = find_region(_screen(frames))
    assert box is not None
    assert abs(box.top - 20) <= 4 and abs(box.top + box.rows - 100) <= 4
    assert abs(box.left - 31) <= 4 and abs(box.left + box.columns - 130) <= 4
    read = read_ultrasound(_us(tmp_path / "a.dcm", _screen(frames), FrameTime="40"))
    assert (read.region, read.region_source) == (box, "found")


@pytest.mark.parametrize("frames", [1, 5])
def test_two_views_side_by_side_are_found_together(frames):
    screen = _screen(frames)
    box = find_region(np.concatenate((screen, screen), axis=2))
    assert abs(box.left - 31) <= 4 and abs(box.left + box.columns - (160 + 130)) <= 4


def test_the_region_of_a_still_loop_is_that_of_a_single_frame():
    still = np.repeat(_screen(1), 4, axis=0)
    assert find_region(still) == find_region(still[:1])


@pytest.mark.parametrize("value", [0, 77])
def test_without_an_image_no_region_is_found(tmp_path, value):
    blank = np.full((3, ROWS, COLUMNS), value, np.uint8)
    assert find_region(blank) is None
    read = read_ultrasound(_us(tmp_path / "a.dcm", blank))
    assert read.region == Crop.whole(ROWS, COLUMNS)
    assert read.region_source == "whole"
    assert read_image(tmp_path / "a.dcm", spatial_dims=None).region is None


def test_an_image_up_to_its_rim_stays_whole(tmp_path):
    for frames in (1, 3):
        read = read_ultrasound(_us(tmp_path / "a.dcm", _grey(frames)))
        assert read.pixels.shape == (frames, ROWS, COLUMNS)
        assert read.region == Crop.whole(ROWS, COLUMNS)
