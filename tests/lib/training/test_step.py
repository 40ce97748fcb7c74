"""A step is what plain torch does, to the last bit, and reads nothing back that it need not."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch
from training_samples import fit_options, with_recipe

from lib.networks import build_network
from lib.segmentation.losses import bce_dice
from lib.training.batches import PreparedCases, StepBatches
from lib.training.loop import fit
from lib.training.progress import RunStatus, _seldom
from lib.training.step import TrainingStep

CPU = torch.device("cpu")
STEPS = 6
PLAIN = {
    "adam": lambda weights, rate: torch.optim.Adam(weights, rate, weight_decay=1e-4),
    "adamw": lambda weights, rate: torch.optim.AdamW(weights, rate, weight_decay=1e-4),
    "nadam": lambda weights, rate: torch.optim.NAdam(weights, rate, weight_decay=1e-4),
    "rmsprop": lambda weights, rate: torch.optim.RMSprop(weights, rate, weight_decay=1e-4),
    "sgd": lambda weights, rate: torch.optim.SGD(
        weights, rate, weight_decay=1e-4, momentum=0.9, nesterov=True
    ),
    "plain_sgd": lambda weights, rate: torch.optim.SGD(weights, rate, weight_decay=1e-4),
}


def _network(task):
    torch.manual_seed(0)
    return build_network(replace(task.network, norm="batch")).train()


def _cosine(step: int) -> float:  # of 6 steps, of which the first is the warm-up
    return 1.0 if step < 1 else 0.5 * (1 + math.cos(math.pi * min(1.0, (step - 1) / 5)))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
@pytest.mark.parametrize("optimizer", list(PLAIN))
def test_steps_are_those_of_plain_torch(task, items, optimizer, schedule):
    recipe = replace(
        task.training,
        **{"optimizer": optimizer, "schedule": schedule, "weight_decay": 1e-4, "steps": STEPS},
        **{"gradient_clip": 0.5, "averaging": 0.7, "plateau_patience": 0},
    )
    batches = StepBatches(PreparedCases(items, task), seed=0)
    network, plain = _network(task), _network(task)
    step = TrainingStep(network, recipe, CPU, torch.float32, bce_dice)
    rule, average = PLAIN[optimizer](plain.parameters(), recipe.learning_rate), {}
    for index in range(STEPS):
        loss = step(batches[index])
        images, targets = batches[index]
        rule.zero_grad()
        wanted = bce_dice(plain(images), targets)
        wanted.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        rule.step()
        if schedule == "cosine":
            rule.param_groups[0]["lr"] = recipe.learning_rate * _cosine(index + 1)
        if schedule == "plateau" and index in (1, 3):  # the loss of the second is not lower
            step.after_validation(1.0)
            if index == 3:
                rule.param_groups[0]["lr"] = recipe.learning_rate * 0.1
        assert loss.item() == wanted.item()
        for name, value in plain.state_dict().items():
            decay = min(0.7, (1 + index) / (10 + index)) if index else 0.0
            if not value.is_floating_point():
                mean = average.get(name, value) * decay + value * (1 - decay)
                average[name] = mean.to(value.dtype)
            else:
                before = average.get(name, value)
                average[name] = torch.lerp(before, value, 1 - decay).clone()
    for name, value in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
        assert torch.equal(step.averaged.state_dict()[name], average[name]), name


def test_the_bar_asks_for_the_loss_twice_a_second(monkeypatch):
    now, read = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    figures = _seldom(lambda loss: read.append(loss) or {"loss": str(loss)})
    shown = []
    for loss in range(100):  # of 10 ms each
        shown.append(figures(loss)["loss"])
        now[0] += 0.01
    assert read == [0, 50]
    assert shown[:50] == ["0"] * 50 and shown[50:] == ["50"] * 50


def test_losses_are_read_when_they_are_shown_and_not_in_every_step(
    task, items, tmp_path, monkeypatch
):
    taken, read = [], []
    take = TrainingStep.__call__

    class Loss(torch.Tensor):
        def __float__(self):
            read.append(len(taken))
            return super().__float__()

    def watched(self, batch):
        taken.append(1)
        return take(self, batch).as_subclass(Loss)

    monkeypatch.setattr(TrainingStep, "__call__", watched)
    monkeypatch.setattr("lib.training.progress.os.isatty", lambda _: True)
    monkeypatch.setattr("lib.training.progress.STATS_SECONDS", 1e6)
    monkeypatch.setattr("lib.training.progress.BAR_SECONDS", 1e6)
    options = fit_options(tmp_path, progress=True, tensorboard=True)
    fit(with_recipe(task, steps=25, val_interval=25), items, options)
    assert len(taken) == 25
    assert set(read) <= {1, 25}  # the bar's first, and what the end writes


def test_a_line_of_progress_has_loss_and_figures(task):
    class Done:
        history, kept = [{"mean_iou": 0.5}], {"mean_iou": 0.75}

    status = RunStatus(task=task, batches_per_epoch=1, first_step=0, started=0, validator=Done())
    assert status.figures(torch.tensor(1.25)) == {
        "loss": "1.2500",
        "mean_iou": "0.5000",
        "best": "0.7500",
    }
