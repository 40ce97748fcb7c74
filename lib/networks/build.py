"""From a network spec to a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from lib.devices import keep_freed_memory, memory_format
from lib.networks.classifiers import MultiViewClassifier
from lib.networks.encoder_decoder import EncoderDecoder
from lib.networks.monai_network import MonaiNetwork
from lib.tasks.monai_spec import MonaiSpec
from lib.tasks.network_spec import ClassifierSpec, EncoderDecoderSpec

NETWORKS: Mapping[type, Callable[[Any], nn.Module]] = {
    EncoderDecoderSpec: EncoderDecoder,
    ClassifierSpec: MultiViewClassifier,
    MonaiSpec: MonaiNetwork,
}


def build_network(spec: EncoderDecoderSpec | ClassifierSpec | MonaiSpec) -> nn.Module:
    """Return a freshly initialised network for `spec`.

    Seed torch before calling to make the weights reproducible.

    Raises:
        TypeError: no network of `NETWORKS` is made from such a spec.
    """
    if type(spec) not in NETWORKS:
        known = ", ".join(spec_class.__name__ for spec_class in NETWORKS)
        raise TypeError(f"no network is made from a {type(spec).__name__}, only from {known}")
    return NETWORKS[type(spec)](spec)


def place_network(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Move `network` to `device`, in the memory format in which computing in `dtype` is fastest.

    The names and values of the weights stay the same.
    """
    network = network.to(device)
    if device.type == "cpu":
        keep_freed_memory()
    if isinstance(network, (EncoderDecoder, MultiViewClassifier)) and network.spec.spatial_dims < 3:
        network.set_memory_format(partial(memory_format, device, dtype))
    return network
