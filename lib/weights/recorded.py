"""A network's answers on a GPU, replayed as CUDA graphs for shapes of images that come again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib.weights.capture import Recorder, Tape

WARM_UP = 2  # answers of a shape before it is recorded
MOST_SHAPES = 8
MOST_PIXELS = 2**20  # of a batch; a larger one computes for longer than it takes to launch


class RecordedForward:
    """Returns what `forward` does, recorded for each shape of batch that comes again.

    Sides are what they are: zeros beyond them would change what convolutions and normalisation see
    near borders. They are multiples of the network's divisor, so images of many sizes share few
    shapes. Along the batch zeros change nothing: batches of 3 are answered as such of 4, of up to 8
    as such of 8 and so on.

    One thread at a time may call it.

    Args:
        forward: takes tensors `(N, channels, *spatial)` on `device` that agree in `N`, and returns
            `(N, maps, *spatial)`; each of the N answers depends on its own inputs alone.
        tape: what to record on.
    """

    def __init__(self, forward: Callable[..., Tensor], device: torch.device, tape: Tape) -> None:
        self._forward = forward
        self._recorder = Recorder(
            forward, device, tape, "The network's answer", WARM_UP, MOST_SHAPES, replaced=True
        )

    @property
    def shapes(self) -> int:
        """How many shapes are recorded."""
        return self._recorder.recorded

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return what `forward` does; see there."""
        count, pixels = len(inputs[0]), math.prod(inputs[0].shape[2:])
        whole = 1 << (count - 1).bit_length()
        if count == 0 or whole * pixels > MOST_PIXELS:
            return self._forward(*inputs)
        if whole > count:
            inputs = tuple(
                torch.cat((part, part.new_zeros((whole - count, *part.shape[1:]))))
                for part in inputs
            )
        return self._recorder(inputs)[:count]
