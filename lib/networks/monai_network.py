"""Networks of `monai.networks.nets` as tasks of this app have them: one map each, as logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lib.errors import InputError
from lib.tasks.monai_spec import MonaiSpec


def make(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Return a network of MONAI's with random weights.

    Args:
        name: one of `lib.tasks.monai_spec.CLASSES`.
        arguments: that `lib.tasks.monai_spec.check_arguments` accepts.

    Raises:
        InputError: the class does not take these arguments.
    """
    from monai.networks import nets  # takes seconds

    made = getattr(nets, name)
    try:
        network: nn.Module = made(**arguments)
    except Exception as error:  # its checks are many, and of many types
        cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"MONAI's {name} does not take these arguments: {cause}") from None
    return network


class MonaiNetwork(nn.Module):
    """A network of MONAI's whose channels became the maps of a task.

    Input `(N, 1, *spatial)`, axes in array order, about 0..1, sides that `spec.output_size`
    accepts. Output are logits `(N, maps, *spatial)`; the sigmoid of each is the probability that
    the network's own activation gives.

    With several structures the first map is the foreground. Its sigmoid is at least 0.5 exactly
    where the likeliest channel is no background (softmax), or where any channel's probability is
    (sigmoid).

    Attributes:
        network: MONAI's.
    """

    def __init__(self, spec: MonaiSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = make(spec.monai, dict(spec.arguments))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` of shape `(N, 1, *spatial)` to logits `(N, maps, *spatial)`."""
        low, high = self.spec.greys
        if (low, high) != (0.0, 1.0):
            x = low + (high - low) * x
        order = (0, 1, *reversed(range(2, x.ndim)))
        mirrored = self.spec.axes == "xyz"
        y = self.network(x.permute(order).contiguous() if mirrored else x)
        if y.ndim > x.ndim:  # deep supervision in training: the finest comes first
            y = y[:, 0]
        logits = as_maps(y, self.spec.activation)
        return logits.permute(order).contiguous() if mirrored else logits

    @property
    def fine(self) -> list[nn.Module]:
        """The first three convolutions, whose maps show the look of an image."""
        return self._convolutions()[:3]

    @property
    def coarse(self) -> list[nn.Module]:
        """The widest convolution, at the coarsest level."""
        return [max(self._convolutions(), key=lambda module: module.out_channels)]

    def _convolutions(self) -> list[Any]:
        kinds = (nn.Conv2d, nn.Conv3d)
        return [module for module in self.network.modules() if isinstance(module, kinds)]


def maps_of(channels: int, activation: str) -> int:
    """Return how many maps a task has whose network answers so many channels."""
    structures = channels - (activation == "softmax")
    return structures if structures == 1 else structures + 1


def as_maps(channels: Tensor, activation: str) -> Tensor:
    """Return the logits of a task's maps, `(N, maps, *spatial)`, of a network's channels.

    Args:
        channels: logits `(N, channels, *spatial)`; at least two for ``softmax``.
        activation: as in `MonaiSpec`.
    """
    if activation == "sigmoid":
        if channels.shape[1] == 1:
            return channels
        return torch.cat((channels.amax(1, keepdim=True), channels), dim=1)
    background, structures = channels[:, :1], channels[:, 1:]
    foreground = structures.amax(1, keepdim=True) - background
    if structures.shape[1] == 1:
        return foreground
    each = []
    for index in range(1, channels.shape[1]):  # the log odds of each structure
        others = torch.cat((channels[:, :index], channels[:, index + 1 :]), dim=1)
        each.append(channels[:, index : index + 1] - others.logsumexp(1, keepdim=True))
    return torch.cat((foreground, *each), dim=1)
