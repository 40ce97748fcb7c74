"""One optimiser step of a recipe: what the engine of `lib.training.loop` runs on every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lib.data.case import Batch, Loss
from lib.devices import autocast
from lib.tasks.training_spec import TrainingSpec
from lib.training.optimizers import build_optimizer, build_scheduler


class TrainingStep:
    """Network, loss, optimiser and schedule of a run; called with a batch, takes one step.

    Attributes:
        averaged: module with the moving average of the weights; None without averaging.

    Args:
        network: where `lib.networks.place_network` left it, in training mode.
        recipe: names optimiser and schedule; gives the number of steps.
        dtype: what to autocast to.
        loss: function of logits and targets, see `lib.data.case.Scoring`.
        parallel: `network` wrapped for several processes; None for one process.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: TrainingSpec,
        device: torch.device,
        dtype: torch.dtype,
        loss: Loss,
        parallel: nn.Module | None = None,
    ) -> None:
        self.network, self.parallel = network, parallel or network
        self.device, self.dtype = device, dtype
        self.gradient_clip = recipe.gradient_clip
        self.optimizer = build_optimizer(network, recipe)
        self.scheduler = build_scheduler(self.optimizer, recipe, recipe.steps)
        self.loss = loss
        self.averaged: nn.Module | None = None
        if recipe.averaging > 0:
            self._average = AveragedModel(
                network, multi_avg_fn=_moving_average(recipe.averaging), use_buffers=True
            )
            self.averaged = self._average.module
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=dtype == torch.float16 and device.type == "cuda"
        )

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step on images and targets `(N, channels, *spatial)`, or classes `(N)`.

        What else the batch holds, such as the views `(N)`, is passed to the network.

        Returns:
            The loss of this process's share, detached.
        """
        images, targets, *others = (part.to(self.device, non_blocking=True) for part in batch)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.dtype):
            logits = self.parallel(images, *others)
        loss = self.loss(logits.float(), targets)
        self.scaler.scale(loss).backward()
        if self.gradient_clip > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if isinstance(self.scheduler, LambdaLR):
            self.scheduler.step()
        if self.averaged is not None:
            self._average.update_parameters(self.network)
        return loss.detach()

    def after_validation(self, loss: float) -> None:
        """Pass the validation loss to a schedule that follows it."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimiser, schedule, gradient scaler and averaged weights."""
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned; other entries of `state` are ignored."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _stateful(self) -> dict[str, Any]:
        stateful = {name: getattr(self, name) for name in ("optimizer", "scheduler", "scaler")}
        return stateful if self.averaged is None else {**stateful, "averaged": self._average}


def _moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return the update of an exponential moving average whose decay grows with the steps.

    After n steps the decay is at most (1 + n) / (10 + n), so that the random start does not
    dominate the average of a short run.
    """

    def update(averaged: Any, current: Any, steps: Any) -> None:
        n = float(steps)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, steps)

    return update
