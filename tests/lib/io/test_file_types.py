"""A file type is one row of a table: readers, listings, image ids and labels find it there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.data.studies import list_items
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.io import read
from lib.io.labels import read_label
from lib.io.read import FileType, check_readable, extension, image_extensions, image_size, stem

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def _size(path: Path) -> tuple[int, ...]:
    return np.load(path, mmap_mode="r").shape[::-1]


def _read(path: Path, max_pixels: int, spatial_dims: int) -> Image:
    pixels = np.load(path)
    return Image(pixels, Geometry.flat(*pixels.shape), path)


def _recognises(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x93NUMPY")


@pytest.fixture
def numpy_files(monkeypatch):
    row = FileType(extensions=(".npy",), size=_size, read=_read, recognises=_recognises)
    monkeypatch.setattr(read, "FILE_TYPES", (*read.FILE_TYPES, row))


def _save(path: Path, pixels: np.ndarray = PIXELS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.save(file, pixels)
    return path


def test_a_file_of_a_type_without_a_row_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a supported image type; expected one of \.png"):
        read.read_image(_save(tmp_path / "a.npy"))


def test_one_row_makes_a_file_type_known_everywhere(numpy_files, tmp_path):
    image = _save(tmp_path / "a.npy")
    label = _save(tmp_path / "labels/final/a.npy", PIXELS % 2)
    assert (read.read_image(image).pixels == PIXELS).all()
    assert image_size(image) == (4, 3)
    assert (extension("A.NPY"), stem("A.NPY")) == (".npy", "A")
    assert image_extensions()[-1] == ".npy"
    assert [(item.id, item.label) for item in list_items(tmp_path)] == [("a", label)]
    assert (read_label(label, PIXELS.shape) == PIXELS % 2).all()
    check_readable(image)


def test_a_file_without_extension_is_recognised_by_its_content(numpy_files, tmp_path):
    assert (read.read_image(_save(tmp_path / "1.2.840")).pixels == PIXELS).all()


def test_what_a_reader_returns_is_checked_as_all_images_are(numpy_files, tmp_path):
    with pytest.raises(InputError, match="1 of 12 pixel values are NaN or infinite"):
        read.read_image(_save(tmp_path / "a.npy", np.where(PIXELS == 5, np.nan, 0)))


def test_no_extension_has_two_rows():
    assert len(set(image_extensions())) == len(image_extensions())
