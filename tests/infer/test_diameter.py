"""The server's models and the diameter of objects: which offer it, and what a request may tell."""

from __future__ import annotations

import numpy as np
import pytest
from monailabel.interfaces.tasks.infer_v2 import InferTask
from PIL import Image

from infer.base import InferSettings, diameter_of
from infer.build import build_infer, build_untrained
from lib.errors import InputError
from lib.io.labels import read_label
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.registry import get_task
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS
from monailabel_app.server_batch import ResumableBatch
from monailabel_app.studies.datastore import StudiesDatastore

SETTINGS = InferSettings(device="cpu", precision="fp32")


@pytest.fixture
def model(tmp_path):
    """Return a function that builds the model of a task."""
    store = ModelStore(tmp_path / "models", SHIPPED_MODELS)
    return lambda name: build_infer(get_task(name), store, SETTINGS)


def test_only_models_that_resample_images_offer_it_as_a_fraction(model):
    for name in ("nuclei", "nuclei_lite"):
        offered = model(name).config()["diameter"]
        assert type(offered) is float and offered == 0, "3D Slicer sends the type that is offered"
    for name in ("nuclei_vhllrhe", "nuclei_click", "fetal_head", "density_birads", "busi_lite"):
        assert "diameter" not in model(name).config()


def test_models_that_take_none_refuse_what_is_told_and_pass_over_an_empty_one(model):
    others: list[InferTask] = list(build_untrained(["cell"], SETTINGS).values())
    others += [model(name) for name in ("nuclei_vhllrhe", "nuclei_click", "density_birads")]
    for other in others:
        for none in ({}, {"diameter": 0}, {"diameter": ""}, {"diameter": [0.0, 66]}):
            assert diameter_of(other, none) == 0
        with pytest.raises(InputError, match="diameter: 'the one' resamples no images for it"):
            diameter_of(other, {"model": "the one", "diameter": 66})


def test_a_request_tells_the_diameter_and_the_answer_repeats_it(model, tmp_path):
    pixels, truth = nuclei_phantom(3, rows=96, columns=112, nuclei=14)
    file = tmp_path / "large.png"
    Image.fromarray(pixels).resize((448, 384)).save(file)
    answers = {}
    for diameter in (0.0, 85, "20"):
        label, summary = model("nuclei")({"image": str(file), "diameter": diameter})
        answers[diameter] = np.asarray(read_label(label)), summary
    estimated, told, known = (summary for _, summary in answers.values())
    assert "diameter" not in estimated
    assert (told["diameter"], known["diameter"]) == (85, 20)
    assert told["magnification"] == pytest.approx(0.288, abs=0.003)
    assert "magnification" not in known
    assert told["objects"] == truth.max()
    assert not np.array_equal(answers[85][0], answers["20"][0])
    for wrong, words in (
        (449, "large.png: diameter 449 pixels is more than the image"),
        ("wide", "found 'wide'"),
    ):
        with pytest.raises(InputError, match=words):
            model("nuclei")({"image": str(file), "diameter": wrong})


def test_a_batch_of_the_server_answers_again_for_another_diameter(model, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    pixels, _ = nuclei_phantom(3, rows=96, columns=112, nuclei=14)
    Image.fromarray(pixels).save(studies / "a.png")
    store, nuclei = StudiesDatastore(str(studies)), model("nuclei")
    batch = ResumableBatch(lambda name: nuclei, tmp_path / "models")

    def waiting(**told):
        return batch.get_images({"model": "nuclei", "images": "all", **told}, store)

    assert waiting(diameter=66) == ["a"]
    file, summary = nuclei({"image": str(studies / "a.png"), "diameter": 66})
    store.save_label("a", file, "original", {"model": "nuclei", "params": summary})
    assert waiting(diameter=66) == waiting(diameter=["66"]) == []
    assert waiting(diameter=67) == waiting(diameter=0) == waiting() == ["a"]
    with pytest.raises(InputError, match="expected the typical diameter"):
        waiting(diameter="wide")
