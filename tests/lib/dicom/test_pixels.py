"""The pixels of DICOM files are those stored, whatever encodes them; damaged ones are refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG4HP41,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)
from ultrasound_samples import COLUMNS, ROWS, SPACED, grey, group, item, write_us

from lib.errors import InputError
from lib.image import Image
from lib.io.read import read_image

FRAMES = 4


def _read(path: Path, spatial_dims: int | None = None) -> Image:
    return read_image(path, spatial_dims=spatial_dims)


# --- stored values -------------------------------------------------------------------------------


def _jpeg_2000(frames: np.ndarray) -> bytes:
    codes = []
    for frame in frames:
        file = io.BytesIO()
        PillowImage.fromarray(frame).save(file, "JPEG2000", irreversible=False, no_jp2=True)
        codes.append(file.getvalue())
    return encapsulate(codes)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shared", [False, True], ids=["at the top", "of the frames"])
def test_compressed_frames_are_not_rescaled(tmp_path, shared, photometric):
    """GDCM rescales by tags that differ with the class of the object."""
    rescale = item(RescaleSlope="2.5", RescaleIntercept="-1024", RescaleType="HU")
    groups = group(PixelValueTransformationSequence=rescale)
    tags = {"SharedFunctionalGroupsSequence": Sequence([groups])}
    if not shared:
        tags = {"RescaleSlope": "2.5", "RescaleIntercept": "-1024"}
    stored = 255 - grey(FRAMES) if photometric == "MONOCHROME1" else grey(FRAMES)
    path = write_us(
        tmp_path / "a.dcm",
        stored,
        photometric,
        Modality="CT",
        SOPClassUID=EnhancedCTImageStorage,
        syntax=JPEG2000Lossless,
        content=_jpeg_2000(stored),
        **tags,
    )
    image = _read(path)
    np.testing.assert_array_equal(image.pixels, grey(FRAMES))
    assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize("frames", [1, FRAMES])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("entry", ["u1", "u2", "8 in 16"])
@pytest.mark.parametrize("index", [np.uint8, np.uint16])
def test_palettes_of_every_width_and_byte_order_are_applied(tmp_path, frames, order, entry, index):
    """255 entries, from index 3 on, show v as v - 3; what lies beyond takes the last or first."""
    entries = np.arange(255, dtype=np.uint16)
    if entry == "u2":
        entries <<= 8
    if entry == "u1":
        content = np.append(entries, 0).astype(np.uint8).view("<u2").astype(f"{order}u2").tobytes()
    else:
        content = entries.astype(f"{order}u2").tobytes()
    tags = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [255, 3, 8 if entry == "u1" else 16]
        tags[f"{colour}PaletteColorLookupTableData"] = content
    if order == ">":
        tags["syntax"] = ExplicitVRBigEndian
    pixels = grey(frames).astype(index)
    pixels[0, 0, 0] = 0
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    path = write_us(tmp_path / "a.dcm", stored, "PALETTE COLOR", **tags)
    expected = np.clip(pixels.astype(int) - 3, 0, 254)
    np.testing.assert_array_equal(_read(path).pixels.reshape(pixels.shape), expected)


def test_a_table_that_is_too_short_is_refused(tmp_path):
    tags = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = bytes(200)
    path = write_us(tmp_path / "a.dcm", grey(), "PALETTE COLOR", **tags)
    with pytest.raises(InputError, match=r"^a\.dcm: its palette .* hold 200 of 256 entries"):
        _read(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_big_endian_frames_are_read(tmp_path, dtype):
    pixels = grey(FRAMES, dtype)
    stored = pixels.astype(pixels.dtype.newbyteorder(">"))
    image = _read(write_us(tmp_path / "a.dcm", stored, syntax=ExplicitVRBigEndian))
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixels.dtype.isnative


# --- what is refused -----------------------------------------------------------------------------


def test_several_frames_are_no_2d_image_and_one_is_no_volume(tmp_path):
    loop, still = write_us(tmp_path / "loop.dcm", grey()), write_us(tmp_path / "one.dcm", grey(1))
    with pytest.raises(InputError, match=r"^loop\.dcm: holds 3 frames, expected a single-frame"):
        _read(loop, 2)
    with pytest.raises(InputError, match=r"^one\.dcm: a DICOM file of one frame, expected a vol"):
        _read(still, 3)
    assert _read(still).shape == (ROWS, COLUMNS)


def test_the_limit_counts_the_pixels_of_all_frames(tmp_path):
    path = write_us(tmp_path / "a.dcm", grey(FRAMES))
    pixels = FRAMES * ROWS * COLUMNS
    assert read_image(path, pixels, None).shape == (FRAMES, ROWS, COLUMNS)
    with pytest.raises(InputError, match=r"^a\.dcm: 64 x 48 x 4 pixels are too many; at most"):
        read_image(path, pixels - 1, None)


@pytest.mark.parametrize(
    ("syntax", "name"), [(MPEG4HP41, "MPEG-4 "), (JPEG2000Lossless, "JPEG 2000")]
)
def test_frames_that_cannot_be_decoded_are_refused_with_their_encoding(tmp_path, syntax, name):
    content = encapsulate([b"these are no pixels " * 20])
    path = write_us(tmp_path / "a.dcm", grey(), syntax=syntax, content=content)
    with pytest.raises(
        InputError, match=rf"^a\.dcm: pixel data of {name}.* cannot be decoded"
    ) as e:
        _read(path)
    assert "/tmp" not in str(e.value) and ".dcm:" not in str(e.value)[7:], "no other files"


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_code_that_promises_more_pixels_than_its_header_is_refused_before_decoding(
    tmp_path, kind
):
    """A decoder would reserve the memory, which for some kilobytes of file may be terabytes."""
    file = io.BytesIO()
    options = {"no_jp2": True} if kind == "JPEG2000" else {}
    PillowImage.fromarray(grey(1)[0]).save(file, kind, **options)
    code = bytearray(file.getvalue())
    place = code.index(b"\xff\x51") + 6 if options else code.index(b"\xff\xc0") + 5
    code[place : place + 2] = b"\xff\xff"
    syntax = JPEG2000Lossless if options else JPEGBaseline8Bit
    path = write_us(tmp_path / "a.dcm", grey(1), syntax=syntax, content=encapsulate([bytes(code)]))
    with pytest.raises(
        InputError, match=r"a frame in it is of \d+ x \d+ pixels .* promises 64 x 4"
    ):
        _read(path)


@pytest.mark.parametrize("tags", [{"SamplesPerPixel": 7}, {"Rows": 0}, {"NumberOfFrames": -3}])
def test_absurd_headers_are_refused(tmp_path, tags):
    path = write_us(tmp_path / "a.dcm", grey(), **tags)
    with pytest.raises(InputError, match=r"^a\.dcm: .* expected at least 1 x 1, with 1 value or 3"):
        _read(path)


def test_ybr_of_16_bits_is_refused(tmp_path):
    pixels = np.repeat(grey(2, np.uint16)[..., None], 3, axis=3)
    with pytest.raises(InputError, match=r"YBR_FULL cannot be decoded \(16 bits for each of YBR"):
        _read(write_us(tmp_path / "a.dcm", pixels, "YBR_FULL"))


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_header_is_read_or_refused_by_name(tmp_path, seed):
    rng = np.random.default_rng(seed)
    tags = {"FrameTime": "40", "SpacingBetweenSlices": "0.8", "ImagePositionPatient": ["1"] * 3}
    whole = write_us(tmp_path / "a.dcm", grey(2), **SPACED, **tags).read_bytes()
    header = len(whole) - grey(2).nbytes
    for _ in range(25):
        content = bytearray(whole)
        for place in rng.integers(132, header, 3):
            content[place] = rng.integers(256)
        (tmp_path / "a.dcm").write_bytes(content)
        try:
            read_image(tmp_path / "a.dcm", 10**6, None)
        except InputError as error:
            assert str(error).startswith("a.dcm: ")
