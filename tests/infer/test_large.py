"""Images that are larger than memory, by the server's tasks and `batch-infer`: read by rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from infer.base import InferSettings
from infer.build import build_infer
from infer.result_files import ResultFiles
from lib.errors import InputError
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation import windows
from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from monailabel_app.batch import Batch, answer_share
from monailabel_app.studies import datastore, label_files

TASK = "nuclei_vhllrhe"
MOST = 1000  # pixels of an image that is read whole


@pytest.fixture
def folder(tmp_path, weights, monkeypatch):
    """A studies folder with an image that counts as large, and models beside it."""
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 64 * 64)
    monkeypatch.setitem(windows.TILE, 2, 64)
    studies = tmp_path / "studies"
    for place in (studies, tmp_path / "models"):
        place.mkdir()
    shutil.copyfile(weights, tmp_path / "models" / f"{TASK}.pt")
    pixels = nuclei_phantom(0, rows=200, columns=170, nuclei=40)[0]
    tifffile.imwrite(studies / "slide.tif", pixels, tile=(32, 32), compression="zlib")
    return studies


@pytest.fixture
def ask(folder, tmp_path):
    """Return a function that asks the server's task, which reads `most` pixels whole."""
    kept = ResultFiles()

    def run(most=MOST, sizes=(), **request):
        row = TASKS[TASK]
        task = replace(row, input=replace(row.input, max_pixels=most, object_sizes=sizes))
        settings = InferSettings(device="cpu", precision="fp32", result_files=lambda: kept)
        answering = build_infer(task, ModelStore(tmp_path / "models", tmp_path / "none"), settings)
        file, summary = answering({"image": str(folder / "slide.tif"), **request})
        return tifffile.imread(file), summary

    run.kept = kept
    return run


@pytest.mark.parametrize("result", ["mask", "instances"])
def test_the_answer_is_that_of_the_whole_image(ask, result):
    large, told = ask(result=result, exports=["geojson"])
    whole, expected = ask(10**6, result=result, result_extension=".tif")
    np.testing.assert_array_equal(large > 0, whole > 0)
    assert large.max() == whole.max()
    for name in ("result", "counts", "objects", "model_version", "backend"):
        assert told[name] == expected[name], name
    assert told["foreground"] == pytest.approx(expected["foreground"], abs=0.01)
    _, _, key, file = told["exports"]["geojson"].split("/")
    features = json.loads(ask.kept.find(key, file).read_bytes())["features"]
    assert len(features) == told["objects"] > 5


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"exports": ["table"]}, "exports: table is not for images of this size"),
        ({"result_extension": ".nrrd"}, "written as TIFF only.*leave result_extension away"),
        ({"channel": "red"}, "no channel 'red', it has one channel"),
    ],
)
def test_what_is_not_written_at_that_size_is_refused(ask, request_, told):
    with pytest.raises(InputError, match=told):
        ask(**request_)


def test_an_image_of_that_size_is_not_resampled_for_a_diameter_that_is_told(ask):
    sizes = (10.0, 60.0)
    with pytest.raises(InputError, match="slide.tif: diameter 66 is not for images of this size"):
        ask(sizes=sizes, diameter=66)
    assert "diameter" not in ask(sizes=sizes, diameter=0.0)[1]
    _, told = ask(10**6, sizes=sizes, diameter=["66"], result_extension=".tif")
    assert told["diameter"] == 66 and 0.3 < told["magnification"] < 0.4
    with pytest.raises(InputError, match="diameter.*resamples no images for it"):
        ask(10**6, diameter=66)


def _batch(folder, **options):
    fixed = {"models": folder.parent / "models", "device": "cpu", "precision": "fp32"}
    return answer_share(Batch(task=TASK, folder=folder, **fixed, **options))


@pytest.fixture
def small(monkeypatch):
    """What counts as large is small, for tasks and for labels."""
    row = TASKS[TASK]
    monkeypatch.setitem(TASKS, TASK, replace(row, input=replace(row.input, max_pixels=MOST)))
    for module in (label_files, datastore):
        monkeypatch.setattr(module, "MAX_PIXELS", MOST)


def test_a_batch_stores_the_answer_as_a_label_and_resumes(folder, small, tmp_path):
    outlines = tmp_path / "outlines"
    answers = _batch(folder, exports={"geojson": outlines})
    assert not answers.failed and [row["image"] for row in answers.written] == ["slide"]
    label = folder / "labels" / "original" / "slide.tif"
    with tifffile.TiffFile(label) as stored:
        assert stored.is_ome and stored.pages[0].is_tiled
        assert set(np.unique(stored.asarray())) == {0, 1}
    features = json.loads((outlines / "slide_geojson.geojson").read_text())["features"]
    assert len(features) > 5
    again = _batch(folder)
    assert again.skipped == 1 and not again.written
    refused = _batch(folder, exports={"table": tmp_path / "t.csv"})
    assert "table is not for images of this size" in refused.failed["slide"]


def test_an_accepted_label_of_that_size_is_refused_and_a_wrong_one_too(folder, small, tmp_path):
    store = datastore.StudiesDatastore(str(folder))
    label = tmp_path / "label.tif"
    tifffile.imwrite(label, np.ones((200, 170), np.uint8), tile=(32, 32))
    with pytest.raises(InputError, match="more than 1000 pixels are too many to train on"):
        store.save_label("slide", str(label), "final", {})
    assert store.save_label("slide", str(label), "other", {}) == "slide"
    tifffile.imwrite(label, np.ones((200, 170), np.float32), tile=(32, 32))
    with pytest.raises(InputError, match="holds no whole numbers"):
        store.save_label("slide", str(label), "other", {})
    tifffile.imwrite(label, np.ones((100, 170), np.uint8), tile=(32, 32))
    with pytest.raises(InputError, match="label of 170 x 100 pixels for an image of 170 x 200"):
        store.save_label("slide", str(label), "other", {})
