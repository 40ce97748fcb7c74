"""A mask lies on its image's grid, voxel for voxel, whatever way the image is turned and stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ultrasound_samples import grey, write_us
from volume_samples import ITK_KINDS, OBLIQUE, PRECISION, same_grid

from lib.image import Geometry, Image
from lib.io.masks import write_mask, write_probabilities
from lib.io.read import read_image

SHAPE = (5, 11, 8)
SIZE = SHAPE[::-1]
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
MIRRORED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)  # a left-handed grid
SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
ORIGIN, EVEN, UNEVEN = (-4.1, 11.5, 99.3), (0.5, 0.5, 0.5), (0.3, 0.7, 2.5)
GRIDS = {
    "anisotropic": Geometry(SIZE, UNEVEN, ORIGIN, STRAIGHT),
    "flipped": Geometry(SIZE, EVEN, ORIGIN, FLIPPED),
    "mirrored": Geometry(SIZE, UNEVEN, ORIGIN, MIRRORED),
    "sagittal": Geometry(SIZE, UNEVEN, ORIGIN, SAGITTAL),
    "oblique": Geometry(SIZE, OBLIQUE.spacing, OBLIQUE.origin, OBLIQUE.direction),
}
VOXELS = np.random.default_rng(5).integers(0, 4000, SHAPE).astype(np.uint16)
MASK = np.random.default_rng(6).integers(0, 4, SHAPE).astype(np.uint8)


def _write(path: Path, grid: Geometry) -> Path:
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    sitk.WriteImage(image, str(path))
    return path


def _grid(image: sitk.Image) -> Geometry:
    return Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def _assert_on_its_grid(image: Image, mask: np.ndarray, path: Path, wanted: Geometry) -> None:
    """Write `mask` over `image`; ITK must find it on the grid `wanted`, every voxel in place."""
    found = sitk.ReadImage(str(write_mask(path, mask, image.geometry)))
    kind = "".join(path.suffixes)
    assert found.GetSize() == image.shape[::-1]
    assert same_grid(_grid(found), wanted, max(PRECISION[kind], 1e-5))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), mask)
    corner = tuple(side - 1 for side in found.GetSize())
    assert found.TransformIndexToPhysicalPoint(corner) == pytest.approx(_point(wanted, corner))


def _point(grid: Geometry, index: tuple[int, ...]) -> np.ndarray:
    turn = np.array(grid.direction).reshape(3, 3)
    return grid.origin + turn @ (np.array(index) * grid.spacing)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kind", ITK_KINDS)
@pytest.mark.parametrize("mask_kind", ITK_KINDS)
def test_a_mask_of_a_volume_has_its_grid_and_voxels(tmp_path, name, kind, mask_kind):
    path = _write(tmp_path / f"image{kind}", GRIDS[name])
    image = read_image(path, spatial_dims=None)
    np.testing.assert_array_equal(image.pixels, VOXELS)
    wanted = _grid(sitk.ReadImage(str(path)))
    assert same_grid(wanted, GRIDS[name], 1e-5)
    _assert_on_its_grid(image, MASK, tmp_path / f"mask{mask_kind}", wanted)


@pytest.mark.parametrize("kind", ITK_KINDS)
def test_probabilities_of_a_volume_have_its_grid(tmp_path, kind):
    image = read_image(_write(tmp_path / "image.nrrd", GRIDS["mirrored"]), spatial_dims=3)
    shares = np.random.default_rng(7).random(SHAPE, dtype=np.float32)
    found = sitk.ReadImage(str(write_probabilities(tmp_path / f"p{kind}", shares, image.geometry)))
    assert same_grid(_grid(found), GRIDS["mirrored"], 1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), shares)


DICOM_GRIDS = {
    "loop": (
        {"PixelSpacing": ["0.2", "0.3"], "FrameTime": "40"},
        Geometry((64, 48, 4), (0.3, 0.2, 1.0), (0.0, 0.0, 0.0), STRAIGHT),
    ),
    "bare loop": ({}, Geometry.flat(4, 48, 64)),
    "volume": (
        {
            "PixelSpacing": ["0.2", "0.3"],
            "SpacingBetweenSlices": "0.8",
            "ImagePositionPatient": ["-4.1", "11.5", "99.3"],
            "ImageOrientationPatient": ["0.36", "-0.8", "0.48", "0.48", "0.6", "0.64"],
        },
        Geometry((64, 48, 4), (0.3, 0.2, 1.0), ORIGIN, OBLIQUE.direction),
    ),
    "flipped volume": (
        {
            "SpacingBetweenSlices": "0.8",
            "ImageOrientationPatient": ["-1", "0", "0", "0", "1", "0"],
        },
        Geometry((64, 48, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), FLIPPED),
    ),
}


@pytest.mark.parametrize("name", DICOM_GRIDS)
@pytest.mark.parametrize("kind", ITK_KINDS)
def test_a_mask_of_several_dicom_frames_has_their_grid_and_pixels(tmp_path, name, kind):
    tags, wanted = DICOM_GRIDS[name]
    path = write_us(tmp_path / "a.dcm", grey(4), **tags)
    assert same_grid(_grid(sitk.ReadImage(str(path))), wanted, 1e-9)
    image = read_image(path, spatial_dims=None)
    mask = (image.pixels // 64).astype(np.uint8)
    _assert_on_its_grid(image, mask, tmp_path / f"mask{kind}", wanted)
