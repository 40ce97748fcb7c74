"""DICOM ultrasound of every usual encoding reads to grey frames with spacing and region."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as PillowImage
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from ultrasound_samples import COLUMNS, ROWS, SPACED, read_ultrasound
from ultrasound_samples import grey as _grey
from ultrasound_samples import write_us as _us

from lib.dicom.ultrasound import Ultrasound
from lib.errors import InputError
from lib.io.read import read_image


def _colour(frames: int = 3) -> np.ndarray:
    return np.repeat(_grey(frames)[..., None], 3, axis=3)


def _encoded(frames: np.ndarray, kind: str, **options) -> bytes:
    """Return the frames as fragments of `kind`, made by Pillow."""
    codes = []
    for frame in frames:
        file = io.BytesIO()
        PillowImage.fromarray(frame).save(file, format=kind, **options)
        codes.append(file.getvalue())
    return encapsulate(codes)


def _read(path: Path) -> Ultrasound:
    """Read as ultrasound; `read_image` must show the same frames."""
    read = read_ultrasound(path)
    if pydicom.dcmread(path, stop_before_pixels=True).Modality == "US":
        image = read_image(path, spatial_dims=None)
        frames = image.pixels if len(read.pixels) > 1 else image.pixels[np.newaxis]
        np.testing.assert_array_equal(frames, read.pixels)
        assert frames.dtype == read.pixels.dtype
        assert not image.colour
        assert image.spatial_dims == (3 if len(read.pixels) > 1 else 2)
    return read


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_frames_are_read_as_they_are(tmp_path, frames, dtype):
    pixels = _grey(frames, dtype)
    read = _read(_us(tmp_path / "a.dcm", pixels, **SPACED))
    np.testing.assert_array_equal(read.pixels, pixels)
    assert read.pixels.dtype == dtype
    assert read.coloured is None
    assert read.frame_axis == ("none" if frames == 1 else "time")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_monochrome1_is_inverted(tmp_path, dtype):
    pixels = _grey(2, dtype)
    read = _read(_us(tmp_path / "a.dcm", np.iinfo(dtype).max - pixels, "MONOCHROME1"))
    np.testing.assert_array_equal(read.pixels, pixels)


def test_monochrome1_of_12_bits_is_inverted_in_its_range_also_when_compressed(tmp_path):
    pixels = _grey(1, np.uint16) >> 4
    stored = {"BitsStored": 12, "HighBit": 11}
    plain = _us(tmp_path / "a.dcm", 4095 - pixels, "MONOCHROME1", **stored)
    np.testing.assert_array_equal(_read(plain).pixels, pixels)
    content = _encoded(255 - _grey(2), "JPEG2000", irreversible=False, no_jp2=True)
    path = _us(
        tmp_path / "b.dcm", _grey(2), "MONOCHROME1", syntax=JPEG2000Lossless, content=content
    )
    np.testing.assert_array_equal(_read(path).pixels, _grey(2))


def test_values_beyond_16_bit_are_refused(tmp_path):
    pixels = np.full((1, ROWS, COLUMNS), 70_000, np.uint32)
    with pytest.raises(InputError, match="values 70000 to 70000 of type uint32, expected 8 or 16"):
        read_ultrasound(_us(tmp_path / "a.dcm", pixels))


def test_rgb_is_read_in_both_planar_configurations(tmp_path):
    pixels = _colour()
    pixels[:, 5:10, 5:10] = 200, 30, 30
    read = _read(_us(tmp_path / "0.dcm", pixels, "RGB"))
    planes = np.moveaxis(pixels, 3, 1)
    path = _us(tmp_path / "1.dcm", pixels, "RGB", content=planes.tobytes(), PlanarConfiguration=1)
    np.testing.assert_array_equal(_read(path).pixels, read.pixels)
    np.testing.assert_array_equal(read.pixels[:, 20:], _grey()[:, 20:])
    assert read.pixels[0, 6, 6] == round(0.299 * 200 + 0.701 * 30)


def test_coloured_pixels_are_marked(tmp_path):
    pixels = _colour()
    pixels[1, 5:10, 5:11] = 200, 30, 30
    read = _read(_us(tmp_path / "a.dcm", pixels, "RGB"))
    assert read.coloured.shape == (3, ROWS, COLUMNS)
    assert read.coloured[1, 5:10, 5:11].all()
    assert read.coloured.sum() == 30
    assert any("0.3% of the pixels are coloured" in warning for warning in read.warnings)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_ybr_full_becomes_grey(tmp_path, syntax):
    ybr = convert_color_space(_colour(), "RGB", "YBR_FULL").astype(np.uint8)
    content = None
    if syntax == RLELossless:
        content = _rle(tmp_path, ybr, "RGB")
    path = _us(tmp_path / "a.dcm", ybr, "YBR_FULL", syntax=syntax, content=content)
    np.testing.assert_allclose(_read(path).pixels, _grey(), atol=2)


def test_uncompressed_ybr_full_422_becomes_grey(tmp_path):
    pixels = np.repeat(_colour(2)[:, :, ::2], 2, axis=2)  # pairs of pixels share their colour
    ybr = convert_color_space(pixels, "RGB", "YBR_FULL").astype(np.uint8)
    luma, chroma = ybr[..., 0].reshape(2, ROWS, -1, 2), ybr[:, :, ::2, 1:]
    content = np.concatenate((luma, chroma), axis=3).tobytes()
    read = _read(_us(tmp_path / "a.dcm", ybr, "YBR_FULL_422", content=content))
    np.testing.assert_allclose(read.pixels, pixels[..., 0], atol=2)


def _palette(bits: int) -> dict[str, object]:
    """Lookup tables of 256 entries that show value v as grey 255 - v; 8 or 16 bits wide."""
    table = np.arange(255, -1, -1).astype(np.uint8)
    entries = table.tobytes() if bits == 8 else (table.astype(np.uint16) << 8).tobytes()
    tags: dict[str, object] = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        tags[f"{colour}PaletteColorLookupTableData"] = entries
    return tags


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_applied(tmp_path, frames, bits):
    pixels = 255 - _grey(frames)
    read = _read(_us(tmp_path / "a.dcm", pixels, "PALETTE COLOR", **_palette(bits)))
    np.testing.assert_array_equal(read.pixels, _grey(frames))
    assert read.pixels.dtype == np.uint8


def _rle(folder: Path, pixels: np.ndarray, photometric: str) -> bytes:
    data = pydicom.dcmread(_us(folder / "plain.dcm", pixels, photometric))
    data.compress(RLELossless)
    return data.PixelData


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", ["grey", "wide", "colour", "palette"])
def test_rle_is_read(tmp_path, frames, kind):
    expected = _grey(frames, np.uint16 if kind == "wide" else np.uint8)
    pixels = {"colour": _colour(frames), "palette": 255 - expected}.get(kind, expected)
    names = {"colour": "RGB", "palette": "PALETTE COLOR"}
    photometric = names.get(kind, "MONOCHROME2")
    tags = _palette(16) if kind == "palette" else {}
    content = _rle(tmp_path, pixels, "RGB" if kind == "colour" else "MONOCHROME2")
    path = _us(tmp_path / "a.dcm", pixels, photometric, syntax=RLELossless, content=content, **tags)
    np.testing.assert_array_equal(_read(path).pixels, expected)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "YBR_FULL_422"])
def test_jpeg_baseline_is_read(tmp_path, frames, photometric):
    pixels = _grey(frames) if photometric == "MONOCHROME2" else _colour(frames)
    content = _encoded(pixels, "JPEG", quality=95)
    path = _us(tmp_path / "a.dcm", pixels, photometric, syntax=JPEGBaseline8Bit, content=content)
    np.testing.assert_allclose(_read(path).pixels, _grey(frames), atol=6)


@pytest.mark.parametrize(
    ("syntax", "photometric", "lossless"),
    [
        (JPEG2000Lossless, "MONOCHROME2", True),
        (JPEG2000Lossless, "YBR_RCT", True),
        (JPEG2000, "YBR_ICT", False),
    ],
)
def test_jpeg_2000_is_read(tmp_path, syntax, photometric, lossless):
    pixels = _grey(2) if photometric == "MONOCHROME2" else _colour(2)
    content = _encoded(pixels, "JPEG2000", irreversible=not lossless, no_jp2=True, mct=1)
    path = _us(tmp_path / "a.dcm", pixels, photometric, syntax=syntax, content=content)
    np.testing.assert_allclose(_read(path).pixels, _grey(2), atol=0 if lossless else 6)


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", JPEGLSLossless),
        ("MR_small_jp2klossless.dcm", JPEG2000Lossless),
    ],
)
def test_16_bit_frames_of_other_encodings_are_read(tmp_path, name, syntax):
    stored = pydicom.dcmread(get_testdata_file(name, download=False))
    plain = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False)).pixel_array
    (code,) = generate_frames(stored.PixelData, number_of_frames=1)
    path = _us(
        tmp_path / "a.dcm",
        np.stack([plain] * 3),
        syntax=syntax,
        content=encapsulate([code] * 3),
        PixelRepresentation=1,
    )
    read = _read(path)
    assert read.pixels.dtype == np.uint16
    np.testing.assert_array_equal(read.pixels, np.stack([plain] * 3))


def test_big_endian_colour_is_read():
    read = _read(Path(get_testdata_file("ExplVR_BigEnd.dcm", download=False)))
    assert read.pixels.shape == (1, 60, 80)
    assert read.pixels.dtype.isnative


# files that cannot be read


@pytest.mark.parametrize("share", [0.4, 0.8, 0.97])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGBaseline8Bit])
def test_truncated_pixel_data_is_refused(tmp_path, syntax, share):
    content = None
    if syntax == RLELossless:
        content = _rle(tmp_path, _grey(), "MONOCHROME2")
    elif syntax == JPEGBaseline8Bit:
        content = _encoded(_grey(), "JPEG")
    path = _us(tmp_path / "a.dcm", _grey(), syntax=syntax, content=content)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"^a\.dcm: .*export it again"):
        read_ultrasound(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit])
def test_fewer_frames_than_the_header_promises_are_refused(tmp_path, syntax):
    few = _grey()[:2]
    content = _rle(tmp_path, few, "MONOCHROME2") if syntax == RLELossless else _encoded(few, "JPEG")
    path = _us(tmp_path / "a.dcm", _grey(), syntax=syntax, content=content)
    with pytest.raises(InputError, match=r"^a\.dcm: pixel data of .*export it again"):
        read_ultrasound(path)


def test_a_palette_that_is_missing_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"^a\.dcm: its palette cannot be applied .*export it as RGB"
    ):
        read_ultrasound(_us(tmp_path / "a.dcm", _grey(), "PALETTE COLOR"))


def test_objects_without_an_image_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.dcm: no such file"):
        read_ultrasound(tmp_path / "absent.dcm")
    (tmp_path / "text.dcm").write_text("not DICOM" * 100)
    with pytest.raises(InputError, match=r"text\.dcm: not a DICOM file"):
        read_ultrasound(tmp_path / "text.dcm")
    plan = Path(get_testdata_file("rtplan.dcm", download=False))
    with pytest.raises(InputError, match=r"without an image \(no Rows, Columns"):
        read_ultrasound(plan)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = _us(tmp_path / "a.dcm", _grey(), Rows=40000, Columns=40000)
    with pytest.raises(InputError, match="40000 x 40000 x 3 pixels are too many; at most"):
        read_image(path, spatial_dims=None)
