"""One optimiser step of a recipe: what the engine of `lib.training.loop` runs on every batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lib.data.case import Batch, Loss
from lib.devices import autocast
from lib.tasks.training_spec import TrainingSpec
from lib.training.averaging import MovingAverage
from lib.training.optimizers import (
    build_optimizer,
    build_scheduler,
    load_optimizer_state,
    plain_state,
)
from lib.weights.capture import Recorder, Tape

logger = logging.getLogger(__name__)


class TrainingStep:
    """Network, loss, optimiser and schedule of a run; called with a batch, takes one step.

    A step has two parts. `_on_device` is a queue of kernels from the forward pass to the moving
    average, which reads nothing back and may be recorded. The host moves the schedule on, and
    writes learning rate and decay where the kernels find them.

    Attributes:
        averaged: module with the moving average of the weights; None without averaging.
        recorder: replays the device's part; None where each step is launched anew. Where the host
            chooses what is trained, each choice has a recorder of its own, see `recorder_of`.

    Args:
        network: where `lib.networks.place_network` left it, in training mode.
        recipe: names optimiser and schedule; gives the number of steps.
        dtype: what to autocast to.
        loss: function of logits and targets, see `lib.data.case.Scoring`.
        parallel: `network` wrapped for several processes; None for one process.
        compiled: `network` compiled, to be trained through; the first time that it fails `network`
            takes its place. None for none.
        tape: what to record the device's part on; None records nothing.
        routed: whether what a batch has beside images and targets stays on the host, as it tells
            which weights are trained; see `lib.data.case.Scoring.partial`.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: TrainingSpec,
        device: torch.device,
        dtype: torch.dtype,
        loss: Loss,
        parallel: nn.Module | None = None,
        compiled: Callable[..., Tensor] | None = None,
        tape: Tape | None = None,
        routed: bool = False,
    ) -> None:
        self._routed = routed
        self.network, self.parallel = network, parallel or network
        self._compiled = compiled
        self.device, self.dtype = device, dtype
        self.gradient_clip = recipe.gradient_clip
        self.optimizer = build_optimizer(network, recipe, recorded=tape is not None)
        self.scheduler = build_scheduler(self.optimizer, recipe, recipe.steps)
        self.loss = loss
        self._average: MovingAverage | None = None
        if recipe.averaging > 0:
            self._average = MovingAverage(network, recipe.averaging, recorded=tape is not None)
        self.averaged = None if self._average is None else self._average.module
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=dtype == torch.float16 and device.type == "cuda"
        )
        self._tape = tape
        self._recorders: dict[object, Recorder] = {}
        self.recorder = self.recorder_of(()) if tape is not None else None

    def __call__(self, batch: Batch) -> Tensor:
        """Take one step on images and targets `(N, channels, *spatial)`, or classes `(N)`.

        What else the batch holds, such as the views `(N)`, is passed to the network.

        Returns:
            The loss of this process's share, detached, on the device.
        """
        if self._average is not None:
            self._average.count_step()
        sent, chosen = (batch[:2], batch[2:]) if self._routed else (batch, ())
        if self.recorder is not None:
            loss = self.recorder_of(chosen)(sent)
        else:
            moved = (part.to(self.device, non_blocking=True) for part in sent)
            loss = self._on_device(*moved, *chosen)
        if isinstance(self.scheduler, LambdaLR):
            self.scheduler.step()
        return loss

    def recorder_of(self, chosen: Sequence[Tensor]) -> Recorder:
        """Return what replays the steps of a choice: numbers on the host, behind the batch."""
        assert self._tape is not None
        key = tuple(str(one.tolist()) for one in chosen)
        if key not in self._recorders:
            self._recorders[key] = Recorder(
                lambda *sent: self._on_device(*sent, *chosen), self.device, self._tape
            )
        return self._recorders[key]

    def _on_device(self, images: Tensor, targets: Tensor, *others: Tensor) -> Tensor:
        """Do the device's part of a step, and return the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(images, targets, others)
        if self.gradient_clip > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self._average is not None:
            self._average.blend(self.network)
        return loss.detach()

    def gradients(self, images: Tensor, targets: Tensor, *others: Tensor) -> Tensor:
        """Compute the gradients of a batch on the device, without a step, and return the loss."""
        return self._gradients(self.network, images, targets, others)

    def _backward(self, images: Tensor, targets: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Compute the gradients, by the compiled network for as long as it works."""
        if self._compiled is not None:
            try:
                return self._gradients(self._compiled, images, targets, others)
            except Exception as error:  # no compiler, or one that fails, in dozens of ways
                reason = str(error).strip().splitlines() or [type(error).__name__]
                logger.warning(f"The network is trained without compiling it: {reason[0]}")
                self._compiled = None
                self.optimizer.zero_grad(set_to_none=True)
        return self._gradients(self.parallel, images, targets, others)

    def _gradients(
        self,
        network: Callable[..., Tensor],
        images: Tensor,
        targets: Tensor,
        others: Sequence[Tensor],
    ) -> Tensor:
        with autocast(self.device, self.dtype):
            logits = network(images, *others)
        loss = self.loss(logits.float(), targets)
        self.scaler.scale(loss).backward()
        return loss

    def after_validation(self, loss: float) -> None:
        """Pass the validation loss to a schedule that follows it."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimiser, schedule, gradient scaler and averaged weights.

        It is the same for recorded steps and others: a run may go on where the other kind ended.
        """
        return {name: plain_state(part.state_dict()) for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned; other entries of `state` are ignored."""
        for name, part in self._stateful().items():
            if part is self.optimizer:
                load_optimizer_state(self.optimizer, state[name])
            else:
                part.load_state_dict(state[name])
        for recorder in self._recorders.values():
            recorder.forget()

    def _stateful(self) -> dict[str, Any]:
        stateful = {name: getattr(self, name) for name in ("optimizer", "scheduler", "scaler")}
        return stateful if self._average is None else {**stateful, "averaged": self._average}
