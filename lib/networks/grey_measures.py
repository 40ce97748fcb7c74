"""Greys and texture of a breast as the features of a classifier: nothing to learn but its head.

With a hundred exams a network of convolutions has little to learn from. Histograms and texture told
densities before there were such networks (Byng et al. 1996, "Automated analysis of mammographic
densities", Phys. Med. Biol. 41, 909; Karssemeijer 1998, "Automated classification of parenchymal
patterns in mammograms", Phys. Med. Biol. 43, 365), and a linear head is all that they need.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BINS = 32  # of the histogram of greys, evenly from 0 to 1
OCTAVES = 5  # of the texture: details of some 1, 2, 4, 8 and 16 pixels
CELL = 2**OCTAVES  # pixels of the image to one of the maps, along each side
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)  # quantiles that the head sees
SOFTNESS = 0.03  # of the quantiles, as a share of the breast: their gradient reaches all greys
LEAST = 1e-4  # of a texture, so that it has a logarithm


def maps_of(in_channels: int) -> int:
    """Return the maps that `GreyMaps` makes of an image with so many channels."""
    return in_channels * BINS + 2 * OCTAVES + 1


def measures_of(in_channels: int) -> int:
    """Return the measures that `Measures` makes of these maps."""
    return in_channels * len(SHARES) + 2 * OCTAVES + 1


class GreyMaps(nn.Module):
    """Measures of each part of a breast: `(N, channels, H, W)` to `(N, maps_of, H / 32, W / 32)`.

    The input is 0..1 in the breast and 0 outside. A pixel of a map is the mean over the part of the
    breast that lies in its cell. The maps are, in this order,

    * for each grey of `BINS` and each channel, the share of pixels that are brighter, counted
      softly over the width of a bin, on half the resolution;
    * for each octave of the Laplacian pyramid (Burt and Adelson 1983, IEEE Trans. Commun. 31, 532)
      of the first channel, how much brighter than its surroundings it is where it is brighter, and
      how much darker where it is darker;
    * the share of the whole image that the breast fills.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, float32 whatever the precision: fine texture is lost in less."""
        with torch.autocast(x.device.type, enabled=False):
            return self._maps(x.float().contiguous())

    def _maps(self, x: Tensor) -> Tensor:
        breast = (x > 0).any(1, keepdim=True).to(x.dtype)
        filled = breast.mean((2, 3), keepdim=True)
        below, beside = (-side % CELL for side in x.shape[2:])
        x, breast = (functional.pad(one, (0, beside, 0, below)) for one in (x, breast))
        cells = functional.avg_pool2d(breast, CELL)
        maps = [*_brighter(x, breast), *_texture(x[:, :1], breast)]
        inside = torch.cat(maps, 1) / cells.clamp_min(LEAST)
        return torch.cat((inside, filled.expand_as(cells)), 1)


def _brighter(x: Tensor, breast: Tensor) -> list[Tensor]:
    """Return for each grey the sum over each cell of pixels that are brighter, over its size."""
    grey, weight = _halved(x, breast)
    return [
        functional.avg_pool2d((grey * BINS - number).clamp(0, 1) * weight, CELL // 2)
        for number in range(BINS)
    ]


def _texture(grey: Tensor, breast: Tensor) -> list[Tensor]:
    """Return for each octave the sums of what is brighter and what is darker, over the cell."""
    maps = []
    for octave in range(OCTAVES):
        coarse, weight = _halved(grey, breast)
        known = (weight > 0).to(grey.dtype)
        smooth = _doubled(coarse * known) / _doubled(known).clamp_min(LEAST)
        detail = (grey - smooth) * (breast > 0.99)
        maps += [
            functional.avg_pool2d(functional.relu(one), CELL >> octave) for one in (detail, -detail)
        ]
        grey, breast = coarse, weight
    return maps


def _doubled(grey: Tensor) -> Tensor:
    return functional.interpolate(grey, scale_factor=2.0, mode="bilinear")


def _halved(grey: Tensor, breast: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means over the breast of 2x2 pixels each, and how much breast they are."""
    weight = functional.avg_pool2d(breast, 2)
    return functional.avg_pool2d(grey * breast, 2) / weight.clamp_min(LEAST), weight


class Measures(nn.Module):
    """Measures of the whole breast, `(N, measures_of)`, of maps whose mean is that over the breast.

    Of the means it makes quantiles of the greys and logarithms of the textures. A quantile is the
    integral over the greys of whether fewer than its share are brighter.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels

    def forward(self, maps: Tensor) -> Tensor:
        """Return the measures, float32 whatever the precision around."""
        with torch.autocast(maps.device.type, enabled=False):
            mean = maps.float().mean((2, 3))
            brighter = mean[:, : BINS * self.in_channels].unflatten(1, (BINS, self.in_channels))
            shares = 1 - mean.new_tensor(SHARES)
            quantiles = torch.sigmoid((brighter.unsqueeze(3) - shares) / SOFTNESS).mean(1)
            texture = mean[:, BINS * self.in_channels : -1]
            return torch.cat((quantiles.flatten(1), (texture + LEAST).log(), mean[:, -1:]), 1)


class Standardised(nn.BatchNorm1d):
    """Each measure less its mean over the training, the mean of all steps, over its deviation."""

    def __init__(self, measures: int) -> None:
        super().__init__(measures, affine=False, momentum=None)

    def forward(self, measures: Tensor) -> Tensor:
        """Return the measures by their batch in training, if it has a spread, else by all steps."""
        if self.training and len(measures) == 1:
            return functional.batch_norm(measures, self.running_mean, self.running_var)
        return super().forward(measures)
