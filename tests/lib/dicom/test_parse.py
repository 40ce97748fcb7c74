"""DICOM files are parsed and decoded within limits, whatever they claim."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_pixel_samples import VALUES, image, write
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from lib.dicom import parse
from lib.dicom.header import MAX_FRAMES, open_dicom
from lib.dicom.objects import open_object
from lib.dicom.parse import parse_file
from lib.dicom.rle import decode_rle
from lib.dicom.seg.frames import SegFrames
from lib.dicom.sources import read_sources
from lib.errors import InputError
from lib.io.read import image_geometry, image_size, read_image

READERS = (image_size, image_geometry, read_image, read_sources)
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


def explicit(data: Dataset) -> bytes:
    """Return the elements of a dataset, explicit little endian."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, data)
    return out.getvalue()


def with_content(path: Path, content: bytes, deflated: bool = False) -> Path:
    """Write a file of these encoded elements."""
    data = pydicom.dcmread(write(path))
    data.file_meta.TransferSyntaxUID = (
        DeflatedExplicitVRLittleEndian if deflated else data.file_meta.TransferSyntaxUID
    )
    bare = pydicom.FileDataset("", {}, file_meta=data.file_meta, preamble=b"\0" * 128)
    bare.save_as(path, enforce_file_format=True)
    if deflated:
        deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
        header = path.read_bytes().split(DeflatedExplicitVRLittleEndian.encode(), 1)
        rest = len(header[1]) - len(header[1].lstrip(b"\0"))
        start = len(header[0]) + len(DeflatedExplicitVRLittleEndian) + rest
        meta = 144 + struct.unpack_from("<I", path.read_bytes(), 140)[0]
        path.write_bytes(path.read_bytes()[: max(start, meta)][:meta] + content)
    else:
        path.write_bytes(path.read_bytes() + content)
    return path


def header() -> Dataset:
    """Return an image without its pixels."""
    data = Dataset()
    data.update({tag: element for tag, element in image().items() if tag != 0x7FE00010})
    return data


@pytest.mark.parametrize("read", READERS)
def test_what_inflates_to_more_than_its_header_promises_is_refused(tmp_path, monkeypatch, read):
    monkeypatch.setattr(parse, "MAX_HEADER", 1_000_000)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 300_000_000) + bytes(300_000_000)
    path = with_content(tmp_path / "a.dcm", explicit(header()) + pixels, deflated=True)
    assert path.stat().st_size < 400_000
    tracemalloc.start()
    with pytest.raises(InputError, match=r"^a\.dcm: inflates to more than 1001200 bytes"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_deflated_file_is_read_as_it_was_before_it_was_deflated(tmp_path):
    path = with_content(tmp_path / "a.dcm", explicit(image()), deflated=True)
    np.testing.assert_array_equal(read_image(path).pixels, VALUES)
    assert image_size(path) == VALUES.shape[::-1]
    assert parse_file(path).filename == str(path)


def test_a_deflated_file_that_is_cut_off_is_refused(tmp_path):
    path = with_content(tmp_path / "a.dcm", explicit(image()), deflated=True)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"^a\.dcm: damaged DICOM file"):
        read_image(path)


def elements() -> bytes:
    """Return empty private elements, far more than a header has."""
    heads = (struct.pack("<HH2sH", 0x0009, number, b"LO", 0) for number in range(3000))
    return b"".join(heads)


@pytest.mark.parametrize(
    "content",
    [
        elements(),
        struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, 8 * 3000) + ITEM * 3000,
        struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, 0xFFFFFFFF) + ITEM * 3000,
        struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, 3_000_008) + ITEM + bytes(3_000_000),
    ],
    ids=["elements", "items", "items of no length", "bytes"],
)
def test_more_elements_and_items_than_an_image_has_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.setattr(parse, "MAX_ELEMENTS", 2000)
    monkeypatch.setattr(parse, "MAX_ITEMS", 2000)
    monkeypatch.setattr(parse, "MAX_HEADER", 2_000_000)
    path = with_content(tmp_path / "a.dcm", content)
    # pydicom says of items that it cannot read any that "no tag is to read"
    refused = r"^a\.dcm: (a DICOM header of more than 2000 elements|damaged .*No tag|not a DICOM)"
    with pytest.raises(InputError, match=refused):
        open_dicom(path, header_only=True)
    with pytest.raises(InputError, match=refused):
        open_object(path, "segmentation", ("1.2",))


def test_a_file_larger_than_any_image_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(parse, "MAX_FILE", 1000)
    path = write(tmp_path / "a.dcm")
    with pytest.raises(InputError, match=rf"^a\.dcm: its {path.stat().st_size} bytes are too many"):
        image_size(path)


def test_the_records_of_a_directory_are_not_followed(tmp_path):
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 400  # to itself
    record.RecordInUseFlag, record.OffsetOfReferencedLowerLevelDirectoryEntity = 0xFFFF, 0
    record.DirectoryRecordType = "PATIENT"
    data = image()
    data.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    data.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 400
    data.DirectoryRecordSequence = Sequence([record])
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert "DirectoryRecordSequence" not in parse_file(tmp_path / "a.dcm")


def test_sequences_nested_without_end_are_refused(tmp_path):
    opened = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path = with_content(tmp_path / "a.dcm", opened * 10_000)
    for read in READERS:
        with pytest.raises(InputError, match=r"^a\.dcm: damaged DICOM file"):
            read(path)


@pytest.mark.parametrize("frames", [MAX_FRAMES + 1, 2**29, 2**31 - 1])
@pytest.mark.parametrize("read", READERS)
def test_more_frames_than_are_read_are_refused_before_any_is_looked_at(
    tmp_path, read, frames, timed
):
    path = write(tmp_path / "a.dcm", np.zeros((1, 1), np.uint8), NumberOfFrames=frames)
    with timed(2), pytest.raises(InputError, match=r"^a\.dcm: .*are too many"):
        read(path)
    with pytest.raises(InputError, match="frames are too many"):
        read_sources(pydicom.dcmread(path))


@pytest.mark.parametrize("read", READERS)
def test_more_bytes_of_pixels_than_are_decoded_are_refused_by_the_header(tmp_path, read):
    tags = {"Rows": 8192, "Columns": 8192, "BitsAllocated": 64, "NumberOfFrames": 4}
    with pytest.raises(InputError, match=r"^a\.dcm: 8192 x 8192 x 4 pixels of 8 bytes"):
        read(write(tmp_path / "a.dcm", **tags))


@pytest.mark.parametrize("values", [VALUES, VALUES.astype(np.uint8)])
def test_rle_is_decoded_as_pydicom_does(values):
    data = image(values)
    data.compress(RLELossless)
    (code,) = pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1)
    found = decode_rle(code, *values.shape, 1, values.itemsize)
    np.testing.assert_array_equal(found[..., 0], values)


def test_runs_beyond_the_size_of_a_frame_are_not_decoded(tmp_path):
    data = image(np.zeros((4, 4), np.uint8))
    code = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x07" * 1_000_000
    data.PixelData = encapsulate([code])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = RLELossless
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    tracemalloc.start()
    assert (read_image(tmp_path / "a.dcm").pixels == 7).all()
    assert tracemalloc.get_traced_memory()[1] < 20_000_000  # of 128 MB
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"\0" * 10, "without its header"),
        (struct.pack("<16I", 3, 64, *[0] * 14), "3 segments, expected 1"),
        (struct.pack("<16I", 1, 64, *[0] * 14) + b"\x02abc", "3 bytes, expected 16"),
        (struct.pack("<16I", 1, 2**31, *[0] * 14) + b"\x02abc", "0 bytes, expected 16"),
    ],
)
def test_damaged_rle_is_refused(code, said):
    with pytest.raises(ValueError, match=said):
        decode_rle(code, 4, 4, 1, 1)


def test_a_palette_of_more_entries_than_an_index_has_is_refused(tmp_path):
    path = write(
        tmp_path / "a.dcm", np.zeros((4, 4), np.uint8), PhotometricInterpretation="PALETTE COLOR"
    )
    data = pydicom.dcmread(path)
    for colour in ("Red", "Green", "Blue"):
        setattr(data, f"{colour}PaletteColorLookupTableData", bytes(512))
        tag = pydicom.datadict.tag_for_keyword(f"{colour}PaletteColorLookupTableDescriptor")
        data.add_new(tag, "UL", [2**31, 0, 16])
    data.save_as(path)
    with pytest.raises(InputError, match="tables of 2147483648 entries"):
        read_image(path)


def test_more_fragments_than_are_listed_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.dicom.frame_sizes.MAX_FRAGMENTS", 100)
    data = image(np.zeros((4, 4), np.uint8))
    data.PixelData = encapsulate([b"\0" * 200], fragments_per_frame=100)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = RLELossless
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="101 fragments, at most 100"):
        read_image(tmp_path / "a.dcm")


def test_more_segments_in_a_label_map_than_can_be_told_apart_are_refused(monkeypatch):
    frames = object.__new__(SegFrames)
    frames.type, frames.segments, frames.rows, frames.columns = "LABELMAP", [None], 20, 30
    frames.decoded = np.arange(600).reshape(1, 20, 30)
    assert len(frames.numbers(0)) == 599
    monkeypatch.setattr("lib.dicom.seg.frames.MAX_LOOKS", 599 * 600 - 1)
    with pytest.raises(InputError, match="holds 599 segments, which are too many"):
        frames.numbers(0)


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("tag", [0x7FE00010, 0x00091010], ids=["pixels", "private"])
def test_elements_before_one_that_never_ends_are_kept_and_nothing_is_logged(tmp_path, caplog, tag):
    begun = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
    before = Dataset()
    before.update({one.tag: one for one in header() if one.tag < tag})
    path = with_content(tmp_path / "a.dcm", explicit(before) + begun + ITEM + b"\1" * 300)
    kept = parse_file(path)
    assert list(kept.keys()) == list(before.keys()) and kept.SOPClassUID
    match = "holds no pixel data; it may be truncated" if tag == 0x7FE00010 else "without an image"
    with pytest.raises(InputError, match=match):
        read_image(path)
    assert caplog.records == []
