"""The exponential moving average of the weights, without a word from the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """The moving average of a network's weights and buffers, stored as torch's `AveragedModel` is.

    The first step starts it. After n steps the decay is at most (1 + n) / (10 + n), so that the
    random start does not dominate the average of a short run. Torch's own update hands the count
    of steps to the device and reads it back, in every step; here the host counts.

    Args:
        network: on the device where it is trained.
        decay: per step, 0..1.
        recorded: keep the decay in a tensor on that device, so that a recorded `blend` reads the
            value of each step.
    """

    def __init__(self, network: nn.Module, decay: float, recorded: bool = False) -> None:
        super().__init__(network, use_buffers=True)
        self._most = decay
        self._decay: float | Tensor = 0.0
        if recorded:
            self._decay = torch.zeros((), device=next(network.parameters()).device)

    def count_step(self) -> None:
        """Set the decay of the next step: what the host does of it."""
        steps = int(self.n_averaged)  # it stays on the CPU
        decay = min(self._most, (1 + steps) / (10 + steps)) if steps else 0.0
        if isinstance(self._decay, Tensor):
            self._decay.fill_(decay)
        else:
            self._decay = decay
        self.n_averaged += 1

    @torch.no_grad()
    def blend(self, network: nn.Module) -> None:
        """Move the average towards the weights of `network`: what the device does of a step."""
        averaged = [*self.module.parameters(), *self.module.buffers()]
        current = [*network.parameters(), *network.buffers()]
        real = [index for index, value in enumerate(averaged) if value.is_floating_point()]
        _blend([averaged[index] for index in real], [current[index] for index in real], self._decay)
        for index in set(range(len(averaged))) - set(real):  # counts of batches
            share = averaged[index] * self._decay + current[index] * (1 - self._decay)
            averaged[index].copy_(share)


def _blend(averaged: list[Tensor], current: list[Tensor], decay: float | Tensor) -> None:
    if isinstance(decay, Tensor):  # with a weight that is no number, lerp is a kernel for each
        difference = torch._foreach_sub(current, averaged)
        torch._foreach_mul_(difference, 1 - decay)
        torch._foreach_add_(averaged, difference)
    elif decay:
        torch._foreach_lerp_(averaged, current, 1 - decay)
    else:
        torch._foreach_copy_(averaged, current)
