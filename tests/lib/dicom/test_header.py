"""What a DICOM header leaves out is read where one meaning is possible, else refused."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_pixel_samples import VALUES, image, write
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from lib.errors import InputError
from lib.io.read import image_geometry, image_size, read_image

BYTES = (VALUES >> 4).astype(np.uint8)
LOW = VALUES >> 1


@pytest.mark.parametrize(
    ("missing", "taken", "pixels"),
    [
        ("PhotometricInterpretation", "MONOCHROME2", BYTES),
        ("SamplesPerPixel", 1, VALUES),
        ("PixelRepresentation", 0, BYTES),
        ("PixelRepresentation", 0, VALUES),
        ("BitsAllocated", 16, VALUES),
        ("BitsAllocated", 8, BYTES),
        ("BitsStored", 16, VALUES),
        ("HighBit", 15, VALUES),
    ],
)
def test_what_is_left_out_is_taken_and_told(tmp_path, missing, taken, pixels):
    found = read_image(write(tmp_path / "a.dcm", pixels, **{missing: None}))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.notes == (f"no {missing} in the file: taken as {taken}",)


def test_bits_stored_are_told_by_the_high_bit(tmp_path):
    found = read_image(write(tmp_path / "a.dcm", LOW, BitsStored=None, HighBit=14))
    np.testing.assert_array_equal(found.pixels, LOW)
    assert found.notes == ("no BitsStored in the file: taken as 15",)


def test_more_frames_than_any_file_holds_are_refused_at_once(tmp_path):
    path = write(tmp_path / "a.dcm", BYTES, NumberOfFrames=10**9)
    for read in (read_image, image_size, image_geometry):
        with pytest.raises(InputError, match=r"^a\.dcm: .* x 1000000000 pixels are too many"):
            read(path)


@pytest.mark.parametrize("compress", [False, True], ids=["as stored", "RLE"])
@pytest.mark.parametrize("promised", [None, 0, 1, 2])
def test_frames_that_the_header_does_not_promise_are_not_cut(tmp_path, promised, compress):
    path = write(tmp_path / "a.dcm", np.concatenate([BYTES] * 3), Rows=len(BYTES), NumberOfFrames=3)
    data = pydicom.dcmread(path)
    if compress:
        data.compress(RLELossless)
    if promised is None:
        del data.NumberOfFrames
    else:
        data.NumberOfFrames = promised
    data.save_as(path)
    with pytest.raises(InputError, match="cannot be decoded"):
        read_image(path, spatial_dims=None)


def test_no_frames_in_the_header_are_one_where_the_pixels_are_of_one(tmp_path):
    found = read_image(write(tmp_path / "a.dcm", BYTES, NumberOfFrames=0))
    np.testing.assert_array_equal(found.pixels, BYTES)
    assert found.notes == ("no NumberOfFrames in the file: taken as 1",)


def test_grey_or_colour_is_told_by_the_size_of_the_pixels(tmp_path):
    colour = np.stack([BYTES, BYTES // 2, BYTES // 3], axis=2)
    tags = {"SamplesPerPixel": None, "PhotometricInterpretation": None}
    flat = write(tmp_path / "a.dcm", colour.reshape(20, -1), Columns=30, **tags)
    found = read_image(flat)
    assert found.colour and len(found.notes) == 3
    np.testing.assert_array_equal(found.pixels, colour)
    np.testing.assert_array_equal(
        read_image(write(tmp_path / "b.dcm", BYTES, **tags)).pixels, BYTES
    )


@pytest.mark.parametrize(("shape", "dark"), [("IDENTITY", False), ("INVERSE", True)])
def test_a_radiograph_without_interpretation_is_told_by_its_lut(tmp_path, shape, dark):
    tags = {"Modality": "DX", "PhotometricInterpretation": None, "PresentationLUTShape": shape}
    found = read_image(write(tmp_path / "a.dcm", BYTES, **tags))
    np.testing.assert_array_equal(found.pixels, 255 - BYTES if dark else BYTES)


@pytest.mark.parametrize(
    ("pixels", "tags", "reason"),
    [
        (VALUES << 4, {"PixelRepresentation": None}, "so that its value 65488 may be -48"),
        (BYTES, {"Modality": "DX", "PhotometricInterpretation": None}, "which in DX may be bright"),
        (BYTES, {"PhotometricInterpretation": "HSV"}, "interpretation 'HSV' of 1 values per pixel"),
        (BYTES, {"PhotometricInterpretation": "RGB"}, "interpretation 'RGB' of 1 values per pixel"),
        (VALUES, {"BitsStored": 12, "HighBit": 7}, "BitsStored 12 and HighBit 7 contradict each"),
        (VALUES, {"BitsStored": 17, "HighBit": 16}, "BitsStored 17 and HighBit 16 contradict each"),
        (VALUES, {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "BitsAllocated 12, "),
        (VALUES[:, :7], {"Columns": 5, "BitsAllocated": None}, "280 bytes of pixels for 100 val"),
        (VALUES, {"Rows": None}, r"without an image \(no Rows\)"),
    ],
)  # fmt: skip
def test_what_may_mean_several_things_is_refused_with_the_reason(tmp_path, pixels, tags, reason):
    with pytest.raises(InputError, match=rf"^a\.dcm: .*{reason}"):
        read_image(write(tmp_path / "a.dcm", pixels, **tags))


def test_compressed_colour_without_interpretation_is_refused(tmp_path):
    path = write(tmp_path / "a.dcm", BYTES, SamplesPerPixel=3, PhotometricInterpretation=None)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = pydicom.encaps.encapsulate([b"code"])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    with pytest.raises(InputError, match="no PhotometricInterpretation, so its pixels may be"):
        read_image(path)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian"])
def test_a_file_without_preamble_is_read_by_its_content(tmp_path, syntax):
    data = image()
    if syntax == "big endian":
        data.PixelData = VALUES.astype(">u2").tobytes()
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = syntax != "big endian", syntax == "implicit"
    write_dataset(file, data)
    (tmp_path / "a.dcm").write_bytes(file.getvalue())
    found = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(found.pixels, VALUES)
    assert found.notes[0] == "the file has no DICOM preamble; read by its content"
    assert image_size(tmp_path / "a.dcm") == (30, 20)


def test_a_file_without_preamble_but_with_meta_information_is_read(tmp_path):
    path = write(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read_image(path).pixels, VALUES)


@pytest.mark.parametrize(
    "content", [b"these are words", b"\x89PNG\r\n\x1a\n" + bytes(200), bytes(300), b"\x08\x00"]
)
def test_what_is_no_dicom_is_refused(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(InputError, match=r"^a\.dcm: not a DICOM file; export it"):
        read_image(tmp_path / "a.dcm")


def test_compressed_pixels_without_transfer_syntax_are_refused(tmp_path):
    data = image()
    data.PixelData = pydicom.encaps.encapsulate([b"code"])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, data)
    (tmp_path / "a.dcm").write_bytes(file.getvalue())
    with pytest.raises(InputError, match="no TransferSyntaxUID tells how its pixels are"):
        read_image(tmp_path / "a.dcm")
