"""A label comes to lie on its image as it lies in space, or is refused; nothing of it is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from volume_samples import OBLIQUE

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.io.alignment import aligned, same_grid
from lib.io.labels import read_label
from lib.io.masks import write_mask

FLAT = Geometry((30, 20), (0.3, 0.7), (-4.0, 11.5), (0.8, -0.6, 0.6, 0.8))
SHAPE_2D, SHAPE_3D = (20, 30), (7, 20, 30)
VOLUME = np.random.default_rng(1).integers(0, 4, SHAPE_3D).astype(np.int32)
PLANE = VOLUME[0]


def _moved(
    label: np.ndarray,
    grid: Geometry,
    order: tuple[int, ...],
    flips: tuple[bool, ...],
    crop: tuple[tuple[int, int], ...],
) -> tuple[np.ndarray, Geometry]:
    """Return the same label, its axes in another order, flipped, cut or padded, where it lay.

    Args:
        order, flips, crop: of the axes of `grid`, x first; a crop is pixels taken from each end,
            or, below 0, added.
    """
    axes = len(grid.size)
    direction = np.reshape(grid.direction, (axes, axes))
    origin = np.array(grid.origin)
    for axis, ((before, after), flip) in enumerate(zip(crop, flips, strict=True)):
        place = axes - 1 - axis  # of the axis in the array
        pad = [(0, 0)] * axes
        pad[place] = max(-before, 0), max(-after, 0)
        label = np.pad(label, pad)
        cut = slice(max(before, 0), label.shape[place] - max(after, 0))
        label = label[(slice(None),) * place + (cut,)]
        origin = origin + direction[:, axis] * grid.spacing[axis] * before
        if flip:
            label = np.flip(label, place)
            length = grid.spacing[axis] * (label.shape[place] - 1)
            origin = origin + direction[:, axis] * length
            direction = direction * np.where(np.arange(axes) == axis, -1, 1)
    label = label.transpose(tuple(axes - 1 - axis for axis in reversed(order)))
    return np.ascontiguousarray(label), Geometry(
        label.shape[::-1],
        tuple(grid.spacing[axis] for axis in order),
        tuple(origin.tolist()),
        tuple(direction[:, list(order)].ravel().tolist()),
    )


def _turns(draw: st.DrawFn, axes: int) -> tuple[float, ...]:
    """Draw directions: a rotation about any axis by any angle, or a mirror image of one."""
    numbers = draw(st.lists(st.floats(-1, 1), min_size=axes * axes, max_size=axes * axes))
    matrix = np.reshape(numbers, (axes, axes)) + 0.1 * np.eye(axes)
    if draw(st.booleans()):
        matrix = np.eye(axes)
    assume(abs(np.linalg.det(matrix)) > 1e-2)
    return tuple(np.linalg.qr(matrix)[0].ravel().tolist())


@st.composite
def _cases(draw: st.DrawFn):
    axes = draw(st.sampled_from([2, 3]))
    size = tuple(draw(st.integers(2, 7)) for _ in range(axes))
    spacing = tuple(draw(st.sampled_from([1.0, 0.3, 0.0847, 2.5])) for _ in range(axes))
    origin = tuple(draw(st.sampled_from([0.0, -4.1, 11.5, 250.123])) for _ in range(axes))
    grid = Geometry(size, spacing, origin, _turns(draw, axes))
    seed = draw(st.integers(0, 999))
    label = np.random.default_rng(seed).integers(0, 3, size[::-1]).astype(np.int32)
    order = tuple(draw(st.permutations(range(axes))))
    flips = tuple(draw(st.booleans()) for _ in range(axes))
    ends = st.integers(-2, 2) if draw(st.booleans()) else st.just(0)
    crop = tuple((draw(ends), draw(ends)) for _ in range(axes))
    for side, (before, after) in zip(size, crop, strict=True):
        assume(max(before, 0) < side - max(after, 0))
    return grid, label, order, flips, crop


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(_cases())
def test_flipped_turned_cropped_and_padded_labels_lie_where_they_lay(case):
    grid, label, order, flips, crop = case
    inside = tuple(
        slice(max(before, 0), side - max(after, 0))
        for side, (before, after) in zip(grid.size, crop, strict=True)
    )[::-1]
    truth = np.zeros_like(label)
    truth[inside] = label[inside]
    moved, own = _moved(label, grid, order, flips, crop)
    try:
        found = aligned("m", moved, own, grid)
    except InputError as error:
        assert "does not tell which part" in str(error)
        assert set(own.spacing) == {1.0} and not any(own.origin)
        return
    np.testing.assert_array_equal(found, truth)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(_cases(), st.data())
def test_labels_of_other_pixels_are_resampled_as_itk_does_or_refused(case, data):
    grid, _, order, flips, crop = case
    axes = len(grid.size)
    scale = [data.draw(st.sampled_from([0.5, 0.8, 1.0, 1.5, 2.0])) for _ in range(axes)]
    shift = [data.draw(st.floats(-1, 1)) for _ in range(axes)]
    _, own = _moved(np.zeros(grid.size[::-1], np.int32), grid, order, flips, crop)
    own = replace(
        own,
        spacing=tuple(np.multiply(own.spacing, scale).tolist()),
        origin=tuple(np.add(own.origin, np.multiply(shift, min(own.spacing))).tolist()),
        direction=_turns(data.draw, axes) if data.draw(st.booleans()) else own.direction,
    )
    label = np.zeros(own.size[::-1], np.int32)
    label[tuple(slice(side // 4, side - side // 4) for side in label.shape)] = 5
    try:
        found = aligned("m", label, own, grid)
    except InputError as error:
        assert " pixels of " in str(error)
        return
    if np.array_equal(found, label) and own.size == grid.size and not any(own.origin):
        return  # without a place of its own
    image = sitk.GetImageFromArray(label)
    image.SetSpacing(own.spacing)
    image.SetOrigin(own.origin)
    image.SetDirection(own.direction)
    wanted = sitk.Resample(
        image,
        grid.size,
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        grid.origin,
        grid.spacing,
        grid.direction,
    )
    if not same_grid(own, grid):
        np.testing.assert_array_equal(found, sitk.GetArrayFromImage(wanted))
    assert found.any() == label.any()


def test_directions_of_tiny_numbers_are_none():
    tiny = (-1.0, 5e-323, -1e-323, 0.0, -0.6, 0.8, 5e-323, -0.8, -0.6)
    grid = replace(OBLIQUE, direction=tiny)
    moved, own = _moved(VOLUME, grid, (2, 1, 0), (True, False, False), ((0, 0),) * 3)
    np.testing.assert_array_equal(aligned("m", moved, own, grid), VOLUME)


def _file(path: Path, label: np.ndarray, grid: Geometry) -> Path:
    return write_mask(path, label, grid)


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize(("grid", "label"), [(FLAT, PLANE), (OBLIQUE, VOLUME)], ids=["2D", "3D"])
def test_a_flipped_label_file_is_read_as_it_lies_on_its_image(tmp_path, kind, grid, label):
    axes = len(grid.size)
    moved, own = _moved(label, grid, tuple(range(axes)), (True,) * axes, ((0, 0),) * axes)
    path = _file(tmp_path / f"m{kind}", moved, own)
    np.testing.assert_array_equal(read_label(path, grid), label)
    np.testing.assert_array_equal(read_label(path, label.shape), moved)


def test_the_same_label_on_a_finer_and_on_a_coarser_grid_is_resampled(tmp_path):
    label = np.zeros(SHAPE_3D, np.int32)
    label[2:5, 6:14, 8:20] = 3
    fine = replace(
        OBLIQUE,
        size=tuple(2 * side for side in OBLIQUE.size),
        spacing=tuple(step / 2 for step in OBLIQUE.spacing),
        origin=_at(OBLIQUE, (-0.25,) * 3),
    )
    path = _file(tmp_path / "fine.nrrd", label.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine)
    np.testing.assert_array_equal(read_label(path, OBLIQUE), label)
    path = _file(tmp_path / "coarse.nrrd", label, OBLIQUE)
    repeated = label.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(read_label(path, fine), repeated)


def _at(grid: Geometry, index: tuple[float, ...]) -> tuple[float, ...]:
    turn = np.reshape(grid.direction, (len(grid.size),) * 2)
    return tuple((grid.origin + turn @ (np.array(index) * grid.spacing)).tolist())


def test_a_single_labelled_slice_of_a_volume_is_put_into_it(tmp_path):
    own = replace(OBLIQUE, size=(30, 20, 1), origin=_at(OBLIQUE, (0, 0, 4)))
    path = _file(tmp_path / "m.nii.gz", VOLUME[4], own)
    wanted = np.zeros_like(VOLUME)
    wanted[4] = VOLUME[4]
    np.testing.assert_array_equal(read_label(path, OBLIQUE), wanted)


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha", ".png", ".tif"])
@pytest.mark.parametrize(
    "image", [FLAT, replace(FLAT, direction=(-1.0, 0.0, 0.0, -1.0)), Geometry.flat(20, 30)]
)
def test_a_label_without_a_place_is_taken_as_it_lies(tmp_path, kind, image):
    path = _file(tmp_path / f"m{kind}", PLANE, Geometry.flat(*SHAPE_2D))
    np.testing.assert_array_equal(read_label(path, image), PLANE)
    if kind not in (".png", ".tif"):
        path = _file(tmp_path / f"m{kind}", PLANE, Geometry.flat(1, *SHAPE_2D))
        np.testing.assert_array_equal(read_label(path, image), PLANE)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag((-1.0, -1.0, 1.0, 1.0)), None])
def test_labels_of_monai_and_of_nibabel_without_a_place_lie_as_they_are(tmp_path, affine):
    image = nibabel.Nifti1Image(PLANE.T[..., np.newaxis].astype(np.uint8), affine)
    nibabel.save(image, tmp_path / "m.nii.gz")
    for grid in (Geometry.flat(*SHAPE_2D), FLAT, Geometry.flat(1, *SHAPE_2D)):
        np.testing.assert_array_equal(read_label(tmp_path / "m.nii.gz", grid), PLANE)


def test_a_picture_lies_as_it_is_whatever_its_resolution(tmp_path):
    PillowImage.fromarray(PLANE.astype(np.uint8)).save(tmp_path / "m.tif", dpi=(72, 72))
    np.testing.assert_array_equal(read_label(tmp_path / "m.tif", FLAT), PLANE)
    with pytest.raises(InputError, match=r"label has 20 rows and 30 columns, its image has 21 and"):
        read_label(tmp_path / "m.tif", replace(FLAT, size=(30, 21)))


def test_a_single_slice_lies_on_its_image_whatever_its_thickness(tmp_path):
    image = replace(OBLIQUE, size=(30, 20, 1), spacing=(0.3, 0.7, 1.0))
    path = _file(tmp_path / "m.nrrd", PLANE, replace(image, spacing=(0.3, 0.7, 5.0)))
    np.testing.assert_array_equal(read_label(path, image), PLANE)


def test_a_label_may_have_the_measured_spacing(tmp_path):
    grid = Geometry.flat(1, *SHAPE_2D)
    image = Image(PLANE, grid, tmp_path / "a.dcm", physical_spacing=(0.2, 0.3, 1.0))
    path = _file(tmp_path / "m.nrrd", PLANE, replace(grid, spacing=(0.2, 0.3, 1.0)))
    np.testing.assert_array_equal(read_label(path, image), PLANE)
    with pytest.raises(InputError, match="they differ in nothing but their spacing"):
        read_label(path, grid)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"origin": _at(OBLIQUE, (500, 0, 0))}, "no pixel of it lies on the image"),
        ({"origin": _at(OBLIQUE, (-1, 0, 0))}, r"\d+ of \d+ labelled pixels lie outside"),
        ({"origin": _at(OBLIQUE, (0, 0, 3))}, r"\d+ of \d+ labelled pixels lie outside"),
        ({"spacing": (0.3, 0.7, 2.0)}, "they differ in nothing but their spacing"),
    ],
)
def test_a_label_that_does_not_lie_on_its_image_is_refused_with_both_grids(tmp_path, change, why):
    path = _file(tmp_path / "m.nrrd", VOLUME, replace(OBLIQUE, **change))
    with pytest.raises(InputError, match=why) as caught:
        read_label(path, OBLIQUE)
    assert str(caught.value).count("30 x 20 x 7 pixels of 0.3 x 0.7 x 2") == 2, caught.value
    assert "(-4.1, 11.5, 99.3), axes (0.36, -0.8, 0.48) (" in str(caught.value)


def test_an_empty_label_elsewhere_is_refused_and_one_of_a_part_is_not(tmp_path):
    empty = np.zeros_like(VOLUME)
    away = replace(OBLIQUE, origin=_at(OBLIQUE, (500, 0, 0)))
    with pytest.raises(InputError, match="no pixel of it lies on the image"):
        read_label(_file(tmp_path / "m.nrrd", empty, away), OBLIQUE)
    beside = replace(OBLIQUE, origin=_at(OBLIQUE, (5, 0, 0)))
    assert not read_label(_file(tmp_path / "m.nrrd", empty, beside), OBLIQUE).any()


def test_an_object_too_small_for_the_pixels_of_the_image_is_refused_not_lost(tmp_path):
    fine = replace(FLAT, size=(300, 200), spacing=(0.03, 0.07), origin=_at(FLAT, (-0.45, -0.45)))
    label = np.zeros((200, 300), np.int32)
    label[20:80, 20:80], label[101, 101] = 1, 2
    path = _file(tmp_path / "m.nrrd", label, fine)
    with pytest.raises(InputError, match="value 2 is too small for the pixels of the image"):
        read_label(path, FLAT)


def test_a_part_that_does_not_tell_where_it_lies_is_refused(tmp_path):
    path = _file(tmp_path / "m.nrrd", PLANE[:10, :10], Geometry.flat(10, 10))
    with pytest.raises(InputError, match="does not tell which part of the image it is; label the"):
        read_label(path, FLAT)
    own = replace(Geometry.flat(10, 10), origin=(7.0, 5.0))
    path = _file(tmp_path / "m.nrrd", PLANE[5:15, 7:17], own)
    wanted = np.zeros_like(PLANE)
    wanted[5:15, 7:17] = PLANE[5:15, 7:17]
    np.testing.assert_array_equal(read_label(path, Geometry.flat(*SHAPE_2D)), wanted)


def test_slices_that_are_not_axial_are_compared_in_three_axes_or_lie_as_they_are(tmp_path):
    sagittal = Geometry(
        (30, 20, 1),
        (0.3, 0.7, 1.0),
        (5.0, 6.0, 7.0),
        (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    )
    moved, own = _moved(PLANE[np.newaxis], sagittal, (0, 1, 2), (True, False, False), ((0, 0),) * 3)
    path = _file(tmp_path / "m.nrrd", moved, own)
    np.testing.assert_array_equal(read_label(path, sagittal), PLANE)
    path = _file(tmp_path / "flat.nrrd", PLANE, replace(Geometry.flat(20, 30), spacing=(0.3, 0.7)))
    np.testing.assert_array_equal(read_label(path, sagittal), PLANE)
