"""Points and boxes of a viewer's request, in the order of our arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PillowImage
from ultrasound_samples import write_us

from lib.errors import InputError, NotFoundError
from lib.image import Geometry
from lib.interactive.prompts import read_box, read_points, slices_from_last
from lib.io.read import read_image

SHAPE = (5, 7, 9)  # slices, rows, columns


def test_points_are_columns_first_in_requests_and_slices_first_in_arrays() -> None:
    clicks = read_points({"foreground": [[8, 6, 4], [0, 1, 2]], "background": [[3, 2, 1]]}, SHAPE)
    assert clicks.positive.tolist() == [[4, 6, 8], [2, 1, 0]]
    assert clicks.negative.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([[3, 2, 0]], [[2, 3]]),
        ([[3, 2]], [[2, 3]]),
        ([3, 2, 0], [[2, 3]]),
        ("[[3, 2, 0]]", [[2, 3]]),
        ([[2.6, 2.4, 0.2]], [[2, 3]]),
        ([[3, 2, 0], [0, 0, 0]], [[2, 3], [0, 0]]),
        ([], []),
        ("", []),
        (None, []),
    ],
)
def test_points_of_an_image_come_in_several_spellings(value: Any, expected: list[Any]) -> None:
    clicks = read_points({"foreground": value}, (6, 8))
    assert clicks.positive.tolist() == expected
    assert clicks.positive.shape == (len(expected), 2)


def test_points_of_deepedit_models_come_under_the_names_of_labels() -> None:
    request = {"nuclei": [[1, 2, 0]], "other": [[9, 9, 9]], "background": [[3, 4, 0]]}
    clicks = read_points(request, (6, 8), ("nuclei", "background"))
    assert clicks.positive.tolist() == [[2, 1]]
    assert clicks.negative.tolist() == [[4, 3]]


def test_a_point_of_two_numbers_lies_in_the_slice_that_the_request_names() -> None:
    assert read_points({"foreground": [[8, 6]], "slice": 3}, SHAPE).positive.tolist() == [[3, 6, 8]]
    with pytest.raises(InputError, match="no point.*'slice'"):
        read_points({"foreground": [[8, 6]]}, SHAPE)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[9, 0, 0]], r"\(9, 0, 0\) lies outside the image of 9 x 7 x 5"),
        ([[0, 0, -1]], "outside"),
        ([[0, 0, 5]], "outside"),
        ([["1", 2, 3]], "no point"),
        ([[True, 2, 3]], "no point"),
        ([[float("nan"), 2, 3]], "no point"),
        ([[10**400, 2, 3]], "no point"),
        ([[1, 2, 3, 4]], "no point"),
        ([[1]], "no point"),
        ([[]], "no point"),
        ([1, [2, 3]], "no point"),
        (7, "no point"),
        ({"x": 1}, "no point"),
        ("[[1, 2", "no JSON"),
        ([[0, 0, 0]] * 10_001, "at most 10000"),
    ],
)
def test_what_is_no_point_of_the_volume_is_refused(value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_points({"foreground": value}, SHAPE)


def test_a_point_beyond_the_only_slice_of_an_image_is_refused() -> None:
    with pytest.raises(InputError, match="outside the image of 8 x 6"):
        read_points({"background": [[1, 1, 1]]}, (6, 8))


def test_a_point_that_is_both_is_refused_with_what_to_do_in_ohif() -> None:
    with pytest.raises(InputError, match="both.*OHIF"):
        read_points({"foreground": [[1, 2, 3]], "background": [[1, 2, 3]]}, SHAPE)


def test_a_box_has_its_ends_in_any_order_and_ends_with_the_image() -> None:
    box = read_box({"roi": [8, 2, 1, 3, -4, 99]}, SHAPE)
    assert box == (slice(0, 5), slice(1, 4), slice(2, 9))
    assert read_box({"roi": [2, 8, 1, 3, 0, 0]}, (7, 9)) == (slice(1, 4), slice(2, 9))
    assert read_box({"roi": []}, SHAPE) is None
    assert read_box({}, SHAPE) is None


@pytest.mark.parametrize("roi", [[1, 2], [1, 2, 3, 4, 5, "x"], 7, [99, 120, 0, 1, 0, 1], "[1"])
def test_what_is_no_box_of_the_image_is_refused(roi: Any) -> None:
    with pytest.raises(InputError, match="roi"):
        read_box({"roi": roi}, SHAPE)


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
def test_a_viewers_index_of_a_turned_volume_finds_the_voxel_of_its_place(
    tmp_path: Path, kind: str
) -> None:
    """As viewers do: the place in the patient of a bright voxel, through the file's geometry."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[1, 5, 7] = 900
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.5, 0.7, 2.0))
    image.SetOrigin((-31.0, 12.0, 44.0))
    image.SetDirection((-1, 0, 0, 0, 0, 1, 0, 1, 0))
    sitk.WriteImage(image, str(tmp_path / f"volume{kind}"))
    place = image.TransformIndexToPhysicalPoint((7, 5, 1))
    shown = sitk.ReadImage(str(tmp_path / f"volume{kind}"))  # as 3D Slicer reads it
    point = shown.TransformPhysicalPointToIndex(place)
    ours = read_image(tmp_path / f"volume{kind}", spatial_dims=None)
    clicks = read_points({"foreground": [list(point)]}, ours.shape)
    assert ours.pixels[tuple(clicks.positive[0])] == 900


def test_a_viewers_index_of_a_picture_is_column_row_and_zero(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[2, 7] = 255
    PillowImage.fromarray(pixels).save(tmp_path / "picture.png")
    ours = read_image(tmp_path / "picture.png")
    clicks = read_points({"foreground": [[7, 2, 0]]}, ours.shape)
    assert ours.pixels[tuple(clicks.positive[0])].tolist() == [255, 255, 255]


def test_a_viewers_index_of_a_loop_is_column_row_and_frame_of_the_file(tmp_path: Path) -> None:
    pixels = np.zeros((4, 16, 20), np.uint8)
    pixels[3, 9, 17] = 255
    file = write_us(tmp_path / "loop.dcm", pixels)
    assert sitk.ReadImage(str(file)).GetPixel((17, 9, 3)) == 255
    ours = read_image(file, spatial_dims=None)
    clicks = read_points({"foreground": [[17, 9, 3]]}, ours.shape)
    assert ours.pixels[tuple(clicks.positive[0])] == 255


# --- slices that are counted from the last --------------------------------------------------------

LEFT = Geometry((9, 7, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_slicer_counts_the_slices_of_left_handed_axes_from_the_last():
    right = Geometry.flat(5, 7, 9)
    turned = replace(right, direction=(0, 0, 1, 1, 0, 0, 0, 1, 0))
    flat = Geometry((9, 7), (1.0, 1.0), (0.0, 0.0), (0, 1, 1, 0))
    assert slices_from_last({}, LEFT)
    assert slices_from_last({"index": "viewer"}, LEFT)
    assert not slices_from_last({"index": "file"}, LEFT)
    assert not any(slices_from_last({}, one) for one in (right, turned, flat))
    with pytest.raises(NotFoundError, match="unknown index 'files': did you mean 'file'"):
        slices_from_last({"index": "files"}, LEFT)


def test_such_clicks_and_boxes_are_turned_to_the_order_of_the_file():
    request = {"foreground": [[8, 6, 4]], "background": [[3, 2], [1, 1, 0]], "slice": 1}
    clicks = read_points(request, SHAPE, from_last_slice=True)
    assert clicks.positive.tolist() == [[0, 6, 8]]
    assert clicks.negative.tolist() == [[3, 2, 3], [4, 1, 1]]
    box = read_box({"roi": [8, 2, 1, 3, 0, 1]}, SHAPE, from_last_slice=True)
    assert box == (slice(3, 5), slice(1, 4), slice(2, 9))
