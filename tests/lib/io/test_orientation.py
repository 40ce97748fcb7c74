"""The orientation tag of a TIFF: pixels lie where ITK, and so 3D Slicer, shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from lib.image import Image
from lib.io.labels import read_label
from lib.io.read import image_geometry, image_size, read_image

ORIENTATIONS = range(1, 9)
GREY = np.random.default_rng(0).integers(0, 255, (40, 56)).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
TABLE = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
KINDS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "grey": (GREY, {}),
    "16 bit": (GREY.astype(np.uint16) * 257, {}),
    "Deflate": (GREY, {"compression": "zlib"}),
    "tiles": (GREY, {"tile": (16, 16)}),
    "big-endian": (GREY.astype(np.uint16) * 257, {"byteorder": ">"}),
    "BigTIFF": (GREY, {"bigtiff": True}),
    "palette": (GREY, {"photometric": "palette", "colormap": TABLE}),
    "colour": (COLOUR, {"photometric": "rgb"}),
    "16-bit colour": (COLOUR.astype(np.uint16) * 257, {"photometric": "rgb"}),
}


def _write(path: Path, pixels: np.ndarray, orientation: int, **options: Any) -> Path:
    options = {"photometric": "minisblack", **options}
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, pixels, metadata=None, extratags=tags, **options)
    return path


def _mirrored(pixels: np.ndarray, orientation: int, rows: int = 0) -> np.ndarray:
    axes = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(pixels, [rows + axis for axis in axes])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_lies_where_itk_shows_it(tmp_path, kind, orientation):
    pixels, options = KINDS[kind]
    path = _write(tmp_path / "a.tif", pixels, orientation, **options)
    image = read_image(path)
    shown = sitk.ReadImage(str(path))
    assert image.geometry.size == shown.GetSize() == image_size(path)
    assert image_geometry(path) == image.geometry
    expected = _mirrored(pixels, orientation)
    if kind == "palette":
        expected = np.dstack([expected] * 3)
    np.testing.assert_array_equal(image.pixels, expected)
    # ITK reads most orientations as 8-bit RGBA
    of_itk, red = sitk.GetArrayFromImage(shown), expected.reshape(40, 56, -1)[..., 0]
    of_itk = of_itk.reshape(40, 56, -1)[..., 0]
    step = 257 if of_itk.dtype == np.uint16 else 1
    np.testing.assert_array_equal(of_itk // step, red // (257 if red.dtype == np.uint16 else 1))


@pytest.mark.parametrize("orientation", [4, 6])
def test_pages_planes_and_samples_lie_alike(tmp_path, orientation):
    pages = np.stack([GREY, GREY[::-1], 255 - GREY])
    expected = _mirrored(pages, orientation, rows=1)

    def read(pixels: np.ndarray, channel: str = "", **options: Any) -> Image:
        path = _write(tmp_path / "a.tif", pixels, orientation, **options)
        return read_image(path, spatial_dims=None, channel=channel)

    np.testing.assert_array_equal(read(pages).pixels, expected)
    np.testing.assert_array_equal(read(pages, "2").pixels, expected[1])
    np.testing.assert_array_equal(read(pages.astype(np.float64)).pixels, expected)
    for planarconfig in ("separate", "contig"):
        samples = pages if planarconfig == "separate" else np.moveaxis(pages, 0, -1)
        one = read(samples, "3", planarconfig=planarconfig)
        np.testing.assert_array_equal(one.pixels, expected[2])


def test_a_label_with_a_palette_lies_on_its_image(tmp_path):
    label = GREY % 3
    path = _write(tmp_path / "a.tif", label, 6, photometric="palette", colormap=TABLE)
    image = read_image(_write(tmp_path / "image.tif", GREY, 6))
    read = read_label(path, image.geometry)
    np.testing.assert_array_equal(getattr(read, "pixels", read), _mirrored(label, 6))
