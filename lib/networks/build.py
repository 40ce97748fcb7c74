"""From a network spec to a module."""

from __future__ import annotations

from torch import nn

from lib.networks.encoder_decoder import EncoderDecoder
from lib.tasks import EncoderDecoderSpec


def build_network(spec: EncoderDecoderSpec) -> nn.Module:
    """Return a freshly initialised network for `spec`.

    Seed torch before calling to make the weights reproducible.
    """
    return EncoderDecoder(spec)
