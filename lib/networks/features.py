"""What an image is like to an encoder-decoder: its maps, averaged over the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.networks.encoder_decoder import EncoderDecoder


def pooled(levels: Sequence[Tensor]) -> Tensor:
    """Return the mean of every map of every level, float32 `(N, features)`.

    Args:
        levels: maps `(N, channels, *spatial)`, as `EncoderDecoder.encode` returns them.
    """
    means = [level.flatten(2).mean(2, dtype=torch.float32) for level in levels]
    return torch.cat(means, dim=1)


class WithFeatures(nn.Module):
    """An encoder-decoder that answers what it makes of an image beside its logits.

    Args:
        network: whose weights it shares.
    """

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, guidance: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits as `EncoderDecoder.forward` does, and `pooled` features."""
        logits, levels = self.network(x, guidance, with_levels=True)
        return logits, pooled(levels)
