"""From a network spec to a module."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from lib.devices import keep_freed_memory, memory_format
from lib.network_specs import EncoderDecoderSpec
from lib.networks.encoder_decoder import EncoderDecoder


def build_network(spec: EncoderDecoderSpec) -> nn.Module:
    """Return a freshly initialised network for `spec`.

    Seed torch before calling to make the weights reproducible.
    """
    return EncoderDecoder(spec)


def place_network(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Move `network` to `device`, its layers laid out as computing in `dtype` there is fastest.

    Weights keep their names and values.
    """
    network = network.to(device)
    if device.type == "cpu":
        keep_freed_memory()
    if isinstance(network, EncoderDecoder) and network.spec.spatial_dims == 2:
        network.lay_out(partial(memory_format, device, dtype))
    return network
