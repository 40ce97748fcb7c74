"""Only the stored bits of a DICOM pixel count, signed or not, whatever encodes it."""

from __future__ import annotations

import io
import re

import numpy as np
import pydicom
import pytest
from dicom_pixel_samples import ENCODINGS, VALUES, encoded, write
from PIL import Image as PillowImage
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from lib.io.read import read_image

SIGNED = VALUES.astype(np.int16) - 2048
MARKS = np.where(np.arange(VALUES.size).reshape(VALUES.shape) % 5, 0, 0x8000).astype(np.uint16)
OVERLAY = r"bits beyond the 12 stored ones are set in 20\.00% of the pixels, as by an overlay"

# what is written, the position of its highest bit, and what it means
WRITTEN = {
    "plain": (VALUES, 11, VALUES),
    "overlay": (VALUES | MARKS, 11, VALUES),
    "signed": (SIGNED, 11, SIGNED),
    "signed, not extended": ((SIGNED & 0xFFF).astype(np.int16), 11, SIGNED),
    "in the middle": (VALUES << 2, 13, VALUES),
    "at the top": (VALUES << 4, 15, VALUES),
    "at the top, signed": (SIGNED << 4, 15, SIGNED),
    "at the top, with marks below": (VALUES << 4 | MARKS >> 14, 15, VALUES),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", WRITTEN)
def test_the_stored_bits_are_the_value(tmp_path, kind, encoding):
    written, high, values = WRITTEN[kind]
    path = write(tmp_path / "a.dcm", written, BitsStored=12, HighBit=high)
    image = read_image(encoded(path, encoding))
    np.testing.assert_array_equal(image.pixels, values)
    assert image.pixels.dtype == values.dtype


@pytest.mark.parametrize("kind", ["plain", "overlay"])
def test_jpeg_2000_gives_the_stored_bits(tmp_path, kind):
    written, _, values = WRITTEN[kind]
    file = io.BytesIO()
    PillowImage.fromarray(written).save(file, "JPEG2000", irreversible=False, no_jp2=True)
    path = write(tmp_path / "a.dcm", written, BitsStored=12, HighBit=11)
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate([file.getvalue()])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.save_as(path)
    np.testing.assert_array_equal(read_image(path).pixels, values)


def test_bits_that_are_left_out_are_told(tmp_path):
    image = read_image(write(tmp_path / "a.dcm", VALUES | MARKS, BitsStored=12, HighBit=11))
    assert len(image.notes) == 1 and re.match(OVERLAY, image.notes[0])
    for kind in ("plain", "signed", "signed, not extended", "at the top"):
        written, high, _ = WRITTEN[kind]
        path = write(tmp_path / "b.dcm", written, BitsStored=12, HighBit=high)
        assert read_image(path).notes == ()


def test_one_bit_and_32_bits_are_read(tmp_path):
    bits = VALUES > 2000
    packed = np.packbits(bits, bitorder="little")
    tags = {"Rows": 20, "Columns": 30, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    path = write(tmp_path / "bits.dcm", packed[None], **tags)
    np.testing.assert_array_equal(read_image(path).pixels, bits)
    long = VALUES.astype(np.uint32) << 19
    np.testing.assert_array_equal(read_image(write(tmp_path / "l.dcm", long)).pixels, long)


@pytest.mark.parametrize(
    ("tag", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_real_pixel_data_is_read(tmp_path, tag, dtype):
    real = (VALUES / 4095 - 0.25).astype(dtype)
    absent = dict.fromkeys(("BitsStored", "HighBit", "PixelRepresentation"))
    path = write(tmp_path / "a.dcm", VALUES, BitsAllocated=8 * real.itemsize, **absent)
    data = pydicom.dcmread(path)
    del data.PixelData
    setattr(data, tag, real.tobytes())
    data.save_as(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, real)
    data.PhotometricInterpretation = "MONOCHROME1"
    data.save_as(path)
    np.testing.assert_array_equal(read_image(path).pixels, -real)
