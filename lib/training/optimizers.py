"""Optimisers and schedules of the learning rate, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lib.errors import InputError, choose
from lib.tasks.training_spec import TrainingSpec

WARM_UP = 0.02  # share of the steps
MOMENTUM = 0.9

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True),
    "plain_sgd": torch.optim.SGD,
}


def build_optimizer(network: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Return the optimiser that the recipe names, over the network's parameters."""
    if not 0 < spec.learning_rate < math.inf:
        raise InputError(f"learning_rate must be positive, found {spec.learning_rate}")
    make = choose("optimizer", spec.optimizer, OPTIMIZERS)
    return make(network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)


def build_scheduler(
    optimizer: torch.optim.Optimizer, spec: TrainingSpec, steps: int
) -> LambdaLR | ReduceLROnPlateau:
    """Return the schedule of the learning rate that the recipe names.

    ``constant`` and ``cosine`` (a linear warm-up, then half a cosine down to zero) are stepped
    after each optimiser step, ``plateau`` after each validation, with its loss.
    """

    def cosine(step: int) -> float:
        # MONAI's WarmupCosineSchedule begins at a rate of zero, which wastes the first step
        warm = max(1, round(WARM_UP * steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    def plateau() -> ReduceLROnPlateau:
        factor, patience = spec.plateau_factor, spec.plateau_patience
        return ReduceLROnPlateau(optimizer, "min", factor, patience, threshold=0.0, eps=0.0)

    schedules: dict[str, Callable[[], LambdaLR | ReduceLROnPlateau]] = {
        "constant": lambda: LambdaLR(optimizer, lambda step: 1.0),
        "cosine": lambda: LambdaLR(optimizer, cosine),
        "plateau": plateau,
    }
    return choose("schedule", spec.schedule, schedules)()
