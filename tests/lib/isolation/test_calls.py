"""What is read in a worker is what is read here, of every type of file, and so are the errors."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from dicom_label_samples import label, series, us_loop, write
from mammogram_samples import write_mg
from PIL import Image as PillowImage

from lib.dicom.objects import Author, save
from lib.dicom.seg.read import read_seg, read_segments
from lib.dicom.seg.write import make_seg
from lib.dicom.series import order_slices, read_series
from lib.image import Geometry, Image
from lib.io.labels import read_label
from lib.io.layers import is_plain, label_names
from lib.io.masks import write_mask
from lib.io.read import check_readable, image_geometry, image_size, read_image
from lib.io.volumes import copy_whole
from lib.isolation import calls
from lib.isolation.pool import Pool
from lib.mammography.exam_files import identify
from lib.mammography.mammogram import read_mammogram

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")
_ADDRESS = re.compile("0x[0-9a-f]+")  # that ITK tells of itself
_start = calls.read_in_workers  # before the tests replace it
NOISE = np.random.default_rng(5).integers(0, 255, (6, 20, 30)).astype(np.uint8)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _in_this_process() -> Iterator[None]:
    calls._memory.clear()
    yield
    calls.use(None)


def _itk(path: Path) -> Path:
    image = sitk.GetImageFromArray(NOISE)
    image.SetSpacing((0.5, 0.25, 2))
    sitk.WriteImage(image, str(path))
    return path


def _picture(path: Path, pixels: np.ndarray = NOISE[0]) -> Path:
    PillowImage.fromarray(pixels).save(path)
    return path


def _tiff(path: Path, axes: str) -> Path:
    tifffile.imwrite(path, NOISE, imagej=True, metadata={"axes": axes})
    return path


def _damaged(path: Path) -> Path:
    _picture(path)
    path.write_bytes(path.read_bytes()[:-80])
    return path


def _listed(path: Path) -> Path:
    _tiff(path, "CYX")
    path.with_name("channels.csv").write_text("id,channel\n*,3\n")
    return path


IMAGES: dict[str, Callable[[Path], Path]] = {
    "PNG": lambda folder: _picture(folder / "a.png"),
    "RGB": lambda folder: _picture(folder / "a.bmp", np.moveaxis(NOISE[:3], 0, -1).copy()),
    "JPEG": lambda folder: _picture(folder / "a.jpg"),
    "slices": lambda folder: _tiff(folder / "a.tif", "ZYX"),
    "channels": lambda folder: _tiff(folder / "a.tif", "CYX"),
    "a listed channel": lambda folder: _listed(folder / "a.tif"),
    "NRRD": lambda folder: _itk(folder / "a.nrrd"),
    "NIfTI": lambda folder: _itk(folder / "a.nii.gz"),
    "MetaImage": lambda folder: _itk(folder / "a.mha"),
    "pixels beside it": lambda folder: _itk(folder / "a.mhd"),
    "DICOM": lambda folder: write(us_loop(), folder / "a.dcm"),
    "damaged": lambda folder: _damaged(folder / "a.png"),
    "missing": lambda folder: folder / "a.png",
    "another type": lambda folder: _damaged(folder / "a.png").rename(folder / "a.nrrd"),
}


def outcome(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a function returns or raises, to be compared."""
    try:
        return _comparable(function(*arguments, **named))
    except Exception as error:
        return type(error), _ADDRESS.sub("", str(error)), vars(error)


def _comparable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype, value.tolist()
    if dataclasses.is_dataclass(value):
        return type(value), [
            _comparable(getattr(value, field.name)) for field in dataclasses.fields(value)
        ]
    return value


def same(pool: Pool, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Check that a function does the same with a pool and without, and return what it does."""
    here = outcome(function, *arguments, **named)
    calls.use(pool)
    there = outcome(function, *arguments, **named)
    calls.use(None)
    assert here == there
    return here


def test_a_path_from_the_folder_that_one_is_in(tmp_path, pool, monkeypatch) -> None:
    for name in ("one", "two"):  # the workers are older than both
        (tmp_path / name).mkdir()
        monkeypatch.chdir(_picture(tmp_path / name / f"{name}.png").parent)
        assert same(pool, read_image, Path(f"{name}.png"))[0] is Image


@pytest.mark.parametrize("kind", IMAGES)
def test_images(kind: str, tmp_path: Path, pool: Pool) -> None:
    file = IMAGES[kind](tmp_path)
    same(pool, read_image, file, spatial_dims=None)
    same(pool, read_image, str(file), 100)
    same(pool, read_image, file, spatial_dims=None, channel="2")
    for function in (image_size, image_geometry, check_readable):
        same(pool, function, file)


@pytest.mark.parametrize("name", ["a.png", "a.nrrd", "a.nii.gz", "a.tif"])
def test_labels(name: str, tmp_path: Path, pool: Pool) -> None:
    drawn = (NOISE[0] > 128).astype(np.uint8)
    write_mask(tmp_path / name, drawn, Geometry.flat(*drawn.shape), names=(("nuclei", 1),))
    same(pool, read_label, tmp_path / name, drawn.shape)
    same(pool, read_label, tmp_path / name, (7, 7))
    same(pool, label_names, tmp_path / name)
    same(pool, is_plain, tmp_path / name)


def test_a_label_of_one_slice(tmp_path: Path, pool: Pool) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(NOISE[:1] % 3), str(tmp_path / "a.nrrd"), True)
    same(pool, read_label, tmp_path / "a.nrrd", (1, 20, 30))
    same(pool, read_label, tmp_path / "a.nrrd", (6, 20, 30))


def test_header_and_pixels_are_joined(tmp_path: Path, pool: Pool) -> None:
    calls.use(pool)
    copy_whole(_itk(tmp_path / "a.mhd"), tmp_path / "b.nrrd")
    np.testing.assert_array_equal(read_image(tmp_path / "b.nrrd", spatial_dims=3).pixels, NOISE)


def test_series_and_segmentation(
    tmp_path: Path, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    files = [write(data, tmp_path / f"{n}.dcm") for n, data in enumerate(series(3))]
    same(pool, order_slices, files, "series")
    same(pool, read_series, files, "series")
    seg = save(
        make_seg(label(3), files, {"gland": 1, "cyst": 2}, Author("nuclei", "1")),
        tmp_path / "s.dcm",
    )
    same(pool, read_segments, seg)
    same(pool, read_seg, seg, files)
    with caplog.at_level(logging.WARNING):
        same(pool, read_seg, seg, files, {"gland": 1})
    told = [record.getMessage() for record in caplog.records if "left out" in record.message]
    assert len(told) == 2 and told[0] == told[1]  # what a worker logs is logged here


def test_mammograms(tmp_path: Path, pool: Pool) -> None:
    file = write_mg(tmp_path / "a.dcm")
    same(pool, read_mammogram, file)
    same(pool, identify, file, False)


def test_headers_are_read_once(tmp_path: Path, pool: Pool) -> None:
    asked: list[str] = []
    calls.use(_Counted(pool, asked))  # type: ignore[arg-type]
    file = IMAGES["PNG"](tmp_path)
    assert image_size(file) == image_size(file) == (30, 20)
    assert len(asked) == 1
    _picture(file, NOISE[0, :9])
    assert image_size(file) == (30, 9)
    assert len(asked) == 2


def test_many_headers_are_read_in_one_worker(tmp_path: Path, pool: Pool) -> None:
    asked: list[str] = []
    calls.use(_Counted(pool, asked))  # type: ignore[arg-type]
    files = [_picture(tmp_path / f"{n}.png") for n in range(9)]
    files.append(tmp_path / "missing.png")
    calls.read_ahead(image_size, [(file,) for file in files])
    assert [image_size(file) for file in files[:9]] == [(30, 20)] * 9
    assert len(asked) == 1
    with pytest.raises(ValueError, match="missing.png: no such file"):
        image_size(files[9])


class _Counted:
    """A pool that counts what it is asked."""

    def __init__(self, pool: Pool, asked: list[str]) -> None:
        self.pool, self.asked = pool, asked

    def call(self, function: str, *rest: Any) -> Any:
        self.asked.append(function)
        return self.pool.call(function, *rest)


def test_without_handles_of_processes_files_are_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(process: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("os.pidfd_open", refuse)
    _start()
    assert calls._pool is None
    assert "Files are read in the server itself on this system" in caplog.text
    assert read_image(IMAGES["PNG"](tmp_path)).shape == (20, 30)
