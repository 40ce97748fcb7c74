"""A run that was cut off goes on where it was and ends as if it had not been."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from training_samples import assert_same_weights, fit_options, with_recipe

from lib.training.batches import StepBatches
from lib.training.loop import fit

KILLED = """
import os, pickle, signal, sys
import torch
torch.set_num_threads(1)
from lib.training import batches, loop

prepare = batches.StepBatches.__getitem__
def die(self, step):
    if step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(self, step)

batches.StepBatches.__getitem__ = die
with open(sys.argv[1], "rb") as file:
    loop.fit(*pickle.load(file))
"""


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
            fit(task, items, fit_options(tmp_path))
    assert json.loads((tmp_path / "history.json").read_text())[-1]["step"] < stop
    result = fit(task, items, fit_options(tmp_path))
    assert result.history == whole.history
    assert result.initial_metrics == whole.initial_metrics
    assert_same_weights(result.weights, whole.weights)


def test_a_state_saved_between_validations_gives_the_same_history(
    whole, task, items, tmp_path, monkeypatch
):
    prepare = StepBatches.__getitem__

    def fail(self, step):
        if step == 11:
            raise RuntimeError("power cut")
        return prepare(self, step)

    with monkeypatch.context() as patch:
        patch.setattr("lib.training.resume.SAVE_SECONDS", -1.0)  # after every step
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(task, items, fit_options(tmp_path))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] not in (4, 8, 12)
    assert fit(task, items, fit_options(tmp_path)).history == whole.history


def test_a_run_killed_with_signal_9_ends_like_one_that_was_not(
    whole, task, items, tmp_path, run_python
):
    import pickle

    plan, out = tmp_path / "plan.pickle", tmp_path / "run"
    task = replace(task, labels=dict(task.labels))
    plan.write_bytes(pickle.dumps((task, items, fit_options(out))))
    ended = run_python("-c", KILLED, plan)
    assert ended.returncode == -9, ended.stderr
    state = torch.load(out / "state.pt", weights_only=True)
    assert 0 < state["step"] < 12
    result = fit(task, items, fit_options(out))
    assert result.history == whole.history
    assert_same_weights(result.weights, whole.weights)


def test_a_finished_run_is_not_trained_again(task, items, tmp_path, monkeypatch):
    first = fit(task, items, fit_options(tmp_path))
    monkeypatch.setattr(StepBatches, "__getitem__", lambda *_: pytest.fail("trained again"))
    second = fit(task, items, fit_options(tmp_path))
    assert second == replace(first, first_step=first.steps)


@pytest.mark.parametrize("damage", [b"", b"not a state", None])
def test_a_damaged_state_is_passed_over(whole, task, items, tmp_path, damage):
    fit(with_recipe(task, steps=4), items, fit_options(tmp_path))
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:999] if damage is None else damage)
    assert fit(task, items, fit_options(tmp_path)).history == whole.history


@pytest.mark.parametrize("change", ["seed", "recipe", "no resume"])
def test_a_state_of_another_run_is_passed_over(task, items, tmp_path, change):
    fit(task, items, fit_options(tmp_path))
    changed = with_recipe(task, learning_rate=1e-3) if change == "recipe" else task
    options = fit_options(tmp_path, seed=int(change == "seed"), resume=change != "no resume")
    steps = []
    prepare = StepBatches.__getitem__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            StepBatches, "__getitem__", lambda self, i: steps.append(i) or prepare(self, i)
        )
        fit(changed, items, options)
    assert steps == list(range(12))
