"""The grid of an image is the one that ITK, and so 3D Slicer, reads; answers are written on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    EnhancedUSVolumeStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)
from ultrasound_samples import SPACED, grey, group, item, write_us

from lib.data.grid import network_grid
from lib.image import Geometry
from lib.interactive.watershed import axis_steps
from lib.io.masks import write_mask
from lib.io.read import image_geometry, read_image
from lib.tasks.registry import get_task

PIXELS = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
INCH, CENTIMETRE = 2, 3


def _tiff(path: Path, resolution: tuple[float, float], unit: int, pages: int = 1) -> None:
    pixels = np.stack([PIXELS] * pages) if pages > 1 else PIXELS
    tifffile.imwrite(
        path, pixels, resolution=resolution, resolutionunit=unit, photometric="minisblack"
    )


def _jpeg(path: Path, resolution: tuple[float, float], unit: int) -> None:
    PillowImage.fromarray(PIXELS).save(path, dpi=(300, 300))
    content = bytearray(path.read_bytes())
    start = content.index(b"JFIF\0") + 7
    whole = (round(value).to_bytes(2, "big") for value in resolution)
    content[start : start + 5] = (unit - 1).to_bytes(1, "big") + b"".join(whole)
    path.write_bytes(content)


def _png(path: Path, resolution: tuple[float, float], unit: int) -> None:
    PillowImage.fromarray(PIXELS).save(path, dpi=resolution)


def _png_by_itk(path: Path, resolution: tuple[float, float], unit: int) -> None:
    image = sitk.GetImageFromArray(PIXELS)
    image.SetSpacing([10 / max(value, 1e-3) for value in resolution])
    sitk.WriteImage(image, str(path))


def _bmp(path: Path, resolution: tuple[float, float], unit: int) -> None:
    PillowImage.fromarray(PIXELS).save(path, dpi=resolution)


def _stack(path: Path, resolution: tuple[float, float], unit: int) -> None:
    _tiff(path, resolution, unit, pages=3)


WRITERS = {
    "a.tif": _tiff,
    "stack.tif": _stack,
    "a.jpg": _jpeg,
    "a.png": _png,
    "itk.png": _png_by_itk,
    "a.bmp": _bmp,
}


def _assert_as_itk(path: Path) -> None:
    """Compare the grid with ITK's; then that of answers in every file type."""
    wanted = Geometry.of(sitk.ReadImage(str(path)))
    image = read_image(path, spatial_dims=None)
    assert image.geometry == image_geometry(path) == wanted
    mask = np.ones(image.shape, np.uint8)
    for suffix in (".png", ".tif", ".nrrd", ".nii.gz", ".mha"):
        if suffix == ".png" and image.spatial_dims == 3:
            continue
        # a picture has two axes, and a place of its own none
        axes = 2 if suffix in (".png", ".tif", ".tiff") else len(wanted.size)
        answer = path.with_name(f"answer{suffix}")
        found = Geometry.of(sitk.ReadImage(str(write_mask(answer, mask, image.geometry))))
        assert found.spacing[:axes] == pytest.approx(wanted.spacing[:axes], rel=1e-6)
        if axes > 2:
            assert found.origin == pytest.approx(wanted.origin, abs=1e-4)
            assert found.direction == pytest.approx(wanted.direction, abs=1e-6)


@pytest.mark.parametrize("name", WRITERS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    resolution=st.tuples(*[st.floats(0, 65_000, allow_subnormal=False)] * 2)
    | st.sampled_from([(300.0, 300.0), (72.0, 72.0), (31250.0, 31250.0), (0.0, 300.0)]),
    unit=st.sampled_from([1, INCH, CENTIMETRE]),
)
def test_pictures_have_the_spacing_that_itk_reads_and_so_have_answers(
    tmp_path, name, resolution, unit
):
    path = tmp_path / name
    WRITERS[name](path, resolution, unit)
    _assert_as_itk(path)


def test_the_spacing_of_a_picture_is_that_of_its_resolution(tmp_path):
    for name in ("a.tif", "a.jpg"):
        WRITERS[name](tmp_path / name, (300, 200), INCH)
        assert read_image(tmp_path / name).geometry.spacing == pytest.approx((25.4 / 300, 0.127))


def test_a_stack_counts_its_slices_as_far_apart_as_its_pixels(tmp_path):
    _stack(tmp_path / "a.tif", (300, 300), INCH)
    image = read_image(tmp_path / "a.tif", spatial_dims=3)
    assert image.geometry.spacing == (25.4 / 300, 25.4 / 300, 1.0), "as ITK reads it"
    assert axis_steps(image) == [1.0, 1.0, 1.0]
    task = get_task("ultrasound3d_vnet")
    assert task.input.isotropic
    assert network_grid(image, task.input).shape == image.shape


REGION = item(
    RegionSpatialFormat=1,
    RegionDataType=1,
    RegionLocationMinX0=5,
    RegionLocationMinY0=4,
    RegionLocationMaxX1=40,
    RegionLocationMaxY1=30,
    PhysicalUnitsXDirection=3,
    PhysicalUnitsYDirection=3,
    PhysicalDeltaX=0.02,
    PhysicalDeltaY=0.03,
)
IMAGER = {"ImagerPixelSpacing": ["0.4", "0.5"]}
PLACED = {
    "ImagePositionPatient": ["1", "2", "3"],
    "ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"],
    "SliceThickness": "3",
}
TAGS = {
    "none": {},
    "pixels": SPACED,
    "imager": IMAGER,
    "both": {**SPACED, **IMAGER},
    "scanned": {"NominalScannedPixelSpacing": ["0.2", "0.3"]},
    "placed": {**SPACED, **PLACED},
    "region": {"SequenceOfUltrasoundRegions": Sequence([REGION])},
    "slices": {**SPACED, "SpacingBetweenSlices": "0.8"},
}
CLASSES = {
    "US": UltrasoundImageStorage,
    "MG": DigitalMammographyXRayImageStorageForPresentation,
    "CR": ComputedRadiographyImageStorage,
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "OT": SecondaryCaptureImageStorage,
    "EUS": EnhancedUSVolumeStorage,
}


def _dicom(path: Path, modality: str, frames: int, **tags: object) -> Path:
    data = pydicom.dcmread(write_us(path, grey(frames), **tags))
    data.Modality = modality.removeprefix("E")
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CLASSES[modality]
    data.save_as(path)
    return path


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("modality", CLASSES)
def test_dicom_has_the_grid_that_itk_reads_and_so_have_answers(tmp_path, modality, tags):
    for frames in (1, 3):
        _assert_as_itk(_dicom(tmp_path / f"{frames}.dcm", modality, frames, **TAGS[tags]))


def test_pixel_measures_of_enhanced_ultrasound_are_for_measurements_only(tmp_path):
    shared = group(PixelMeasuresSequence=item(PixelSpacing=["0.2", "0.3"], SliceThickness="0.8"))
    places = [
        group(PlanePositionVolumeSequence=item(ImagePositionVolume=[0.0, 0.0, 0.8 * index]))
        for index in range(3)
    ]
    path = _dicom(
        tmp_path / "a.dcm",
        "EUS",
        3,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(places),
    )
    _assert_as_itk(path)
    image = read_image(path, spatial_dims=3)
    assert image.geometry.spacing == (1.0, 1.0, 1.0)
    assert image.spacing == pytest.approx((0.3, 0.2, 0.8))
    assert axis_steps(image) == pytest.approx([0.25, 1.0, 0.2 / 0.3])


def test_what_itk_cannot_read_keeps_the_grid_of_its_tags():
    path = pydicom.data.get_testdata_file("rtdose_1frame.dcm", download=False)
    assert read_image(path).geometry.spacing == (10.0, 10.0, 1.0)
