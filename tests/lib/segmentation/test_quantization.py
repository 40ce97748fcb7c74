"""A network in int8 is kept only where its figures stay, and then answers for its weights alone."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from lib.data.studies import read_item
from lib.data.transforms import prepare_image
from lib.errors import InputError
from lib.segmentation import quantization
from lib.segmentation.predictor import Predictor
from lib.segmentation.quantization import LOSS, quantize
from lib.tasks.registry import TASKS, get_task
from lib.weights import calibrated
from lib.weights.calibrated import RECORD, calibrated_folder
from lib.weights.checkpoint import load_checkpoint

TASK = TASKS["nuclei_vhllrhe"]
with_nncf = pytest.mark.skipif(
    find_spec("nncf") is None or find_spec("openvino") is None,
    reason="openvino or nncf is not installed",
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _runner(checkpoint, models, precision="auto") -> Predictor:
    return Predictor.from_checkpoint(TASK, checkpoint, "cpu", precision, "openvino", models)


@with_nncf
def test_int8_is_kept_where_figures_stay_and_answers_for_its_weights(
    weights, items, tmp_path, monkeypatch
):
    checkpoint, models = load_checkpoint(weights), tmp_path / "models"
    monkeypatch.setattr(quantization, "LOSS", 0.3)  # it is measured on one image
    result = quantize(TASK, checkpoint, items, models)
    assert result.kept and {"mean_iou", "ap"} <= set(result.figures)
    assert result.calibrated >= 4 and result.measured >= 1
    folder = calibrated_folder(models, TASK, checkpoint)
    record = json.loads((folder / RECORD).read_text())
    assert record["figures"]["mean_iou"] == list(result.figures["mean_iou"])

    runner = _runner(checkpoint, models)
    assert runner.backend.name == "openvino int8"
    image = prepare_image(read_item(items[0], TASK), TASK.input)
    exact = Predictor.from_checkpoint(TASK, checkpoint, "cpu", "fp32").probabilities(image)
    difference = np.abs(runner.probabilities(image) - exact)
    assert 0 < difference.mean() < 0.05
    # only for these weights, this precision, and as long as the files are those measured
    assert _runner(checkpoint, models, "fp32").backend.name == "openvino f32"
    other = {name: 1.01 * value for name, value in checkpoint.weights.items()}
    assert _runner(replace(checkpoint, weights=other), models).backend.name != "openvino int8"
    said: list[str] = []
    monkeypatch.setattr(calibrated.logger, "warning", said.append)
    with (folder / "model.bin").open("ab") as file:
        file.write(b"more")
    assert _runner(checkpoint, models).backend.name != "openvino int8"
    assert "not those that were measured" in said[0]


@with_nncf
def test_int8_that_answers_worse_is_not_kept(weights, items, tmp_path, monkeypatch):
    checkpoint, models = load_checkpoint(weights), tmp_path / "models"
    compiled = quantization.compiled

    def worse(model, dtype):
        forward = compiled(model, dtype)
        return forward if dtype == torch.float32 else lambda window: (forward(window)[0] - 9, None)

    monkeypatch.setattr(quantization, "compiled", worse)
    result = quantize(TASK, checkpoint, items, models)
    before, after = result.figures["mean_iou"]
    assert not result.kept and after < before - LOSS
    assert not models.exists()


@with_nncf
def test_other_kinds_of_networks_are_refused(weights, items, tmp_path):
    for name in ("nuclei_click", "density_birads"):
        with pytest.raises(InputError, match="choose a task of segmentation without clicks"):
            quantize(get_task(name), load_checkpoint(weights), items, tmp_path)


def test_what_is_missing_is_named(weights, items, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "is_installed", lambda: False)
    with pytest.raises(InputError, match="pip install -r requirements-openvino.txt"):
        quantize(TASK, load_checkpoint(weights), items, tmp_path)
