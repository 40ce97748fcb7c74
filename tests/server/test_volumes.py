"""Volumes and loops through the app: answers, uploads and their labels. No server is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal
from unittest.mock import Mock

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from server_support import write_dicom
from volume_samples import same_grid

from infer.base import InferSettings
from infer.segmentation import SegmentationInfer
from lib.errors import InputError
from lib.image import Image
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.segmentation.predictor import Prediction
from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from monailabel_app.studies.datastore import StudiesDatastore

SHAPE = (9, 20, 30)
VOXELS = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)


def _volume(path: Path, voxels: np.ndarray = VOXELS) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, voxels, photometric="minisblack")
        return path
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.5, 0.25, 2.0))
    image.SetOrigin((7.0, -3.0, 11.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentationInfer:
    """A task for volumes whose network calls bright voxels foreground and numbers them by slice."""
    return _task(tmp_path, monkeypatch, spatial_dims=3)


@pytest.fixture
def infer_2d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentationInfer:
    """The same of a task for images, which answers volumes slice by slice."""
    return _task(tmp_path, monkeypatch, spatial_dims=2)


def _task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spatial_dims: Literal[2, 3]
) -> SegmentationInfer:
    row = TASKS["nuclei_vhllrhe"]
    row = replace(row, name="volumes", network=replace(row.network, spatial_dims=spatial_dims))
    store = ModelStore(tmp_path / "models", tmp_path / "shipped")
    task = SegmentationInfer(row, store, InferSettings())

    def predict(image: Image, instances: bool, flips: bool, diameter: float) -> Prediction:
        mask = (image.pixels > 100).astype(np.uint8)
        numbers = (mask.T * np.arange(1, len(mask) + 1, dtype=np.int32)).T
        seconds = dict.fromkeys(("pre", "infer", "post"), 0.0)
        probabilities = mask[np.newaxis].astype(np.float32)
        return Prediction(
            probabilities=probabilities, mask=mask, instances=numbers, seconds=seconds
        )

    stub = Mock(side_effect=predict, backend=SimpleNamespace(name="torch"))
    monkeypatch.setattr(task.predictors, "get", lambda device: (stub, "v1"))
    return task


@pytest.mark.parametrize("kind", [".nrrd", ".nii", ".nii.gz", ".mha", ".mhd", ".tif"])
@pytest.mark.parametrize("wanted", [None, ".nrrd", ".nii.gz"])
def test_the_answer_lies_over_the_volume_and_is_of_its_type(infer, tmp_path, kind, wanted):
    path = _volume(tmp_path / f"a{kind}")
    request = {"image": str(path), "result": "instances", "result_extension": wanted}
    file, summary = infer(request)
    try:
        label = read_image(file, spatial_dims=3)
        assert file.endswith(wanted or kind)
        np.testing.assert_array_equal(label.pixels > 0, VOXELS > 100)
        assert summary["objects"] == len(VOXELS)
        if kind != ".tif":  # which has no geometry
            assert same_grid(label.geometry, read_image(path, spatial_dims=3).geometry)
    finally:
        Path(file).unlink()


def test_a_2d_image_is_refused_by_a_task_for_volumes(infer, tmp_path):
    path = _volume(tmp_path / "flat.nrrd", VOXELS[:1])
    with pytest.raises(InputError, match=r"flat\.nrrd: one slice of 30 x 20 x 1, expected a volu"):
        infer({"image": str(path)})


def test_a_png_is_refused_as_answer_before_the_volume_is_read(infer, tmp_path):
    with pytest.raises(InputError, match=r"result_extension '\.png' cannot hold a label volume"):
        infer({"image": str(tmp_path / "absent.nrrd"), "result_extension": ".png"})


# --- loops, and volumes for a task in 2D ----------------------------------------------------------


def _loop(path: Path) -> Path:
    return write_dicom(path, VOXELS, PixelSpacing=["0.25", "0.5"], FrameTime="40")


@pytest.mark.parametrize("wanted", [None, ".nrrd", ".nii.gz", ".mha", ".tif"])
@pytest.mark.parametrize("name", ["loop.dcm", "volume.nrrd", "pages.tif"])
def test_a_task_in_2d_answers_loops_and_volumes_on_their_grid(infer_2d, tmp_path, name, wanted):
    path = tmp_path / name
    _loop(path) if name == "loop.dcm" else _volume(path)
    request = {"image": str(path), "result": "instances", "result_extension": wanted}
    file, _ = infer_2d(request)
    try:
        own = ".nrrd" if name == "loop.dcm" else path.suffix
        assert file.endswith(wanted or own)
        label = sitk.ReadImage(file)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(label) > 0, VOXELS > 100)
        if not file.endswith(".tif"):
            image = read_image(path, spatial_dims=None)
            assert label.GetSpacing() == pytest.approx(image.geometry.spacing)
            assert label.GetOrigin() == pytest.approx(image.geometry.origin)
            assert label.GetDirection() == pytest.approx(image.geometry.direction)
    finally:
        Path(file).unlink()


def test_a_png_of_a_loop_is_refused_and_of_its_frame_is_not(infer_2d, tmp_path):
    with pytest.raises(InputError, match=r"result_extension '\.png' cannot hold a label volume"):
        infer_2d({"image": str(_loop(tmp_path / "loop.dcm")), "result_extension": ".png"})
    still = write_dicom(tmp_path / "still.dcm", VOXELS[0])
    request = {"image": str(still), "result": "instances", "result_extension": ".png"}
    file, _ = infer_2d(request)
    np.testing.assert_array_equal(read_image(file).pixels > 0, VOXELS[0] > 100)
    Path(file).unlink()


# --- uploads and labels --------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> StudiesDatastore:
    (tmp_path / "studies").mkdir()
    store = StudiesDatastore(str(tmp_path / "studies"))
    store.add_image("scan", str(_volume(tmp_path / "scan.nrrd")), {})
    return store


@pytest.mark.parametrize("kind", [".nrrd", ".nii", ".nii.gz", ".mha", ".tif"])
def test_a_label_of_a_volume_is_saved_whole(store, tmp_path, kind):
    label = (VOXELS > 100).astype(np.uint8)
    store.save_label("scan", str(_volume(tmp_path / f"label{kind}", label)), "final", {})
    np.testing.assert_array_equal(read_label(store.get_label_uri("scan", "final"), SHAPE), label)


@pytest.mark.parametrize(
    ("label", "cause"),
    [
        (np.full(SHAPE, 0.5, np.float32), "whole numbers"),
        (np.full(SHAPE, -3, np.int16), "found -3"),
        (np.full(SHAPE, np.nan, np.float32), "NaN"),
        (np.ones((10, 20, 30), np.uint8), "600 of 6000 labelled pixels lie outside"),
        (np.ones((9, 21, 30), np.uint8), "270 of 5670 labelled pixels lie outside"),
    ],
    ids=["fractions", "negative", "not a number", "more slices", "more rows"],
)
def test_a_bad_label_of_a_volume_is_refused(store, tmp_path, label, cause):
    path = _volume(tmp_path / "label.nrrd", label)
    with pytest.raises(InputError, match=rf"label for 'scan\.nrrd' refused: .*{cause}"):
        store.save_label("scan", str(path), "final", {})
    assert not store.get_label_uri("scan", "final")


def test_a_truncated_label_of_a_volume_is_refused(store, tmp_path):
    path = _volume(tmp_path / "label.nii", VOXELS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="label for 'scan.nrrd' refused: truncated"):
        store.save_label("scan", str(path), "final", {})


def test_a_damaged_volume_is_not_taken(store, tmp_path):
    path = _volume(tmp_path / "cut.nii")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"^cut\.nii: truncated"):
        store.add_image("cut", str(path), {})


def test_an_mhd_is_taken_as_an_upload_only_with_its_pixels_inside(store, tmp_path):
    path = _volume(tmp_path / "split.mhd")
    (tmp_path / "split.raw").unlink()
    with pytest.raises(InputError, match="its pixel file 'split.raw' is not beside it; .* upload"):
        store.add_image("split", str(path), {})
    whole = _volume(tmp_path / "whole.mha").rename(tmp_path / "whole.mhd")
    assert store.add_image("whole", str(whole), {}) == "whole"


@pytest.mark.parametrize("name", ["loop.dcm", "pages.tif"])
def test_a_loop_is_taken_and_so_is_its_label_as_slicer_saves_it(store, tmp_path, name):
    path = tmp_path / name
    _loop(path) if name == "loop.dcm" else _volume(path)
    store.add_image("loop", str(path), {})
    label = (VOXELS > 100).astype(np.int16)
    image = sitk.GetImageFromArray(label)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # Slicer's axes, and its own spacing
    sitk.WriteImage(image, str(tmp_path / "label.nrrd"), useCompression=True)
    store.save_label("loop", str(tmp_path / "label.nrrd"), "final", {})
    np.testing.assert_array_equal(read_label(store.get_label_uri("loop", "final"), SHAPE), label)
    with pytest.raises(InputError, match="30 x 20 x 8 pixels .* image has 30 x 20 x 9"):
        store.save_label("loop", str(_volume(tmp_path / "few.nrrd", VOXELS[1:])), "final", {})


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "zraw"])
@pytest.mark.parametrize("kind", ["image", "label"])
def test_removing_an_mhd_removes_its_pixel_file_too(store, tmp_path, kind, packed):
    folder = tmp_path / "studies" / ("" if kind == "image" else "labels/final")
    folder.mkdir(parents=True, exist_ok=True)
    name = "split" if kind == "image" else "scan"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(folder / f"{name}.mhd"), packed)
    (folder / "other.raw").write_bytes(b"another's")
    store.refresh()
    if kind == "image":
        store.remove_image(name)
    else:
        store.remove_label(name, "final")
    left = {file.name for file in folder.iterdir() if file.is_file()}
    assert not {f"{name}.mhd", f"{name}.raw", f"{name}.zraw"} & left
    assert "other.raw" in left


@pytest.mark.parametrize("pixels", ["scan.nrrd", "../split.raw", "notes.txt", "shared.raw"])
def test_removing_an_mhd_removes_nothing_that_is_not_its_own(store, tmp_path, pixels):
    """The header is a file from outside: it may name anything."""
    studies = tmp_path / "studies"
    for header in ("split", "second"):
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(studies / f"{header}.mhd"))
    (studies / "split.raw").rename(studies / "shared.raw")
    (studies / "notes.txt").write_text("notes")
    (tmp_path / "split.raw").write_bytes(b"elsewhere")
    for header, named in (("split", pixels), ("second", "shared.raw")):
        text = (studies / f"{header}.mhd").read_text()
        (studies / f"{header}.mhd").write_text(text.replace(f"{header}.raw", named))
    store.refresh()
    store.remove_image("split")
    assert not (studies / "split.mhd").exists()
    assert (studies / pixels).exists()
