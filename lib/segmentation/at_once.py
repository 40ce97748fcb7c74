"""How many images a network answers in one batch: one on a CPU, as many as fit well on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lib.tasks.monai_spec import MonaiSpec
from lib.tasks.network_spec import EncoderDecoderSpec

MOST = 16
SHARE = 0.25  # of the device's free memory
_MAPS = 10  # of full size and float32 that a network holds at once, by channel of its finest level


def images_at_once(
    shape: Sequence[int], spec: EncoderDecoderSpec | MonaiSpec, device: torch.device
) -> int:
    """Return how many images or tiles `(*spatial)` to answer in one batch.

    A network holds most at its finest level: what it kept of the encoder, what comes from below,
    both joined, and what it makes of them. The estimate is generous.
    """
    if device.type != "cuda" or isinstance(spec, MonaiSpec):  # whose maps are not told
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    bytes_each = math.prod(shape) * spec.channels[0] * spec.decoder_width * _MAPS * 4
    return max(1, min(MOST, int(free * SHARE / bytes_each)))
