"""How a large image is cut into overlapping tiles, and how their answers are joined again.

Tiles are blended with Gaussian weights, as nnU-Net does (Isensee et al. 2021), divided by their sum
along each axis: tiles lie on a grid, so that the sum over all tiles is the product of those sums.
Weights of a tile are therefore known before any other tile is answered, and an image can be joined
strip by strip, without a map of weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIGMA = 0.125  # standard deviation of the weights, as a share of the side


def tile_side(size: int, longest: int, overlap: int, divisor: int = 1) -> int:
    """Return the side of equal tiles that cover `size` pixels and overlap by at least `overlap`.

    There are as few tiles as possible with sides of at most `longest`. The side is the smallest
    multiple of `divisor` with which that number of tiles suffices.
    """
    if size <= longest:
        return size
    count = math.ceil((size - overlap) / (longest - overlap))
    return min(size, math.ceil((size + (count - 1) * overlap) / count / divisor) * divisor)


@dataclass(frozen=True)
class Axis:
    """The tiles along one axis.

    Attributes:
        side: of a tile, pixels.
        starts: first pixel of each tile, rising.
        weights: float32 `(tiles, side)`; those of all tiles at a pixel add up to 1.
    """

    side: int
    starts: tuple[int, ...]
    weights: np.ndarray

    @staticmethod
    def of(size: int, longest: int, overlap: int, divisor: int = 1) -> Axis:
        """Return the tiles of an axis of `size` pixels; see `tile_side`."""
        side = tile_side(size, longest, overlap, divisor)
        count = 1 if side == size else math.ceil((size - overlap) / max(side - overlap, 1))
        starts = [round(n * (size - side) / max(count - 1, 1)) for n in range(count)]
        away = (np.arange(side) - (side - 1) / 2) / (SIGMA * side)
        bell = np.exp(-0.5 * away**2)
        total = np.zeros(size)
        for start in starts:
            total[start : start + side] += bell
        weights = [bell / total[start : start + side] for start in starts]
        return Axis(side, tuple(starts), np.array(weights, np.float32))

    @property
    def tiles(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The pixels of each tile, and their weights `(side,)`."""
        for start, weights in zip(self.starts, self.weights, strict=True):
            yield slice(start, start + self.side), weights


def tiles_of(axes: list[Axis]) -> Iterator[tuple[tuple[slice, ...], tuple[np.ndarray, ...]]]:
    """Yield the pixels of each tile of a grid, and the weights along each axis, `(side,)`."""
    for parts in itertools.product(*(axis.tiles for axis in axes)):
        yield tuple(part for part, _ in parts), tuple(weights for _, weights in parts)
