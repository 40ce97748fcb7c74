"""Damaged, foreign and absurd files: refused with the cause, wherever they come from."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from server_support import (
    MODEL,
    QUICK,
    Server,
    assert_refused,
    discs,
    write_dicom,
    write_png,
)

LABELLED = "fluorescence_000"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(columns: int, rows: int) -> bytes:
    """Return a valid header that promises many pixels, and next to none of them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def nrrd_of_size(*size: int) -> bytes:
    sizes = " ".join(map(str, size))
    text = f"NRRD0004\ntype: uchar\ndimension: {len(size)}\nsizes: {sizes}\nencoding: raw\n\n"
    return text.encode() + b"\0" * 100


def saved(write: Callable[[Path], object], extension: str) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        file = folder / f"made{extension}"
        write(file)
        return file.read_bytes()

    return content


def cut(write: Callable[[Path], object], extension: str) -> Callable[[Path], bytes]:
    return lambda folder: (whole := saved(write, extension)(folder))[: len(whole) * 2 // 3]


def noise(file: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    if file.suffix in (".png", ".tif", ".jpg", ".bmp"):
        Image.fromarray(pixels).save(file)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(file))


def not_finite(file: Path) -> None:
    pixels = np.full((32, 32), np.nan, dtype=np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(file))


def series(file: Path) -> None:
    volumes = sitk.GetImageFromArray(np.zeros((3, 5, 32, 32), np.uint8), isVector=False)
    sitk.WriteImage(volumes, str(file))


def tiny(file: Path) -> None:
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(file)


def unlike_pages(file: Path) -> None:
    with tifffile.TiffWriter(file) as tiff:
        for rows in (32, 32, 40):
            tiff.write(np.zeros((rows, 32), np.uint8), photometric="minisblack")


def lone_header(file: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((32, 32), np.uint8)), str(file))
    file.with_suffix(".raw").unlink()


def loop(file: Path) -> None:
    write_dicom(file, np.zeros((4, 32, 32), np.uint8))


# name of the file: its content, and a word of the cause
BAD_IMAGES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "zero.png": (lambda _: b"", "0 bytes"),
    "zero.dcm": (lambda _: b"", "0 bytes"),
    "zero.nii.gz": (lambda _: b"", "0 bytes"),
    "cut_png.png": (cut(noise, ".png"), "damaged"),
    "cut_jpeg.jpg": (cut(noise, ".jpg"), "damaged"),
    "cut_tiff.tif": (cut(noise, ".tif"), "damaged"),
    "cut_bmp.bmp": (cut(noise, ".bmp"), "damaged"),
    "cut_nrrd.nrrd": (cut(noise, ".nrrd"), "truncated"),
    "cut_nifti.nii": (cut(noise, ".nii"), "truncated"),
    "cut_zipped.nii.gz": (cut(noise, ".nii.gz"), "damaged"),
    "text.png": (lambda _: b"these are not the pixels you are looking for", "damaged"),
    "text.dcm": (lambda _: b"these are not the pixels you are looking for", "DICOM"),
    "text.nrrd": (lambda _: b"these are not the pixels you are looking for", "damaged"),
    "text.nii.gz": (lambda _: b"these are not the pixels you are looking for", "damaged"),
    "page.jpg": (lambda _: b"<html><body>404</body></html>", "damaged"),
    "nan.nrrd": (saved(not_finite, ".nrrd"), "NaN"),
    "nan.nii.gz": (saved(not_finite, ".nii.gz"), "NaN"),
    "tiny.png": (saved(tiny, ".png"), "at least 8"),
    "series.nrrd": (saved(series, ".nrrd"), "a series of 32 x 32 x 5 x 3"),
    "unlike_pages.tif": (saved(unlike_pages, ".tif"), "page 3 holds"),
    "lone_header.mhd": (saved(lone_header, ".mhd"), "is not beside it"),
    "cut_loop.dcm": (cut(loop, ".dcm"), "export it again"),
    "huge.png": (lambda _: png_of_size(200_000, 200_000), "too many"),
    "just_too_large.png": (lambda _: png_of_size(8193, 8192), "too many"),
    "huge.nrrd": (lambda _: nrrd_of_size(300_000, 300_000), "too many"),
    "huge_volume.nrrd": (lambda _: nrrd_of_size(60_000, 60_000, 60_000), "too many"),
    "no_size.nrrd": (lambda _: nrrd_of_size(0, 0), ""),
}


@pytest.fixture(scope="module")
def bad_images(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, bytes]]:
    """All bad images, in the studies folder and as bytes."""
    scratch = tmp_path_factory.mktemp("bad")
    contents = {name: make(scratch) for name, (make, _) in BAD_IMAGES.items()}
    for name, content in contents.items():
        (server.studies / name).write_bytes(content)
    server.wait_for(lambda: len(server.images()) >= 8 + len(contents), "the bad images")
    yield contents
    for name in contents:
        (server.studies / name).unlink()
    server.wait_for(lambda: len(server.images()) == 8, "the removal of the bad images")


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_in_the_studies_folder_is_named_with_its_fault(
    calm: Server, bad_images: dict[str, bytes], name: str
) -> None:
    ids = [id for id, item in calm.images().items() if item["image"]["info"]["name"] == name]
    response = calm.infer(ids[0])
    assert_refused(response, 400, name, BAD_IMAGES[name][1])


# images, though not such as a model here can work on: the store takes them
STORED = ("tiny.png", "series.nrrd")


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_not_accepted_as_an_upload(
    calm: Server, bad_images: dict[str, bytes], name: str
) -> None:
    before = calm.images()
    files = {"file": (name, bad_images[name])}
    response = calm.put("/datastore/image", params={"image": "upload"}, files=files)
    calm.delete("/datastore/image", params={"id": "upload"})
    if name not in STORED:
        assert_refused(response, 400, BAD_IMAGES[name][1])
    assert calm.images() == before
    for request in (
        calm.post(f"/infer/{MODEL}", files=files),
        calm.post(f"/infer/{MODEL}", files=files, params={"output": "json"}),
    ):
        assert_refused(request, 400, BAD_IMAGES[name][1])


def test_other_kinds_of_files_are_not_accepted_as_images(calm: Server) -> None:
    for name in ("notes.txt", "script.py", "noname", "archive.zip", "vector.svg"):
        response = calm.put("/datastore/image", files={"file": (name, b"content")})
        assert_refused(response, 400, "type")


def test_an_upload_never_takes_the_place_of_an_image(calm: Server, tmp_path: Path) -> None:
    before = (calm.studies / f"{LABELLED}.png").read_bytes()
    response = calm.add_image(write_png(tmp_path / f"{LABELLED}.png", discs(64, 64)))
    assert_refused(response, 400, LABELLED, "exists")
    assert (calm.studies / f"{LABELLED}.png").read_bytes() == before


# --- labels --------------------------------------------------------------------------------------


def array(pixels: np.ndarray) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        if file.suffix in (".png", ".tif", ".jpg"):
            Image.fromarray(pixels).save(file)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(pixels), str(file))

    return write


SQUARE = (256, 256)
COLOURS = np.zeros((*SQUARE, 3), np.uint8)
COLOURS[..., 1] = 200
BAD_LABELS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "smaller.png": (saved(array(np.zeros((100, 100), np.uint8)), ".png"), "100 x 100"),
    "turned.png": (saved(array(np.zeros((256, 255), np.uint8)), ".png"), "255 x 256"),
    "one.png": (saved(tiny, ".png"), "1 x 1"),
    "volume.nrrd": (saved(array(np.zeros((3, *SQUARE), np.uint8)), ".nrrd"), "256 x 256 x 3"),
    "colours.png": (saved(array(COLOURS), ".png"), "colours"),
    "halves.nrrd": (saved(array(np.full(SQUARE, 0.5, np.float32)), ".nrrd"), "whole numbers"),
    "nan.nrrd": (saved(array(np.full(SQUARE, np.nan, np.float32)), ".nrrd"), "NaN"),
    "negative.nrrd": (saved(array(np.full(SQUARE, -3, np.int16)), ".nrrd"), "-3"),
    "lossy.jpg": (saved(array(np.zeros(SQUARE, np.uint8)), ".jpg"), "JPEG"),
    "zero.png": (lambda _: b"", "0 bytes"),
    "text.png": (lambda _: b"garbage", "damaged"),
    "text.nrrd": (lambda _: b"garbage", "damaged"),
    "notes.txt": (lambda _: b"garbage", ""),
    "noname": (lambda _: b"garbage", ""),
    "huge.png": (lambda _: png_of_size(200_000, 200_000), "200000 x 200000"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_bad_label_is_refused_and_the_old_one_stays(
    calm: Server, tmp_path: Path, name: str
) -> None:
    make, cause = BAD_LABELS[name]
    before = {f: f.read_bytes() for f in (calm.studies / "labels").rglob("*") if f.is_file()}
    response = calm.put(
        "/datastore/label", params={"image": LABELLED}, files={"label": (name, make(tmp_path))}
    )
    assert_refused(response, 400, LABELLED, cause)
    after = {f: f.read_bytes() for f in (calm.studies / "labels").rglob("*") if f.is_file()}
    assert after == before


@pytest.mark.parametrize("run_sync", [True, False])
def test_training_on_a_damaged_label_names_the_file(calm: Server, run_sync: bool) -> None:
    image = "fluorescence_007"
    label = calm.studies / "labels" / "final" / f"{image}.png"
    label.write_bytes(b"garbage")
    try:
        calm.wait_for(lambda: "final" in calm.images()[image]["labels"], "the damaged label")
        response = calm.post(f"/train/{MODEL}", params={"run_sync": run_sync}, json=QUICK)
        if run_sync:
            assert_refused(response, 400, label.name, "damaged")
        else:
            task = calm.wait_for_training("ERROR", "DONE")
            assert task["status"] == "ERROR"
            assert any(label.name in line and "damaged" in line for line in task["details"])
        assert not calm.train_stats().get("active")
    finally:
        label.unlink()
        calm.wait_for(lambda: "final" not in calm.images()[image]["labels"], "the removal")


def test_a_training_that_diverges_says_so_and_is_over(calm: Server) -> None:
    live = calm.live_file.read_bytes()
    wild = {**QUICK, "learning_rate": 1000.0, "max_epochs": 4, "pretrained": False}
    response = calm.post(f"/train/{MODEL}", params={"run_sync": True}, json=wild)
    if response.ok:  # the first validation came before the first infinite loss
        assert not response.json()["published"]
    else:
        assert_refused(response, 400, "finite", "learning rate")
    assert not calm.train_stats().get("active")
    assert calm.live_file.read_bytes() == live
