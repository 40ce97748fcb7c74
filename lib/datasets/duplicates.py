"""Find images that show the same thing: copies, other crops, frames a moment apart.

An image becomes a small signature, free of brightness and gain: what differs from its own
surroundings, in units of the local contrast, cut off so that burned-in marks weigh little. Two
signatures are compared by their largest normalised correlation over small shifts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from PIL import Image as PillowImage
from scipy import ndimage

SIDE = 64  # of the signature
REACH = 8  # largest shift that is tried, pixels of the signature
# Measured on 547 images of BUSI: the 125 pairs from 0.30 up, all looked at, seem of one patient; at
# 0.29 other patients begin. Copies lie above 0.8, of other crop or with other marks above 0.55.
SAME_VIEW = 0.30
SAME_FRAME = 0.8


@dataclass(frozen=True)
class Pair:
    """Two images that show the same; `a` and `b` are places in the sequence compared.

    Attributes:
        correlation: of their signatures, up to 1.
    """

    a: int
    b: int
    correlation: float


def signature(pixels: np.ndarray) -> np.ndarray:
    """Return the signature of a grey image `(rows, columns)`: float32 `(64, 64)` of norm 1.

    An image without any structure gives zeros, which correlate with nothing.
    """
    picture = PillowImage.fromarray(pixels.astype(np.float32))
    small = np.asarray(picture.resize((SIDE, SIDE), PillowImage.Resampling.BOX))
    span = float(small.max() - small.min())
    if span == 0:
        return np.zeros((SIDE, SIDE), np.float32)
    detail = (small - ndimage.gaussian_filter(small, 4)) / span
    contrast = np.sqrt(ndimage.gaussian_filter(detail * detail, 4)) + 0.012
    clipped = np.clip(detail / contrast, -2, 2)
    clipped -= clipped.mean()
    return (clipped / max(float(np.linalg.norm(clipped)), 1e-12)).astype(np.float32)


def similar_pairs(
    signatures: Sequence[np.ndarray], threshold: float = SAME_VIEW, reach: int = REACH
) -> list[Pair]:
    """Return the pairs whose correlation is at least `threshold`, the most alike first.

    Args:
        reach: largest shift up, down, left or right, pixels of the signature.
    """
    if len(signatures) < 2:
        return []
    side = scipy.fft.next_fast_len(SIDE + reach, real=True)  # zeros about it: nothing wraps round
    spectra = scipy.fft.rfft2(np.stack(signatures).astype(np.float32), (side, side))
    shifts = np.arange(-reach, reach + 1) % side
    pairs = []
    for a in range(len(signatures) - 1):
        products = scipy.fft.irfft2(spectra[a].conj() * spectra[a + 1 :], (side, side))
        best = products[:, shifts][:, :, shifts].max(axis=(1, 2))
        pairs += [
            Pair(a, a + 1 + int(b), float(best[b])) for b in np.flatnonzero(best >= threshold)
        ]
    return sorted(pairs, key=lambda pair: -pair.correlation)


def groups_of(count: int, pairs: Iterable[Pair]) -> list[int]:
    """Return for each of `count` images the smallest place of its group.

    Images that are linked through others are in one group.
    """
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for pair in pairs:
        low, high = sorted((root(pair.a), root(pair.b)))
        parent[high] = low
    return [root(place) for place in range(count)]


def read_signature(path: Path) -> np.ndarray:
    """Return the signature of an image file."""
    from lib.datasets.stacks import grey
    from lib.io.read import read_image

    return signature(grey(read_image(path).pixels))
