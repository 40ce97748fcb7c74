"""Optimisers and schedules of the learning rate, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lib.errors import InputError, choose
from lib.networks.efficientnet import backbones
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

# so that a step can be recorded: nothing is read from the device, all state is on it
_FUSED = {"fused": True}
_CAPTURABLE = {"capturable": True, "foreach": True}
_RECORDED: dict[str, dict[str, bool]] = {
    "adam": {"fused": True, "capturable": True},
    "adamw": {"fused": True, "capturable": True},
    "nadam": _CAPTURABLE,
    "rmsprop": _CAPTURABLE,
    "sgd": _FUSED,
    "plain_sgd": _FUSED,
}
_WAYS = ("fused", "capturable", "foreach")  # to compute the same
_RATES = ("lr", "initial_lr")


def build_optimizer(
    network: nn.Module, spec: TrainingSpec, recorded: bool = False
) -> torch.optim.Optimizer:
    """Return the optimiser that the recipe names, over the network's parameters.

    Those of a known encoder are a second group where the recipe gives them a rate of their own.

    Args:
        recorded: whether its steps are recorded and replayed. All of its state is then on the
            device, the learning rate too, which a schedule writes to.

    Raises:
        InputError: an unknown optimiser, an impossible learning rate, or a rate for a known encoder
            in a network that has none.
    """
    if not 0 < spec.learning_rate < math.inf:
        raise InputError(f"learning_rate must be positive, found {spec.learning_rate}")
    make = choose("optimizer", spec.optimizer, OPTIMIZERS)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate}
        for parameters, rate in zip(_grouped(network, spec), _rates(spec), strict=False)
    ]
    ways: Mapping[str, bool] = {}
    if recorded:
        device = next(network.parameters()).device
        groups = [{**group, "lr": torch.tensor(group["lr"], device=device)} for group in groups]
        ways = _RECORDED[spec.optimizer]
    return make(groups, lr=groups[0]["lr"], weight_decay=spec.weight_decay, **ways)


def _rates(spec: TrainingSpec) -> tuple[float, float]:
    """Return the learning rates of the groups that `build_optimizer` makes."""
    return spec.learning_rate, spec.learning_rate * spec.encoder_rate


def _grouped(network: nn.Module, spec: TrainingSpec) -> list[list[nn.Parameter]]:
    """Return the parameters of the network, those of a known encoder apart if need be."""
    if spec.encoder_rate == 1:
        return [list(network.parameters())]
    if not 0 < spec.encoder_rate < math.inf:
        raise InputError(f"encoder_rate must be positive, found {spec.encoder_rate}")
    if not (found := backbones(network)):
        raise InputError(
            f"encoder_rate is {spec.encoder_rate}, but the network has no known encoder; leave it "
            f"at 1, or set network.encoder (of a classifier network.architecture)"
        )
    known = [parameter for backbone in found for parameter in backbone.parameters()]
    names = {id(parameter) for parameter in known}
    return [[one for one in network.parameters() if id(one) not in names], known]


def plain_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of an optimiser or schedule with rates as numbers, as not recorded."""
    if "param_groups" in state:
        groups = [
            {name: float(value) if name in _RATES else value for name, value in group.items()}
            for group in state["param_groups"]
        ]
        return {**state, "param_groups": groups}
    if "_last_lr" in state:
        return {**state, "_last_lr": [float(rate) for rate in state["_last_lr"]]}
    return state


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state into an optimiser that may compute it in another way than the one it is of."""
    groups = optimizer.param_groups
    ways = [{name: group[name] for name in _WAYS if name in group} for group in groups]
    rates = [group["lr"] for group in groups]
    stored = [{**group, **way} for group, way in zip(state["param_groups"], ways, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": stored})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(rate, Tensor):  # the very tensor that is read
            group["lr"] = rate.fill_(float(group["lr"]))


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
    schedule = choose("schedule", spec.schedule, schedules)()
    if isinstance(schedule, LambdaLR):  # computed on the host, even where the rate is on the device
        schedule.base_lrs = list(_rates(spec)[: len(schedule.base_lrs)])
    return schedule
