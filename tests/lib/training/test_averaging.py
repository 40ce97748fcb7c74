"""The moving average of the weights is what is validated and kept."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from training_samples import assert_same_weights, fit_options, with_recipe

from lib.kinds import score_cases
from lib.networks import build_network
from lib.segmentation.losses import bce_dice
from lib.segmentation.predictor import Predictor
from lib.training.batches import PreparedCases, StepBatches
from lib.training.loop import fit
from lib.training.step import TrainingStep
from lib.weights.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def averaged(task, items, tmp_path_factory):
    """An uninterrupted run with averaged weights."""
    out = tmp_path_factory.mktemp("averaged")
    return fit(with_recipe(task, averaging=0.8), items, fit_options(out))


def test_the_averaged_weights_are_what_is_validated_and_kept(task, items, tmp_path):
    result = fit(with_recipe(task, averaging=0.8, steps=4), items, fit_options(tmp_path))
    checkpoint = load_checkpoint(result.weights)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    for name, value in checkpoint.weights.items():
        torch.testing.assert_close(state["averaged"][f"module.{name}"], value, rtol=0, atol=0)
    assert not torch.equal(state["network"]["output.weight"], checkpoint.weights["output.weight"])
    predictor = Predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    held = [item for item in items if item.id in result.validation_ids]
    assert score_cases(predictor, PreparedCases(held, task)) == pytest.approx(result.metrics)


def test_averaging_does_not_change_the_steps(averaged, whole):
    first, plain = averaged.history[0], whole.history[0]
    assert first["loss"] == plain["loss"]
    assert first["fg_iou"] != plain["fg_iou"]


def test_the_average_is_the_exponential_one_of_the_weights_after_each_step(task, items):
    recipe = replace(task.training, averaging=0.25)
    network = build_network(task.network)
    step = TrainingStep(network, recipe, torch.device("cpu"), torch.float32, bce_dice)
    batches = StepBatches(PreparedCases(items, task), seed=0)
    wanted: dict[str, torch.Tensor] = {}
    for index in range(4):
        step(batches[index])
        for name, value in network.state_dict().items():
            before = wanted.get(name, value)  # the first step starts the average
            decay = min(0.25, (1 + index) / (10 + index))  # which a short run is not held by
            wanted[name] = (decay * before + (1 - decay) * value).clone()
    for name, value in step.averaged.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-6)


def test_without_averaging_there_is_no_second_set_of_weights(task):
    step = TrainingStep(
        build_network(task.network), task.training, torch.device("cpu"), torch.float32, bce_dice
    )
    assert step.averaged is None
    assert "averaged" not in step.state_dict()


def test_batch_statistics_are_averaged_too(task, items, tmp_path):
    normed = replace(
        with_recipe(task, averaging=0.5, steps=4), network=replace(task.network, norm="batch")
    )
    result = fit(normed, items, fit_options(tmp_path))
    weights = load_checkpoint(result.weights).weights
    running = [value for name, value in weights.items() if name.endswith("running_mean")]
    assert running and any(value.any() for value in running)
    assert math.isfinite(result.metrics["mean_iou"])


def test_an_interrupted_run_keeps_its_averaged_weights(
    averaged, task, items, tmp_path, monkeypatch
):
    prepare = StepBatches.__getitem__

    def fail(self, step):
        if step == 9:
            raise RuntimeError("power cut")
        return prepare(self, step)

    recipe = with_recipe(task, averaging=0.8)
    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(recipe, items, fit_options(tmp_path))
    result = fit(recipe, items, fit_options(tmp_path))
    assert result.history == averaged.history
    assert_same_weights(result.weights, averaged.weights)
