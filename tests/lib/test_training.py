"""The loop learns, repeats, goes on where it was, and stops when it should."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.checkpoints import load_checkpoint
from lib.data import StepBatches
from lib.errors import InputError, NotFoundError
from lib.training import FitOptions, fit
from lib.training_errors import DivergedError


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
    monkeypatch.setattr("lib.training.score_cases", lambda *_: {"mean_iou": next(scores)})
    recipe = _recipe(task, steps=40, val_interval=2, early_stop_patience=2)
    result = fit(recipe, items, _options(tmp_path))
    assert result.stopped_early
    assert result.steps == 6
    assert result.metrics == {"mean_iou": 0.5}
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
    assert load_checkpoint(result.weights).provenance["from"] == init.provenance


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
