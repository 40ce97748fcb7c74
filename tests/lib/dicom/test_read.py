"""Single-frame DICOM in every encoding reads to the pixels as displayed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import image_size, read_image

PIXELS = np.random.default_rng(3).integers(0, 4096, (20, 30)).astype(np.uint16)


def _dicom(path: Path, pixels: np.ndarray, photometric: str, stored: int = 0, **tags) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = 8 * pixels.itemsize
    data.BitsStored = stored or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def _rle(path: Path) -> Path:
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(path.with_name(f"rle_{path.name}"), enforce_file_format=True)
    return path.with_name(f"rle_{path.name}")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_monochrome2_reads_as_stored(tmp_path, dtype):
    pixels = (PIXELS // 16).astype(dtype)
    path = _dicom(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    np.testing.assert_array_equal(read_image(path).pixels, pixels)
    np.testing.assert_array_equal(read_image(_rle(path)).pixels, pixels)


@pytest.mark.parametrize(
    ("dtype", "stored"), [(np.uint8, 8), (np.uint16, 12), (np.uint16, 16), (np.int16, 16)]
)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "rle"])
def test_monochrome1_looks_like_the_same_picture_in_monochrome2(
    tmp_path, dtype, stored, compressed
):
    bright = (PIXELS.astype(int) % 2**stored).astype(dtype)
    inverted = ~bright if dtype == np.int16 else (2**stored - 1 - bright).astype(dtype)
    one = _dicom(tmp_path / "one.dcm", inverted, "MONOCHROME1", stored)
    two = _dicom(tmp_path / "two.dcm", bright, "MONOCHROME2", stored)
    if compressed:
        one, two = _rle(one), _rle(two)
    np.testing.assert_array_equal(read_image(one).pixels, read_image(two).pixels)
    np.testing.assert_array_equal(read_image(two).pixels, bright)


def test_rescaling_does_not_change_the_stored_values(tmp_path):
    tags = {"RescaleSlope": "2.5", "RescaleIntercept": "-1024"}
    path = _dicom(tmp_path / "a.dcm", PIXELS, "MONOCHROME2", 12, **tags)
    np.testing.assert_array_equal(read_image(path).pixels, PIXELS)
    np.testing.assert_array_equal(read_image(_rle(path)).pixels, PIXELS)


def test_rgb_reads_as_stored(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = _dicom(tmp_path / "a.dcm", pixels, "RGB")
    np.testing.assert_array_equal(read_image(path).pixels, pixels)
    np.testing.assert_array_equal(read_image(_rle(path)).pixels, pixels)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "rle"])
def test_a_palette_is_applied(tmp_path, compressed):
    tags = {}
    for colour, shift in (("Red", 0), ("Green", 1), ("Blue", 2)):
        table = (np.arange(256) >> shift).astype(np.uint16) << 8
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
    index = (PIXELS // 16).astype(np.uint8)
    path = _dicom(tmp_path / "a.dcm", index, "PALETTE COLOR", **tags)
    found = read_image(_rle(path) if compressed else path).pixels
    np.testing.assert_array_equal(found, np.stack([index, index >> 1, index >> 2], axis=2))


def test_a_palette_image_without_its_table_is_refused(tmp_path):
    path = _dicom(tmp_path / "a.dcm", (PIXELS // 16).astype(np.uint8), "PALETTE COLOR")
    with pytest.raises(InputError, match=r"^a\.dcm: its palette cannot be applied"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm"),
    ],
)
def test_lossless_encodings_read_like_their_uncompressed_twin(name, twin):
    found, wanted = (read_image(get_testdata_file(n, download=False)) for n in (name, twin))
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    assert found.geometry.spacing == wanted.geometry.spacing


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_ybr_full_422_uncompressed.dcm"],
)
def test_luminance_and_chrominance_become_rgb(name):
    found, wanted = (
        read_image(get_testdata_file(n, download=False)).pixels.astype(int)
        for n in (name, "SC_rgb_rle.dcm")
    )
    assert np.abs(found - wanted).mean() < 6, "lossy, but the same colours"


def test_geometry_follows_the_tags_and_a_mask_lies_over_the_image(tmp_path):
    tags = {
        "PixelSpacing": ["0.7", "0.3"],
        "ImageOrientationPatient": ["0.8", "0.6", "0", "-0.6", "0.8", "0"],
        "ImagePositionPatient": ["-4", "11.5", "99"],
        "SliceThickness": "2.5",
    }
    image = read_image(_dicom(tmp_path / "a.dcm", PIXELS, "MONOCHROME2", **tags))
    assert image.geometry.size == (30, 20, 1)
    assert image.spacing == (0.3, 0.7, 2.5)
    assert image.geometry.spacing == (0.3, 0.7, 1.0), "ITK heeds no thickness"
    assert image.geometry.origin == (-4.0, 11.5, 99.0)
    wanted = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
    assert image.geometry.direction == pytest.approx(wanted)
    write_mask(tmp_path / "a.nrrd", PIXELS, image.geometry)
    mask = read_image(tmp_path / "a.nrrd").geometry
    assert mask.spacing == pytest.approx(image.geometry.spacing)
    assert mask.direction == pytest.approx(image.geometry.direction)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": ["0", "0"], "SliceThickness": "0"},
        {"ImageOrientationPatient": ["0"] * 6},
        {"ImageOrientationPatient": ["1", "0", "0"], "PixelSpacing": "1"},
    ],
    ids=["zero spacing", "no direction", "too few numbers"],
)
def test_malformed_geometry_is_taken_as_none(tmp_path, tags):
    image = read_image(_dicom(tmp_path / "a.dcm", PIXELS, "MONOCHROME2", **tags))
    assert image.geometry.spacing == (1.0, 1.0, 1.0)
    assert image.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    write_mask(tmp_path / "a.nrrd", PIXELS, image.geometry)
    np.testing.assert_array_equal(read_label(tmp_path / "a.nrrd"), PIXELS)


def test_a_dicom_file_is_known_by_content_where_the_name_says_nothing(tmp_path):
    path = _dicom(tmp_path / "IM0001", PIXELS, "MONOCHROME2")
    np.testing.assert_array_equal(read_image(path).pixels, PIXELS)


def test_the_size_is_read_from_the_header():
    assert image_size(get_testdata_file("MR_small.dcm", download=False)) == (64, 64)
    assert image_size(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)) == (100, 100, 2)


def test_several_frames_are_refused():
    with pytest.raises(InputError, match=r"SC_rgb_rle_2frame\.dcm: holds 2 frames, expected a"):
        read_image(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"])
def test_truncated_dicom_is_refused(tmp_path, name, share):
    content = Path(get_testdata_file(name, download=False)).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=f"^{name}: "):
        read_image(tmp_path / name)


def test_too_many_pixels_by_the_header_are_refused_before_decoding(tmp_path):
    path = _dicom(tmp_path / "a.dcm", PIXELS, "MONOCHROME2", Rows=60000, Columns=60000)
    with pytest.raises(InputError, match="60000 x 60000 pixels are too many"):
        read_image(path)


def test_a_dicom_object_without_an_image_is_refused():
    with pytest.raises(InputError, match=r"rtplan\.dcm: .*without an image"):
        read_image(get_testdata_file("rtplan.dcm", download=False))
