"""Every input kind of the app reads to the pixels that were written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.image import Geometry
from lib.io.read import extension, image_size, read_image, stem

ROWS, COLUMNS = 32, 40


def _values(dtype: type, channels: int = 0) -> np.ndarray:
    shape = (ROWS, COLUMNS, channels) if channels else (ROWS, COLUMNS)
    top = np.iinfo(dtype).max
    return np.random.default_rng(channels).integers(0, top, shape, dtype=dtype, endpoint=True)


def _write_png(path: Path, pixels: np.ndarray, colour_type: int) -> None:
    """Write any colour type at any depth, which Pillow cannot."""
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    size = struct.pack(">IIBBBBB", COLUMNS, ROWS, 8 * pixels.itemsize, colour_type, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        crc = zlib.crc32(kind + data)
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".nrrd", ".mha", ".nii.gz"])
def test_grey_8_bit_reads_as_written(tmp_path, suffix):
    path, pixels = tmp_path / f"a{suffix}", _values(np.uint8)
    if suffix in (".png", ".bmp", ".tif", ".tiff"):
        PillowImage.fromarray(pixels).save(path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    image = read_image(path)
    assert image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.geometry.size[:2] == (COLUMNS, ROWS)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nrrd", ".nii", ".nii.gz", ".mha"])
def test_grey_16_bit_reads_as_written(tmp_path, suffix):
    path, pixels = tmp_path / f"a{suffix}", _values(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    np.testing.assert_array_equal(read_image(path).pixels, pixels)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_rgb_8_bit_reads_as_written(tmp_path, suffix):
    pixels = _values(np.uint8, 3)
    PillowImage.fromarray(pixels).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").pixels, pixels)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_colour_keeps_its_bits_and_drops_alpha(tmp_path, colour_type, channels, dtype):
    pixels = _values(dtype, channels)
    _write_png(tmp_path / "a.png", pixels, colour_type)
    found = read_image(tmp_path / "a.png").pixels
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels[..., 0] if channels == 2 else pixels[..., :3])


@pytest.mark.parametrize(
    "layout",
    [
        {"photometric": "rgb"},
        {"photometric": "rgb", "compression": "zlib", "predictor": True},
        {"photometric": "rgb", "planarconfig": "separate"},
        {"photometric": "rgb", "byteorder": ">"},
    ],
    ids=["plain", "compressed", "planes", "big-endian"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rgb_tiff_keeps_its_bits(tmp_path, dtype, layout):
    pixels = _values(dtype, 3)
    planes = "planarconfig" in layout
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, 2, 0) if planes else pixels, **layout)
    found = read_image(tmp_path / "a.tif").pixels
    assert found.dtype.itemsize == np.dtype(dtype).itemsize
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32, np.float64])
def test_signed_and_real_tiffs_keep_their_numbers(tmp_path, dtype, order, compression, pages):
    shape = (pages, ROWS, COLUMNS)[pages == 1 :]
    pixels = np.random.default_rng(0).integers(-99, 99, shape).astype(dtype)
    layout = {"byteorder": order, "compression": compression, "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", **layout)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", spatial_dims=None).pixels, pixels)


def test_rgba_16_bit_tiff_drops_alpha(tmp_path):
    pixels = _values(np.uint16, 4)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, pixels[..., :3])


def test_a_16_bit_cmyk_tiff_is_read_as_rgb(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _values(np.uint16, 4), photometric="separated")
    assert read_image(tmp_path / "a.tif").pixels.shape == (ROWS, COLUMNS, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "1"])
def test_alpha_palette_and_single_bit_pictures_read_like_their_plain_form(tmp_path, mode):
    picture = PillowImage.fromarray(_values(np.uint8, 3)).convert("L").convert(mode)
    suffix = ".tif" if mode == "PA" else ".png"
    picture.save(tmp_path / f"a{suffix}")
    found = read_image(tmp_path / f"a{suffix}").pixels
    plain = np.asarray(picture.convert("L" if mode in ("LA", "1") else "RGB"))
    np.testing.assert_array_equal(found, plain)


def test_a_palette_is_applied(tmp_path):
    picture = PillowImage.new("P", (COLUMNS, ROWS), 7)
    picture.putpalette([value for index in range(256) for value in (index, 2 * index % 256, 9)])
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").pixels[3, 3].tolist() == [7, 14, 9]


def test_jpeg_reads_close_to_what_was_written(tmp_path):
    row = np.linspace(0, 255, COLUMNS).astype(np.uint8)
    pixels = np.tile(row, (ROWS, 1))
    PillowImage.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    found = read_image(tmp_path / "a.jpg").pixels.astype(int)
    assert np.abs(found - pixels).max() < 12


def test_float_images_keep_their_values(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nrrd").pixels, pixels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("axes", [3, 4])
def test_a_slice_stored_with_trailing_axes_is_a_2d_image(tmp_path, suffix, axes):
    pixels = _values(np.uint16)
    volume = sitk.GetImageFromArray(pixels.reshape((1,) * (axes - 2) + pixels.shape), False)
    volume.SetSpacing((0.5, 0.25, 2.0, 1.0)[:axes])
    sitk.WriteImage(volume, str(tmp_path / f"a{suffix}"))
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert len(image.geometry.size) <= 3
    assert image.geometry.spacing[:2] == (0.5, 0.25)
    assert image_size(tmp_path / f"a{suffix}") == (COLUMNS, ROWS)


def test_an_rgb_nrrd_keeps_its_channels(tmp_path):
    pixels = _values(np.uint8, 3)
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.nrrd").pixels, pixels)


def test_geometry_of_a_nrrd_is_the_one_in_the_file(tmp_path):
    image = sitk.GetImageFromArray(_values(np.uint8))
    image.SetSpacing((0.3, 0.7))
    image.SetOrigin((-4.0, 11.5))
    image.SetDirection((0.8, -0.6, 0.6, 0.8))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    found = read_image(tmp_path / "a.nrrd").geometry
    assert found.size == (COLUMNS, ROWS)
    assert found.spacing == pytest.approx((0.3, 0.7))
    assert found.origin == pytest.approx((-4.0, 11.5))
    assert found.direction == pytest.approx((0.8, -0.6, 0.6, 0.8))


def test_a_picture_has_unit_spacing_at_the_origin(tmp_path):
    PillowImage.fromarray(_values(np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").geometry == Geometry.flat(ROWS, COLUMNS)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".nrrd", ".nii.gz", ".mha"])
def test_where_no_dimensions_are_asked_for_the_file_has_its_own(tmp_path, suffix):
    flat, deep = _values(np.uint8), np.stack([_values(np.uint8)] * 5)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(flat), str(path))
    assert read_image(path, spatial_dims=None).shape == (ROWS, COLUMNS)
    if suffix not in (".png", ".jpg"):
        sitk.WriteImage(sitk.GetImageFromArray(deep), str(path))
        image = read_image(path, spatial_dims=None)
        np.testing.assert_array_equal(image.pixels, deep)
        assert not image.over_time and image.region is None


def test_a_large_image_reads_whole(tmp_path):
    pixels = np.zeros((3000, 4000), dtype=np.uint8)
    pixels[-1, -1] = 255
    PillowImage.fromarray(pixels).save(tmp_path / "a.png", compress_level=1)
    found = read_image(tmp_path / "a.png").pixels
    assert found.shape == (3000, 4000)
    assert found[-1, -1] == 255
    assert image_size(tmp_path / "a.png") == (4000, 3000)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii.gz", ".nii.gz"), ("A.PNG", ".png"), ("a.b.tif", ".tif"), ("a.txt", ""), ("a", "")],
)
def test_extensions_are_known_whole_and_in_any_case(name, expected):
    assert extension(name) == expected
    assert stem(name) == (name[: len(name) - len(expected)] if expected else name)


BARE = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("SimpleITK", "nibabel", "pydicom", "tifffile"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
import lib.image, lib.io.labels, lib.io.masks, lib.io.read

for path in sys.argv[1:]:
    print(lib.io.read.read_image(path).pixels.sum(), lib.io.read.image_size(path))
label = lib.io.labels.read_label(sys.argv[1])
lib.io.masks.write_mask(sys.argv[1], label, lib.image.Geometry.flat(*label.shape))
"""


def test_pictures_are_read_without_the_libraries_of_other_types(tmp_path, run_python):
    paths = [tmp_path / f"a{suffix}" for suffix in (".png", ".tif", ".bmp", ".jpg")]
    for path in paths:
        PillowImage.fromarray(np.full((ROWS, COLUMNS), 9, np.uint8)).save(path)
    ended = run_python("-c", BARE, *paths)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [f"{9 * ROWS * COLUMNS} ({COLUMNS}, {ROWS})"] * 4


def test_a_missing_library_is_named_and_the_file_not_called_damaged(tmp_path, run_python):
    tifffile.imwrite(tmp_path / "a.tif", _values(np.uint16, 3), photometric="rgb")
    ended = run_python("-c", BARE, tmp_path / "a.tif")
    assert "ImportError: blocked: tifffile" in ended.stderr
