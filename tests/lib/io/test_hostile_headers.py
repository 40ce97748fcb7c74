"""Headers that ITK trusts, and dies of, never returns from or makes pixels up for, are refused.

Each of them ended the process, hung, or gave values that nobody wrote before headers were checked.
"""

from __future__ import annotations

import gzip
import math
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from lib.errors import InputError
from lib.io import segments
from lib.io.labels import read_label
from lib.io.layers import is_plain, label_names
from lib.io.read import image_geometry, image_size, read_image
from lib.io.volumes import HeaderFields

VOXELS = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
RAW = VOXELS.tobytes()
NRRD = """NRRD0004
type: uint16
dimension: 3
space: left-posterior-superior
sizes: 4 3 2
space directions: (0.5,0,0) (0,0.5,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (1,2,3)
"""
META = """ObjectType = Image
NDims = 3
BinaryData = True
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 0.5 0.5 2
DimSize = 4 3 2
ElementType = MET_USHORT
ElementDataFile = LOCAL
"""
HUGE = "1" + "0" * 400


def _nrrd(path: Path, header: str = NRRD, pixels: bytes = RAW) -> Path:
    path.write_bytes(header.encode("utf-8", "surrogateescape") + b"\n" + pixels)
    return path


def _meta(path: Path, header: str = META, pixels: bytes = RAW) -> Path:
    path.write_bytes(header.encode("utf-8", "surrogateescape") + pixels)
    return path


def _nifti(path: Path, *changes: tuple[int, str, object]) -> Path:
    """Write a volume with some bytes of the header replaced: offset, format of struct, value."""
    whole = path.with_name("whole.nii")
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(whole))
    content = bytearray(whole.read_bytes())
    whole.unlink()
    for offset, form, value in changes:
        struct.pack_into(form, content, offset, value)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _refused(path: Path, cause: str) -> None:
    """Expect `cause` from every way to read a file, as an image and as a label, at once."""
    start = time.process_time()  # not of the neighbours on this machine
    for read in (
        lambda: read_image(path, spatial_dims=3),
        lambda: read_label(path, VOXELS.shape),
        lambda: image_size(path),
        lambda: image_geometry(path),
        lambda: is_plain(path),
        *([lambda: label_names(path)] if path.suffix == ".nrrd" else []),
    ):
        with pytest.raises(InputError, match=cause) as error:
            read()
        assert len(str(error.value)) < 400
        assert "\n" not in str(error.value)
    assert time.process_time() - start < 5


# --- NRRD ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "by", "cause"),
    [
        ("kinds: domain domain domain", "r" * 1000, "the line 'rrr.*which is no field"),
        ("kinds: domain domain domain", "colour: red", "the line 'colour: red', which is no field"),
        ("kinds: domain domain domain", "kinds: " + "d" * 3000, "at most 500 characters"),
        ("kinds: domain domain domain", "type: uint16", "two fields 'type'"),
        ("kinds: domain domain domain", "key:=\0", "no text"),
        ("kinds: domain domain domain", "units\r: mm", "no text"),
        ("kinds: domain domain domain", "min: x", "min 'x', expected 1 finite"),
        ("type: uint16", "type: block", "type 'block', expected one such as"),
        ("type: uint16", "", "no field 'type'|its header has no end|begins"),
        ("dimension: 3", "dimension: 16", "dimension '16', expected a whole number from 1 to 5"),
        ("dimension: 3", "dimension: -1", "dimension '-1', expected a whole number from 1 to 5"),
        ("dimension: 3", "dimension: 4", "sizes '4 3 2', expected 4 numbers"),
        ("sizes: 4 3 2", "sizes: 1e9 1e9 2", "sizes '1e9', expected a whole number from 1"),
        ("sizes: 4 3 2", "sizes: -4 3 2", "sizes '-4', expected a whole number from 1"),
        ("sizes: 4 3 2", "sizes: 0 3 2", "sizes '0', expected a whole number from 1"),
        ("sizes: 4 3 2", f"sizes: {HUGE} 3 2", "sizes '1000.*expected a whole number from 1"),
        ("sizes: 4 3 2", "sizes: 4294967300 3 2", "sizes '4294967300', expected a whole number"),
        ("encoding: raw", "encoding: bzip2", "encoding 'bzip2', expected raw, gzip"),
        ("encoding: raw", "encoding: raw\nbyte skip: -2", "byte skip '-2', expected a whole"),
        ("encoding: raw", "encoding: raw\nline skip: 99999", "line skip '99999', expected a whole"),
        ("space origin: (1,2,3)", "space origin: (1,2)", "spaceorigin '1 2', expected 3 finite"),
        ("space origin: (1,2,3)", "space origin: (1,nan,3)", "expected 3 finite numbers"),
        ("space: left-posterior-superior", "space: here", "space 'here', expected one such as"),
        ("(0,0.5,0)", "(nan,nan,nan)", "spacedirections 'nan nan nan', expected 3 finite"),
        ("(0,0.5,0)", "(0,1e308,0)", "spacedirections '0 1e308 0', expected 3 finite"),
        ("(0,0.5,0) ", "", "expected 3 vectors"),
        ("NRRD0004", "NRRD0009", "begins with 'NRRD0009', expected NRRD0001"),
    ],
)
def test_a_nrrd_header_that_makes_no_sense_is_refused(tmp_path, line, by, cause):
    assert line in NRRD
    _refused(_nrrd(tmp_path / "a.nrrd", NRRD.replace(line, by)), rf"^a\.nrrd: damaged.*{cause}")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n").removesuffix("\r\n") + "\r\n\r",
        lambda text: text + "# " + "a comment " * 500 + "\n",
        lambda text: text + "Segmentation:=" + "value: of a pair, " * 500 + "\n",
        lambda text: text + "key:=größe\nkey:=again\n",
        lambda text: text.replace("type:", "Type:").replace("sizes", "SIZES"),
        lambda text: text.replace("space directions", "spacedirections"),
        lambda text: text + "content: " + "a long tale " * 100 + "\n",
        lambda text: text.replace("uint16", "unsigned short int"),
        lambda text: text + 'labels: "x" "y" "z"\nthicknesses: 1 1 1\n',
        lambda text: text + "measurement frame: (1,0,0) (0,1,0) (0,0,1)\n",
    ],
)
def test_a_nrrd_header_as_programs_write_it_is_read(tmp_path, change):
    image = read_image(_nrrd(tmp_path / "a.nrrd", change(NRRD)), spatial_dims=3)
    np.testing.assert_array_equal(image.pixels, VOXELS)
    assert (image.geometry.spacing, image.geometry.origin) == ((0.5, 0.5, 2), (1, 2, 3))


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("raw\nbyte skip: 6", b"before" + RAW),
        ("raw\nbyte skip: -1", b"anything before" + RAW),
        ("raw\nline skip: 2", b"one\ntwo\n" + RAW),
        ("gzip", gzip.compress(RAW, mtime=0)),
        ("gz\nbyte skip: 6", gzip.compress(b"before" + RAW, mtime=0)),
        ("gzip", gzip.compress(RAW[:20], mtime=0) + gzip.compress(RAW[20:], mtime=0)),
        ("gzip", gzip.compress(RAW, mtime=0) + b"something after"),
        ("ascii", " ".join(map(str, range(24))).encode()),
        ("hex", RAW.hex().encode()),
    ],
)
def test_a_nrrd_of_every_encoding_is_read(tmp_path, encoding, pixels):
    header = NRRD.replace("encoding: raw", f"encoding: {encoding}")
    image = read_image(_nrrd(tmp_path / "a.nrrd", header, pixels), spatial_dims=3)
    np.testing.assert_array_equal(image.pixels, VOXELS)


def test_components_of_a_nrrd_may_have_no_spacing(tmp_path):
    text = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 4 2\nspacings: nan 0.5 2\nencoding: raw\n"
    rgb = _nrrd(tmp_path / "a.nrrd", text + "kinds: RGB-color domain domain\n", bytes(24))
    assert read_image(rgb).geometry.spacing == (0.5, 2)
    _refused(_nrrd(tmp_path / "a.nrrd", text, bytes(24)), "spacings 'nan 0.5 2', expected 3 finite")


def test_a_nrrd_header_of_very_many_lines_is_refused(tmp_path):
    header = NRRD + "".join(f"key{number}:=value\n" for number in range(25_000))
    _refused(_nrrd(tmp_path / "a.nrrd", header), r"its header has more than 20000 lines")


# --- MetaImage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "by", "cause"),
    [
        ("NDims = 3", "NDims = -1", "NDims '-1', expected a whole number from 1 to 5"),
        ("NDims = 3", "NDims = 99999999", "NDims '99999999', expected a whole number from 1 to 5"),
        ("NDims = 3\n", "", "no field 'NDims'"),
        ("NDims = 3", "NDims = 4", "DimSize '4 3 2', expected 4 numbers"),
        ("NDims = 3\n", "DimSize = 4 3 2\nNDims = 3\n", "two fields 'DimSize'"),
        ("DimSize = 4 3 2", "DimSize = 4 3", "DimSize '4 3', expected 3 numbers"),
        ("DimSize = 4 3 2", "DimSize = -4 3 2", "DimSize '-4', expected a whole number from 1"),
        ("DimSize = 4 3 2", "DimSize = 4 3 nan", "DimSize 'nan', expected a whole number from 1"),
        ("DimSize = 4 3 2", f"DimSize = {HUGE} 3 2", "DimSize '1000.*expected a whole number"),
        ("Offset = 1 2 3", "Offset = 1 2", "Offset '1 2', expected 3 finite"),
        ("Offset = 1 2 3", "Offset = 1 nan 3", "Offset '1 nan 3', expected 3 finite"),
        ("= 0.5 0.5 2", "= inf 0.5 2", "ElementSpacing 'inf 0.5 2', expected 3 finite"),
        ("Matrix = 1 0 0", "Matrix = 1 0 0 1e308", "expected 9 finite"),
        ("1 0 0 0 1 0 0 0 1", "1 0 0 1e308 1 0 0 0 1", "expected 9 finite"),
        ("MET_USHORT", "MET_STRING", "ElementType 'MET_STRING', expected one of MET_CHAR"),
        ("MET_USHORT", "USHORT", "ElementType 'USHORT', expected one of MET_CHAR"),
        ("BinaryData = True", "rubbish", "the line 'rubbish', which is no field"),
        ("BinaryData = True", "k" * 300 + " = 1", "the line 'kkk.*which is no field"),
        ("BinaryData = True", "ElementNumberOfChannels = 99999999", "from 1 to 65536"),
        ("BinaryData = True", "HeaderSize = -2", "HeaderSize '-2', expected a whole number"),
        ("BinaryData = True", "HeaderSize = 7", "HeaderSize '7', expected 0 or -1"),
        ("CompressedData = False", "CompressedData = True", "no field 'CompressedDataSize'"),
        ("\nOffset", "\rOffset", "no text"),
    ],
)
def test_a_meta_header_that_makes_no_sense_is_refused(tmp_path, line, by, cause):
    assert line in META
    _refused(_meta(tmp_path / "a.mha", META.replace(line, by)), rf"^a\.mha: damaged.*{cause}")


@pytest.mark.parametrize("count", ["-1", "99999999"])
def test_a_meta_header_of_no_sense_without_a_matrix_is_refused(tmp_path, count):
    header = "".join(
        line.replace("= 3", f"= {count}")
        for line in META.splitlines(keepends=True)
        if not line.startswith(("TransformMatrix", "Offset", "ElementSpacing"))
    )
    _refused(_meta(tmp_path / "a.mha", header), rf"^a\.mha: damaged.*NDims '{count}'")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" = ", ": "),
        lambda text: text.replace("ElementData", "HeaderSize = -1\nElementData"),
        lambda text: text.replace("BinaryData = True\n", ""),
        lambda text: text.replace("Offset", "Position"),
        lambda text: text.replace("Offset", "0008|0060 = US\nSeq_Frame0_Status =\nOffset"),
    ],
)
def test_a_meta_header_as_programs_write_it_is_read(tmp_path, change):
    image = read_image(_meta(tmp_path / "a.mha", change(META)), spatial_dims=3)
    np.testing.assert_array_equal(image.pixels, VOXELS)
    assert (image.geometry.spacing, image.geometry.origin) == ((0.5, 0.5, 2), (1, 2, 3))


def test_a_meta_header_without_a_matrix_or_place_is_read_as_before(tmp_path):
    kept = [line for line in META.splitlines(keepends=True) if line[0] in "NBCD" or "Data" in line]
    path = _meta(
        tmp_path / "a.mha", "".join(kept).replace("DimSize", "ElementType = MET_USHORT\nDimSize")
    )
    image = read_image(path, spatial_dims=3)
    np.testing.assert_array_equal(image.pixels, VOXELS)
    assert image.geometry.spacing == (1, 1, 1)


@pytest.mark.parametrize(
    ("pixels", "size"),
    [
        (zlib.compress(RAW)[:-12], None),
        (zlib.compress(RAW[:30]), None),
        (zlib.compress(RAW), 9),
        (RAW, None),
        (zlib.compress(RAW), 10**12),
    ],
    ids=["cut", "too few", "size too small", "not compressed", "size too large"],
)
def test_compressed_pixels_of_a_meta_image_that_are_not_whole_are_refused(tmp_path, pixels, size):
    header = META.replace("= False", f"= True\nCompressedDataSize = {size or len(pixels)}")
    with pytest.raises(InputError, match=r"^a\.mha: (truncated|damaged)"):
        read_image(_meta(tmp_path / "a.mha", header, pixels), spatial_dims=3)


# --- NIfTI ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ((40, "<h", 0), "dim .*expected 1 to 7 axes"),
        ((40, "<h", -3), "dim .*expected 1 to 7 axes"),
        ((42, "<h", -4), "dim .*expected 1 to 7 axes"),
        ((46, "<h", 0), "dim .*expected 1 to 7 axes"),
        ((70, "<h", 999), ""),
        ((80, "<f", math.nan), "pixdim .*expected finite numbers"),
        ((84, "<f", 1e30), "pixdim .*expected finite numbers"),
        ((108, "<f", math.inf), "vox_offset 'inf', expected a whole number from 352"),
        ((108, "<f", 0), "vox_offset '0.0', expected a whole number from 352"),
        ((108, "<f", -1), "vox_offset '-1.0', expected a whole number from 352"),
        ((108, "<f", 1e9), "vox_offset '1000000000.0', expected a whole number from 352"),
        ((256, "<f", math.nan), "qform .*expected finite numbers"),
        ((280, "<f", math.nan), "sform .*expected finite numbers"),
        ((344, "4s", b"ni1\0"), "magic .*expected 'n\\+1'"),
        ((344, "4s", b"\0\0\0\0"), "magic .*expected 'n\\+1'"),
        ((4, "4s", b"n+2\0"), "it is NIfTI-2, expected NIfTI-1"),
    ],
)
def test_a_nifti_header_that_makes_no_sense_is_refused(tmp_path, kind, change, cause):
    both_forms = ((252, "<h", 1), (254, "<h", 1))
    path = _nifti(tmp_path / f"a{kind}", *both_forms, change)
    _refused(path, rf"^a{kind}: damaged.*{cause}")


@pytest.mark.parametrize("order", "<>")
def test_a_nifti_of_very_many_extensions_is_refused(tmp_path, order):
    for count in (1000, 1001):
        places = (108, "<f", 352 + 16 * count), (348, "4s", b"\1\0\0\0")
        path = _nifti(tmp_path / "a.nii", *places)
        content = path.read_bytes()
        header = nibabel.Nifti1Header(content[:348]).as_byteswapped(order).binaryblock
        extensions = struct.pack(f"{order}4i", 16, 6, 0, 0) * count
        pixels = VOXELS.astype(f"{order}u2").tobytes()
        path.write_bytes(header + content[348:352] + extensions + pixels)
        if count == 1000:
            np.testing.assert_array_equal(read_image(path, spatial_dims=3).pixels, VOXELS)
    _refused(path, r"^a\.nii: damaged.*more than 1000 extensions")


def test_a_nifti_header_without_numbers_where_none_are_needed_is_read(tmp_path):
    unused = ((80 + 4 * 4, "<f", math.nan), (112, "<f", math.nan))
    image = read_image(_nifti(tmp_path / "a.nii", *unused), spatial_dims=3)
    np.testing.assert_array_equal(image.pixels, VOXELS)


def test_a_nifti_beside_its_packed_namesake_is_not_read_for_it(tmp_path):
    _nifti(tmp_path / "a.nii", (40, "<h", -3))
    packed = _nifti(tmp_path / "a.nii.gz")
    assert image_size(packed) == image_geometry(packed).size == (4, 3, 2)


# --- labels of many segments and layers ----------------------------------------------------------


def test_very_many_segments_are_told_apart_at_once(tmp_path, monkeypatch, timed):
    told = {f"Segment{n}_{key}": str(n) for n in range(30_000) for key in ("Name", "LabelValue")}
    told |= {f"Segment{n}_Layer": str(n % 2) for n in range(30_000)}
    fields = HeaderFields(layers=2, real=False, metadata=told)
    monkeypatch.setattr(segments, "header_fields", lambda path: fields)
    with timed(2):
        assert len(segments.segments_in(tmp_path / "a.seg.nrrd")) == 30_000


@pytest.mark.parametrize("named", [False, True])
def test_layers_of_many_values_are_merged_without_a_mask_for_each(tmp_path, named):
    layers = np.zeros((256, 256, 2), np.uint16)
    layers[::2, :, 0] = 1 + np.arange(128 * 256).reshape(128, 256) % 3000
    layers[1::2, :, 1] = 3001 + np.arange(128 * 256).reshape(128, 256) % 3000
    text = "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 2 256 256\nkinds: list domain domain\n"
    text += "endian: little\nencoding: raw\n"
    if named:
        text += "".join(
            f"Segment{n}_Layer:={n // 3000}\nSegment{n}_LabelValue:={n + 1}\n" for n in range(6000)
        )
    path = _nrrd(tmp_path / "a.seg.nrrd", text, layers.tobytes())
    tracemalloc.start()
    try:
        label = read_label(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(label, layers.sum(axis=-1))
    assert peak < 20_000_000


def test_more_than_a_thousand_layers_are_refused(tmp_path):
    text = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2000 4 4\nkinds: list domain domain\n"
    path = _nrrd(tmp_path / "a.nrrd", text + "encoding: raw\n", bytes(2000 * 16))
    with pytest.raises(InputError, match=r"has 2000 layers, expected at most 1024"):
        read_label(path)


# --- sizes ---------------------------------------------------------------------------------------


def _promising(path: Path, size: tuple[int, int, int], kind: str, stored: int = 1000) -> Path:
    """Write a small file whose header promises values of 8 bytes."""
    zeros = zlib.compress(bytes(stored))
    sides = " ".join(map(str, size))
    if path.suffix == ".nrrd":
        header = NRRD.replace("4 3 2", sides).replace("uint16", "double")
        return _nrrd(path, header.replace("raw", kind), gzip.compress(bytes(stored)))
    if path.suffix == ".mha":
        header = META.replace("4 3 2", sides).replace("USHORT", "DOUBLE")
        if kind != "raw":
            header = header.replace("= False", f"= True\nCompressedDataSize = {len(zeros)}")
        return _meta(path, header, zeros)
    sides = tuple((42 + 2 * axis, "<h", side) for axis, side in enumerate(size))
    return _nifti(path, *sides, (70, "<h", 64), (72, "<h", 64))


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", ["raw", "gzip"])
def test_a_small_file_that_promises_gigabytes_is_refused_by_its_header(tmp_path, timed, name, kind):
    path = _promising(tmp_path / name, (1024, 1024, 512), kind)
    with timed(1), pytest.raises(InputError, match=r"take 4295 MB when decoded, at most 1000 MB"):
        read_image(path, 1 << 40, 3)
    path = _promising(tmp_path / name, (400, 400, 400), kind)
    with timed(1), pytest.raises(InputError, match=r"truncated, its header promises 512000000 byt"):
        read_image(path, 1 << 40, 3)
    with pytest.raises(InputError, match=r"truncated, its header promises 512000000 bytes"):
        read_label(path, (400, 400, 400))


def test_pixels_that_inflate_to_more_than_is_promised_are_not_inflated_further(tmp_path, timed):
    header = NRRD.replace("encoding: raw", "encoding: gzip")
    path = _nrrd(tmp_path / "a.nrrd", header, gzip.compress(RAW + bytes(200_000_000), 1))
    with timed(1):
        np.testing.assert_array_equal(read_image(path, spatial_dims=3).pixels, VOXELS)


def test_very_many_empty_members_of_a_gzip_are_passed_over_at_once(tmp_path, timed):
    header = NRRD.replace("encoding: raw", "encoding: gzip")
    empty = gzip.compress(b"")
    path = _nrrd(tmp_path / "a.nrrd", header, empty * 100_000 + gzip.compress(RAW))
    with timed(2):
        np.testing.assert_array_equal(read_image(path, spatial_dims=3).pixels, VOXELS)


@pytest.mark.parametrize("kind", [".nrrd", ".mha"])
def test_of_many_channels_only_the_one_that_is_read_stays_in_memory(tmp_path, kind):
    voxels = np.arange(40 * 30 * 50, dtype=np.uint16).reshape(40, 30, 50)
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(tmp_path / f"a{kind}"))
    pixels = read_image(tmp_path / f"a{kind}", channel="7").pixels
    np.testing.assert_array_equal(pixels, voxels[..., 6])
    assert pixels.flags.owndata
    assert pixels.flags.writeable
