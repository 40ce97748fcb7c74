"""Every ultrasound object of pydicom and its package pydicom-data reads to what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from ultrasound_samples import read_ultrasound

from lib.image import Geometry, Image
from lib.io.read import check_readable, image_size, read_image


@dataclass(frozen=True)
class Held:
    """What a file holds: its size, mm between rows and columns, and rows and columns of tissue."""

    shape: tuple[int, ...]
    spacing: float = 1.0
    region: tuple[tuple[int, int], tuple[int, int]] | None = None
    known: bool = True  # the region is in the header

    @property
    def loop(self) -> bool:
        return len(self.shape) == 3


OBSTETRIC = {"spacing": 0.262288, "region": ((60, 519), (120, 800))}
DUAL = Held((480, 640), 0.382653, ((24, 416), (32, 640)))
HEART = Held((480, 640), region=((25, 337), (0, 632)), known=False)
DOPPLER = Held((120, 256), region=((0, 120), (29, 256)), known=False)
FILES = {
    "ExplVR_BigEnd.dcm": Held((60, 80)),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": Held((768, 1024), 0.254767, ((38, 759), (14, 1011))),
    "OBXXXX1A.dcm": Held((600, 800), **OBSTETRIC),
    "OBXXXX1A_expb.dcm": Held((600, 800), **OBSTETRIC),
    "OBXXXX1A_rle.dcm": Held((600, 800), **OBSTETRIC),
    "OBXXXX1A_2frame.dcm": Held((2, 600, 800), **OBSTETRIC),
    "OBXXXX1A_expb_2frame.dcm": Held((2, 600, 800), **OBSTETRIC),
    "OBXXXX1A_rle_2frame.dcm": Held((2, 600, 800), **OBSTETRIC),
    "US1_UNCI.dcm": HEART,
    "US1_UNCR.dcm": HEART,
    "US1_J2KI.dcm": HEART,
    "US1_J2KR.dcm": HEART,
    "color-pl.dcm": DOPPLER,
    "color-px.dcm": DOPPLER,
    "color3d_jpeg_baseline.dcm": Held((120, 480, 640), 0.510497, ((31, 415), (84, 596))),
    "gdcm-US-ALOKA-16.dcm": DUAL,
    "gdcm-US-ALOKA-16_big.dcm": DUAL,
}


def _file(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("needs the package pydicom-data")
    return Path(path)


def _read(name: str) -> Image:
    return read_image(_file(name), spatial_dims=None)


@pytest.mark.parametrize("name", FILES)
def test_frames_spacing_and_region_are_those_of_the_file(name):
    held, image = FILES[name], _read(name)
    assert image.shape == held.shape
    assert image_size(_file(name)) == held.shape[::-1]
    assert (image.colour, image.over_time) == (False, held.loop)
    assert image.pixels.dtype == np.uint8
    assert image.spacing == pytest.approx((held.spacing, held.spacing, 1.0), abs=1e-6)
    assert image.geometry == Geometry.of(sitk.ReadImage(str(_file(name))))
    assert np.ptp(image.pixels) > 50, "not black"
    if held.region is None:
        assert image.region is None
    else:
        found = np.array([(part.start, part.stop) for part in image.region])
        assert np.abs(found - held.region).max() <= (0 if held.known else 2)


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_taken_as_an_upload(name):
    check_readable(_file(name))


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("OBXXXX1A_expb.dcm", "OBXXXX1A.dcm"),
        ("OBXXXX1A_rle.dcm", "OBXXXX1A.dcm"),
        ("OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_2frame.dcm"),
        ("OBXXXX1A_rle_2frame.dcm", "OBXXXX1A_2frame.dcm"),
        ("US1_J2KR.dcm", "US1_UNCR.dcm"),
        ("US1_J2KI.dcm", "US1_UNCI.dcm"),
        ("color-pl.dcm", "color-px.dcm"),
        ("gdcm-US-ALOKA-16_big.dcm", "gdcm-US-ALOKA-16.dcm"),
    ],
)
def test_encodings_of_one_picture_read_alike(name, twin):
    np.testing.assert_array_equal(_read(name).pixels, _read(twin).pixels)


@pytest.mark.parametrize("name", ["OBXXXX1A.dcm", "gdcm-US-ALOKA-16.dcm"])
def test_palettes_read_as_pydicom_applies_them(name):
    """Of little-endian tables of 16 bits, which it reads well."""
    data = pydicom.dcmread(_file(name))
    colours = pydicom.pixels.apply_color_lut(data.pixel_array, data) >> 8
    grey = np.rint(colours @ np.array((0.299, 0.587, 0.114), np.float32))
    np.testing.assert_array_equal(_read(name).pixels, grey)


def test_the_time_between_frames_is_known():
    assert read_ultrasound(_file("color3d_jpeg_baseline.dcm")).spacing[0] == 33.333
