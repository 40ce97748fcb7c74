"""Optimisers by name, and how the learning rate moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from lib.errors import InputError, choose
from lib.tasks.training_spec import TrainingSpec

WARM_UP = 0.02
MOMENTUM = 0.9

_Factory = Callable[[Iterable[nn.Parameter], TrainingSpec], torch.optim.Optimizer]

OPTIMIZERS: dict[str, _Factory] = {
    "adam": lambda parameters, spec: torch.optim.Adam(
        parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay
    ),
    "adamw": lambda parameters, spec: torch.optim.AdamW(
        parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay
    ),
    "nadam": lambda parameters, spec: torch.optim.NAdam(
        parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay
    ),
    "rmsprop": lambda parameters, spec: torch.optim.RMSprop(
        parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay
    ),
    "sgd": lambda parameters, spec: torch.optim.SGD(
        parameters,
        lr=spec.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=spec.weight_decay,
    ),
    "plain_sgd": lambda parameters, spec: torch.optim.SGD(
        parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay
    ),
}


def build_optimizer(network: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Return the optimiser that the recipe names, over the network's parameters."""
    if not 0 < spec.learning_rate < math.inf:
        raise InputError(f"learning_rate must be positive, found {spec.learning_rate}")
    return choose("optimizer", spec.optimizer, OPTIMIZERS)(network.parameters(), spec)


class PlateauLR(LambdaLR):
    """Multiplies the rate by `factor` where the validation loss has not fallen for long.

    Args:
        patience: reports without a lower loss that are waited for; the next one changes the rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.scale, self.lowest, self.waited = 1.0, math.inf, 0
        super().__init__(optimizer, lambda step: self.scale)

    def report(self, loss: float) -> None:
        """Take note of a validation loss; the rate changes with the next step."""
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.scale, self.waited = self.scale * self.factor, 0


def build_scheduler(optimizer: torch.optim.Optimizer, spec: TrainingSpec, steps: int) -> LambdaLR:
    """Return a per-step schedule: constant, warm-up and half a cosine down to zero, or plateau."""

    def constant(step: int) -> float:
        return 1.0

    def cosine(step: int) -> float:
        warm = max(1, round(WARM_UP * steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    schedules: dict[str, Callable[[], LambdaLR]] = {
        "constant": lambda: LambdaLR(optimizer, constant),
        "cosine": lambda: LambdaLR(optimizer, cosine),
        "plateau": lambda: PlateauLR(optimizer, spec.plateau_factor, spec.plateau_patience),
    }
    return choose("schedule", spec.schedule, schedules)()
