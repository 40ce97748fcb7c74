"""Weights know the images they were trained on: answers warn of others, however they are made."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nuclei_samples import write_nuclei
from training_samples import fit_options, with_recipe

from lib.data.studies import list_items, split_items
from lib.image import Geometry, Image
from lib.interactive.clicks import Clicks
from lib.interactive.predictor import ClickPredictor
from lib.networks import build_network
from lib.phantoms.nuclei import nuclei_phantom
from lib.phantoms.ultrasound.studies import fetal_frame
from lib.segmentation import windows
from lib.segmentation.large import LargeAnswer
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.training.batches import PreparedCases
from lib.training.familiarity import MOST, evenly, measure_familiarity, with_familiarity
from lib.training.loop import fit
from lib.weights import openvino_models
from lib.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, state_on_cpu
from lib.weights.familiarity import KEY, warnings_of
from lib.weights.store import ModelStore
from lib.weights.versions import COUNTED

SIDE, SMALL = 64, {"channels": (4, 8, 12), "convolutions": (1, 1, 2)}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Forty labelled phantoms of nuclei."""
    folder = write_nuclei(tmp_path_factory.mktemp("data") / "many", 40, SIDE)
    return list_items(folder, labelled=True)


@pytest.fixture(scope="module")
def trained(task, many, tmp_path_factory):
    """A checkpoint that was trained briefly on them."""
    out = tmp_path_factory.mktemp("trained")
    return fit(with_recipe(task, steps=30, val_interval=30), many, fit_options(out)).weights


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("made.png"))


def _further(count: int = 20) -> list[Image]:
    seeds = range(1000, 1000 + count)
    return [_image(nuclei_phantom(s, rows=SIDE, columns=SIDE, nuclei=6)[0]) for s in seeds]


def _absurd() -> dict[str, Image]:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8)
    return {
        "blank": _image(np.full((SIDE, SIDE), 128, np.uint8)),
        "noise": _image(noise),
        "ramp": _image(ramp),
        "ultrasound": _image(fetal_frame(0).image),
    }


def test_a_training_leaves_weights_that_warn_of_absurd_images_and_of_few_others(trained, task):
    checkpoint = load_checkpoint(trained)
    assert checkpoint.provenance[COUNTED] == checkpoint.provenance["training_cases"] > 20
    predictor = Predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    strange = [predictor(image).strangeness for image in _further()]
    assert sum(value > 1 for value in strange) <= 1, strange
    for name, image in _absurd().items():
        assert warnings_of(predictor(image).strangeness), name


def test_weights_from_before_there_were_warnings_give_none(trained, task):
    checkpoint = with_familiarity(load_checkpoint(trained), None)
    assert KEY not in checkpoint.answer and COUNTED not in checkpoint.provenance
    predictor = Predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    for name, image in _absurd().items():
        assert predictor(image).strangeness == (math.inf if name == "blank" else None)


def test_of_other_weights_nothing_is_told(trained, task):
    """What is kept has the features of another network: no warning, and no fault."""
    known = load_checkpoint(trained)
    wider = replace(task, network=replace(task.network, channels=(6, 12, 28)))
    other = Checkpoint(
        task=task.name,
        spec=wider.as_dict(),
        weights=state_on_cpu(build_network(wider.network)),
        answer=known.answer,
    )
    predictor = Predictor.from_checkpoint(wider, other, "cpu", "fp32")
    assert predictor(_further(1)[0]).strangeness is None


def test_the_shipped_copy_and_the_versions_tell_it(trained, task, tmp_path):
    store = ModelStore(tmp_path / "models", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    save_checkpoint(store.shipped_path(task.name), load_checkpoint(trained))
    (version,) = store.versions(task.name)
    assert version.training[COUNTED] == version.training["training_cases"] > 20


def _measured(name: str, many, cls=Predictor):
    """Return a predictor with random weights that knows the phantoms, and its checkpoint."""
    row = get_task(name)
    row = replace(row, network=replace(row.network, **SMALL))
    weights = state_on_cpu(build_network(row.network))
    checkpoint = Checkpoint(task=name, spec=row.as_dict(), weights=weights)
    predictor = cls.from_checkpoint(row, checkpoint, "cpu", "fp32")
    parts = (PreparedCases(part, row) for part in split_items(many, 0.3))
    found = measure_familiarity(predictor, *parts)
    assert found is not None
    predictor.familiarity = found
    return predictor, with_familiarity(checkpoint, found)


@pytest.mark.skipif(not openvino_models.is_installed(), reason="openvino is not installed")
def test_openvino_tells_what_torch_does(many, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    predictor, checkpoint = _measured("nuclei", many)
    row = predictor.task
    other = Predictor.from_checkpoint(row, checkpoint, "cpu", "fp32", "openvino")
    assert other.backend.name == "openvino f32"
    for image in (*_further(3), *_absurd().values()):
        expected = predictor(image).strangeness
        assert other(image).strangeness == pytest.approx(expected, rel=0.02), expected


def test_clicks_do_not_change_how_strange_an_image_is(many):
    predictor, _ = _measured("nuclei_click", many, ClickPredictor)
    assert isinstance(predictor, ClickPredictor)
    for image in (_further(1)[0], _absurd()["noise"]):
        shown = predictor.look_at(image)
        first = shown(Clicks()).strangeness
        assert first == pytest.approx(predictor(image).strangeness, rel=1e-4)
        assert shown(Clicks().with_one(np.array([20, 20]), True)).strangeness == first
    assert first > 1


class _Rows:
    """An image in memory that is read by rows."""

    colour = False

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape = pixels, pixels.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]


def test_an_image_that_is_answered_by_rows_is_as_strange_as_in_tiles(many, monkeypatch):
    predictor, _ = _measured("nuclei", many)
    plain = replace(predictor.task.input, object_sizes=())  # by rows nothing is resampled
    monkeypatch.setattr(predictor, "task", replace(predictor.task, input=plain))
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, SIDE * SIDE)
    monkeypatch.setitem(windows.TILE, 2, SIDE)
    pixels = nuclei_phantom(3, rows=150, columns=130, nuclei=30)[0]
    answer = LargeAnswer(predictor, _Rows(pixels))
    assert answer.strangeness is None
    assert sum(len(band) for band in answer.bands()) == 150
    assert answer.strangeness == pytest.approx(predictor(_image(pixels)).strangeness, rel=0.01)


def test_other_threads_do_not_add_to_what_one_notes(many):
    from concurrent.futures import ThreadPoolExecutor

    predictor, _ = _measured("nuclei", many)
    images = [*_further(6), *_absurd().values()]
    alone = [predictor(image).strangeness for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = [answer.strangeness for answer in pool.map(predictor, images)]
    assert together == pytest.approx(alone, rel=1e-5)


def test_of_many_images_evenly_chosen_ones_are_measured():
    assert evenly(3) == [0, 1, 2] and evenly(0) == []
    chosen = evenly(10 * MOST)
    assert len(chosen) == MOST and chosen[1] - chosen[0] == 10 and max(chosen) < 10 * MOST
