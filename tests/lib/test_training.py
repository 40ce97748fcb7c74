"""The loop learns, repeats, goes on where it was, and stops when it should."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.checkpoints import load_checkpoint
from lib.data import PreparedCases, StepBatches
from lib.errors import InputError, NotFoundError
from lib.images import read_image
from lib.inference import Predictor
from lib.masks import read_label
from lib.networks import build_network
from lib.targets import make_target
from lib.tasks import TASKS, TargetSpec
from lib.training import FitOptions, fit, score_cases
from lib.training_errors import DivergedError
from lib.training_step import TrainingStep


def _options(out: Path, **changes) -> FitOptions:
    plain = {"device": "cpu", "precision": "fp32", "progress": False, "tensorboard": False}
    return FitOptions(out, **{**plain, **changes})


def _recipe(task, **changes):
    return replace(task, training=replace(task.training, **changes))


def _assert_same_weights(one: Path, other: Path) -> None:
    weights, twin = (load_checkpoint(path).weights for path in (one, other))
    assert weights.keys() == twin.keys()
    for name, value in weights.items():
        torch.testing.assert_close(twin[name], value, rtol=0, atol=0)


@pytest.fixture(scope="module")
def whole(task, items, tmp_path_factory):
    """An uninterrupted run, to compare with."""
    return fit(task, items, _options(tmp_path_factory.mktemp("whole")))


def test_training_learns_a_phantom(task, items, tmp_path):
    result = fit(_recipe(task, steps=60, val_interval=60), items, _options(tmp_path))
    assert result.metrics["mean_iou"] > 0.8
    assert result.metrics["mean_iou"] > result.initial_metrics["mean_iou"] + 0.2
    assert result.steps == 60
    assert not result.stopped_early


def test_the_loss_goes_down(whole):
    losses = [entry["loss"] for entry in whole.history]
    assert losses[-1] < losses[0]
    assert [entry["step"] for entry in whole.history] == [4, 8, 12]


def test_the_best_weights_are_kept_with_their_figures(whole, task):
    best = max(whole.history, key=lambda entry: entry["mean_iou"])
    checkpoint = load_checkpoint(whole.weights)
    assert checkpoint.metrics == whole.metrics
    assert checkpoint.metrics["mean_iou"] == best["mean_iou"]
    assert checkpoint.task == task.name
    assert checkpoint.provenance["step"] == best["step"]
    assert checkpoint.provenance["seed"] == 0
    assert len(checkpoint.provenance["data"]) == 16
    assert {"python", "torch", "monai"} <= set(checkpoint.provenance["versions"])


def test_held_out_images_are_not_trained_on(whole, items):
    assert set(whole.training_ids) | set(whole.validation_ids) == {item.id for item in items}
    assert not set(whole.training_ids) & set(whole.validation_ids)


def test_two_runs_with_one_seed_are_the_same_and_another_seed_differs(whole, task, items, tmp_path):
    again = fit(task, items, _options(tmp_path / "again"))
    assert again.history == whole.history
    _assert_same_weights(again.weights, whole.weights)
    other = fit(task, items, _options(tmp_path / "other", seed=1))
    assert other.history != whole.history


@pytest.mark.parametrize("stop", [6, 9])
def test_a_run_that_failed_half_way_ends_like_one_that_did_not(
    whole, task, items, tmp_path, monkeypatch, stop
):
    prepare = StepBatches.__getitem__

    def fail(self, step):
        if step == stop:
            raise RuntimeError("power cut")
        return prepare(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(task, items, _options(tmp_path))
    assert json.loads((tmp_path / "history.json").read_text())[-1]["step"] < stop
    result = fit(task, items, _options(tmp_path))
    assert result.history == whole.history
    assert result.initial_metrics == whole.initial_metrics
    _assert_same_weights(result.weights, whole.weights)


def test_a_state_saved_between_validations_gives_the_same_history(
    whole, task, items, tmp_path, monkeypatch
):
    prepare = StepBatches.__getitem__

    def fail(self, step):
        if step == 11:
            raise RuntimeError("power cut")
        return prepare(self, step)

    with monkeypatch.context() as patch:
        patch.setattr("lib.training.STATE_SECONDS", -1.0)  # after every step
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(task, items, _options(tmp_path))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] not in (4, 8, 12)
    assert fit(task, items, _options(tmp_path)).history == whole.history


KILLED = """
import os, pickle, signal, sys
import torch
torch.set_num_threads(1)
from lib import data, training

prepare = data.StepBatches.__getitem__
def die(self, step):
    if step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(self, step)

data.StepBatches.__getitem__ = die
with open(sys.argv[1], "rb") as file:
    training.fit(*pickle.load(file))
"""


def test_a_run_killed_with_signal_9_ends_like_one_that_was_not(
    whole, task, items, tmp_path, run_python
):
    import pickle

    plan, out = tmp_path / "plan.pickle", tmp_path / "run"
    task = replace(task, labels=dict(task.labels))
    plan.write_bytes(pickle.dumps((task, items, _options(out))))
    ended = run_python("-c", KILLED, plan)
    assert ended.returncode == -9, ended.stderr
    state = torch.load(out / "state.pt", weights_only=True)
    assert 0 < state["step"] < 12
    result = fit(task, items, _options(out))
    assert result.history == whole.history
    _assert_same_weights(result.weights, whole.weights)


def test_a_finished_run_is_not_trained_again(task, items, tmp_path, monkeypatch):
    first = fit(task, items, _options(tmp_path))
    monkeypatch.setattr(StepBatches, "__getitem__", lambda *_: pytest.fail("trained again"))
    second = fit(task, items, _options(tmp_path))
    assert second == first


@pytest.mark.parametrize("damage", [b"", b"not a state", None])
def test_a_damaged_state_is_passed_over(whole, task, items, tmp_path, damage):
    fit(_recipe(task, steps=4), items, _options(tmp_path))
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:999] if damage is None else damage)
    assert fit(task, items, _options(tmp_path)).history == whole.history


@pytest.mark.parametrize("change", ["seed", "recipe", "no resume"])
def test_a_state_of_another_run_is_passed_over(task, items, tmp_path, change):
    fit(task, items, _options(tmp_path))
    changed = _recipe(task, learning_rate=1e-3) if change == "recipe" else task
    options = _options(tmp_path, seed=int(change == "seed"), resume=change != "no resume")
    steps = []
    prepare = StepBatches.__getitem__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            StepBatches, "__getitem__", lambda self, i: steps.append(i) or prepare(self, i)
        )
        fit(changed, items, options)
    assert steps == list(range(12))


def test_training_stops_when_patience_runs_out_and_stays_stopped(
    task, items, tmp_path, monkeypatch
):
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3])  # initial, then one per validation
    monkeypatch.setattr(
        "lib.training.score_cases", lambda *_: {"mean_iou": next(scores), "found": 1.0}
    )
    recipe = _recipe(task, steps=40, val_interval=2, early_stop_patience=2)
    result = fit(recipe, items, _options(tmp_path))
    assert result.stopped_early
    assert result.steps == 6
    assert result.metrics == {"mean_iou": 0.5, "found": 1.0}
    assert load_checkpoint(result.weights).provenance["step"] == 2
    assert fit(recipe, items, _options(tmp_path)) == result


def test_a_loss_that_is_no_number_ends_training_with_advice(task, items, tmp_path):
    recipe = _recipe(task, learning_rate=1e30, gradient_clip=0.0, val_interval=3)
    with pytest.raises(DivergedError, match=r"no longer finite at step \d+; lower the learning r"):
        fit(recipe, items, _options(tmp_path))


def test_without_a_cache_the_result_is_the_same(whole, task, items, tmp_path):
    result = fit(task, items, _options(tmp_path, cache_bytes=0))
    assert result.history == whole.history
    _assert_same_weights(result.weights, whole.weights)


def test_the_run_leaves_its_figures_where_viewers_look(task, items, tmp_path):
    result = fit(task, items, _options(tmp_path, tensorboard=True))
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["active"] is False
    assert (stats["step"], stats["total_steps"]) == (12, 12)
    assert stats["best_metric"] == result.metrics["mean_iou"]
    assert stats["key_metric"] == "mean_iou"
    assert json.loads((tmp_path / "history.json").read_text()) == result.history

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "validation/mean_iou"} <= set(
        events.Tags()["scalars"]
    )
    shown = [(e.step, pytest.approx(e.value)) for e in events.Scalars("validation/mean_iou")]
    assert shown == [(entry["step"], entry["mean_iou"]) for entry in result.history]


def test_bfloat16_on_the_cpu_gives_nearly_the_same_curve(whole, task, items, tmp_path):
    result = fit(task, items, _options(tmp_path, precision="bf16"))
    assert load_checkpoint(result.weights).provenance["precision"] == "bfloat16"
    assert all(v.dtype == torch.float32 for v in load_checkpoint(result.weights).weights.values())
    for entry, exact in zip(result.history, whole.history, strict=True):
        assert entry["loss"] == pytest.approx(exact["loss"], rel=0.03)


def test_training_starts_from_given_weights(whole, task, items, tmp_path):
    init = load_checkpoint(whole.weights)
    result = fit(_recipe(task, steps=1), items, _options(tmp_path, init=init))
    assert result.initial_metrics == pytest.approx(whole.metrics)
    origin = load_checkpoint(result.weights).provenance["from"]
    assert init.provenance.items() <= origin.items()
    assert (origin["task"], origin["tensors_taken"]) == (init.task, len(init.weights))
    assert origin["tensors_fresh"] == []


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "rmsprop", "sgd"])
def test_every_optimizer_takes_steps(task, items, tmp_path, optimizer):
    recipe = _recipe(task, optimizer=optimizer, steps=2, learning_rate=1e-3, schedule="constant")
    assert math.isfinite(fit(recipe, items, _options(tmp_path)).history[-1]["loss"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"optimizer": "adm"}, NotFoundError, "unknown optimizer 'adm': did you mean 'adam'"),
        ({"loss": "dyce"}, NotFoundError, "unknown loss 'dyce': did you mean 'dice'"),
        ({"schedule": "cosin"}, NotFoundError, "unknown schedule 'cosin': did you mean 'cosine'"),
        ({"learning_rate": 0.0}, InputError, "learning_rate must be positive, found 0.0"),
        ({"learning_rate": math.nan}, InputError, "learning_rate must be positive, found nan"),
        ({"patch_size": 30}, InputError, "patch_size must be a multiple of 4 .* found 30"),
        ({"patch_size": (8, 16, 16)}, InputError, "patch_size must be .* one for all 2 axes or"),
        ({"steps": 0}, InputError, "steps, batch_size and val_interval must be at least 1"),
        ({"val_split": 1.5}, InputError, "val_split must lie between 0 and 1, found 1.5"),
    ],
)
def test_impossible_recipes_are_refused(task, items, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        fit(_recipe(task, **changes), items, _options(tmp_path))


def test_an_unreadable_image_is_named_before_the_first_step(task, items, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    bad = [*items, replace(items[0], id="broken", image=broken)]
    with pytest.raises(InputError, match=r"broken\.png: the file is empty"):
        fit(task, bad, _options(tmp_path / "run"))
    assert not (tmp_path / "run" / "state.pt").exists()


def test_given_validation_cases_are_held_out_and_the_others_trained_on(
    task, items, tmp_path, monkeypatch
):
    held = frozenset({items[1].id, items[4].id})
    seen: set[str] = set()
    prepare = StepBatches.__getitem__

    def watch(self, step):
        seen.update(item.id for item in self.cases.items)
        return prepare(self, step)

    monkeypatch.setattr(StepBatches, "__getitem__", watch)
    result = fit(_recipe(task, steps=4), items, _options(tmp_path, validation_ids=held))
    assert set(result.validation_ids) == held
    assert set(result.training_ids) == {item.id for item in items} - held == seen
    checkpoint = load_checkpoint(result.weights)
    assert checkpoint.provenance["validation_cases"] == 2
    assert checkpoint.provenance["training_cases"] == len(items) - 2


def test_another_given_split_is_another_run(task, items, tmp_path):
    task = _recipe(task, steps=4)
    first = fit(task, items, _options(tmp_path, validation_ids=frozenset({items[0].id})))
    other = fit(task, items, _options(tmp_path, validation_ids=frozenset({items[1].id})))
    assert other.validation_ids == [items[1].id]
    assert other.history != first.history


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (["nobody"], "found 8 left and 0 of 1 known"),
        ([], "found 8 left and 0 of 0 known"),
        (["nucleus_0", "nobody"], "found 7 left and 1 of 2 known"),
        ([f"nucleus_{n}" for n in range(8)], "found 0 left and 8 of 8 known"),
    ],
)
def test_a_given_split_that_does_not_fit_the_items_is_refused(task, items, tmp_path, chosen, found):
    with pytest.raises(InputError, match=f"a given split must leave items .* {found}"):
        fit(task, items, _options(tmp_path, validation_ids=frozenset(chosen)))


@pytest.fixture(scope="module")
def averaged(task, items, tmp_path_factory):
    """An uninterrupted run with averaged weights."""
    out = tmp_path_factory.mktemp("averaged")
    return fit(_recipe(task, averaging=0.8), items, _options(out))


def test_the_averaged_weights_are_what_is_validated_and_kept(task, items, tmp_path):
    result = fit(_recipe(task, averaging=0.8, steps=4), items, _options(tmp_path))
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
    step = TrainingStep(network, recipe, torch.device("cpu"), torch.float32)
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
        build_network(task.network), task.training, torch.device("cpu"), torch.float32
    )
    assert step.averaged is None
    assert "averaged" not in step.state_dict()


def test_batch_statistics_are_averaged_too(task, items, tmp_path):
    normed = replace(
        _recipe(task, averaging=0.5, steps=4), network=replace(task.network, norm="batch")
    )
    result = fit(normed, items, _options(tmp_path))
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

    recipe = _recipe(task, averaging=0.8)
    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(recipe, items, _options(tmp_path))
    result = fit(recipe, items, _options(tmp_path))
    assert result.history == averaged.history
    _assert_same_weights(result.weights, averaged.weights)


def test_a_task_for_volumes_learns_balls(volume_task, volume_items, tmp_path):
    recipe = _recipe(volume_task, steps=30, val_interval=30)
    result = fit(recipe, volume_items, _options(tmp_path))
    assert result.metrics["fg_dice"] > 0.7
    assert result.metrics["fg_dice"] > result.initial_metrics["fg_dice"] + 0.1
    found = load_checkpoint(result.weights)
    assert found.spec["network"]["spatial_dims"] == 3
    again = fit(recipe, volume_items, _options(tmp_path / "again"))
    assert again.history == result.history


def test_an_image_is_refused_by_a_task_for_volumes(volume_task, items, tmp_path):
    with pytest.raises(InputError, match=r"nucleus_\d\.png: .*expected a volume"):
        fit(volume_task, items, _options(tmp_path))


def test_unet_2015_trains_on_what_lies_in_the_middle_of_its_patches(items, tmp_path):
    row = TASKS["nuclei_unet2015"]
    network = replace(row.network, channels=(4, 8, 16), convolutions=(1, 1, 1))
    task = _recipe(
        replace(row, network=network),
        steps=30,
        val_interval=30,
        batch_size=2,
        patch_size=network.input_size(32),
        learning_rate=1e-2,
        val_split=0.3,
    )
    result = fit(task, items, _options(tmp_path))
    assert result.metrics["mean_iou"] > max(0.6, result.initial_metrics["mean_iou"])


def test_a_task_with_several_maps_learns_them(task, items, tmp_path):
    several = replace(
        _recipe(task, steps=40, val_interval=40),
        network=replace(task.network, out_channels=3),
        target=TargetSpec(maps=("foreground", "border", "distance"), gap=1),
        output=replace(task.output, separation="distance"),
    )
    result = fit(several, items, _options(tmp_path))
    assert result.metrics["mean_iou"] > 0.7
    predictor = Predictor.from_checkpoint(several, load_checkpoint(result.weights), "cpu", "fp32")
    answer = predictor(read_image(items[0].image))
    truth = make_target(read_label(items[0].label), several.target)
    assert np.corrcoef(answer.probabilities[2].ravel(), truth[2].ravel())[0, 1] > 0.6
    assert answer.instances.max() >= 1


def test_a_loss_without_its_map_is_refused_before_training(task, items, tmp_path):
    with pytest.raises(InputError, match="loss 'border_weighted_bce' needs the target map border"):
        fit(_recipe(task, loss="border_weighted_bce"), items, _options(tmp_path))


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_loading_threads_does_not_change_the_result(
    whole, task, items, tmp_path, monkeypatch, threads
):
    monkeypatch.setattr("lib.training.loading_threads", lambda: threads)
    result = fit(task, items, _options(tmp_path))
    assert result.history == whole.history
    _assert_same_weights(result.weights, whole.weights)


def _run_with(found, task, items, out, monkeypatch) -> tuple[list[str], dict]:
    """Train with these shares of structures found at each validation; return what was said."""
    scores = [{"mean_iou": 0.5, "found": share} for share in (1.0, *found)]
    monkeypatch.setattr("lib.training.score_cases", lambda *_: scores.pop(0))
    said: list[str] = []
    monkeypatch.setattr("lib.training.logger.warning", said.append)
    fit(_recipe(task, steps=2 * len(found), val_interval=2), items, _options(out))
    return said, json.loads((out / "stats.json").read_text())


def test_the_collapse_to_the_empty_mask_is_said(task, items, tmp_path, monkeypatch):
    said, stats = _run_with((0.4, 0.0), task, items, tmp_path, monkeypatch)
    assert len(said) == 1
    assert "answers no foreground on any validation case at step 4: collapsed to the emp" in said[0]
    assert "lower the learning rate (now 0.003)" in said[0]
    assert stats["warning"] == said[0]


def test_a_collapse_that_is_over_is_no_longer_told(task, items, tmp_path, monkeypatch):
    said, stats = _run_with((0.0, 0.1), task, items, tmp_path, monkeypatch)
    assert len(said) == 1
    assert "at step 2" in said[0]
    assert "warning" not in stats


def test_nothing_is_said_of_a_network_that_finds_something(task, items, tmp_path, monkeypatch):
    said, stats = _run_with((1.0, 0.01), task, items, tmp_path, monkeypatch)
    assert said == []
    assert "warning" not in stats


def test_a_network_that_answers_background_alone_has_collapsed(task, items, tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("lib.training.logger.warning", said.append)
    unsure = replace(task, output=replace(task.output, threshold=1.1))
    result = fit(_recipe(unsure, steps=2, val_interval=2), items, _options(tmp_path))
    assert result.metrics["found"] == 0
    assert len(said) == 1


def test_the_figures_of_images_are_beside_those_of_pixels(whole):
    assert {"dice_kaggle", "dice_positive", "found", "presence_auc"} <= set(whole.metrics)
    assert whole.metrics["dice_kaggle"] == whole.metrics["dice_positive"], "all have nuclei"
    assert whole.metrics["presence_auc"] == 0.5
