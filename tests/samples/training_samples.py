"""How the tests of training ask for runs and compare their weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions
from lib.weights.checkpoint import load_checkpoint


def fit_options(out: Path, **changes) -> FitOptions:
    """Return options of a quiet run on the CPU."""
    plain = {"device": "cpu", "precision": "fp32", "progress": False, "tensorboard": False}
    return FitOptions(out=out, **{**plain, **changes})


def with_recipe(task: TaskSpec, **changes) -> TaskSpec:
    """Return `task` with other training options."""
    return replace(task, training=replace(task.training, **changes))


def assert_same_weights(one: Path, other: Path) -> None:
    """Compare two checkpoints to the last bit."""
    weights, twin = (load_checkpoint(path).weights for path in (one, other))
    assert weights.keys() == twin.keys()
    for name, value in weights.items():
        torch.testing.assert_close(twin[name], value, rtol=0, atol=0)
