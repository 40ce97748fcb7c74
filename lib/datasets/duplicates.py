"""Find images that show the same thing: copies, other crops, frames a moment apart.

Each image becomes a small signature that does not depend on brightness or gain: the difference of
each pixel from its surroundings, divided by the local contrast, and clipped so that burned-in marks
weigh little. Two signatures are compared by their largest normalised correlation over small shifts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from PIL import Image as PillowImage
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lib.datasets.stacks import grey
from lib.io.read import read_image

SIDE = 64  # of the signature
REACH = 8  # largest shift that is tried, pixels of the signature
# Measured on 547 images of BUSI. All 125 pairs from 0.30 up were looked at: each seems to be of one
# patient; at 0.29 pairs of different patients begin. Copies lie above 0.8; copies with another crop
# or other marks above 0.55.
SAME_VIEW = 0.30
SAME_FRAME = 0.8
DARK, BRIGHT_SHARE = 0.04, 0.05  # of the brightest; of a line that is no margin


@dataclass(frozen=True)
class Pair:
    """Two images that show the same.

    Attributes:
        a, b: indices of the images in the sequence compared.
        correlation: of their signatures, up to 1.
    """

    a: int
    b: int
    correlation: float


def signature(pixels: np.ndarray) -> np.ndarray:
    """Return the signature of a grey image `(rows, columns)`: float32 `(64, 64)` of norm 1.

    A constant image gives zeros, which correlate with nothing.
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
    """Return the pairs whose correlation is at least `threshold`, the highest first.

    Args:
        reach: largest shift up, down, left or right, pixels of the signature.
    """
    if len(signatures) < 2:
        return []
    side = scipy.fft.next_fast_len(SIDE + reach, real=True)  # padded with zeros: nothing wraps
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
    """Return for each of `count` images the smallest index of its group.

    Images that are linked through others are in one group.
    """
    links = np.array([(pair.a, pair.b) for pair in pairs], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), (count, count))
    _, members = connected_components(graph, directed=False)
    _, smallest, group = np.unique(members, return_index=True, return_inverse=True)
    return [int(index) for index in smallest[group]]


def read_signature(path: Path, cropped: bool = False) -> np.ndarray:
    """Return the signature of an image file.

    Args:
        cropped: leave out the dark margin, whose shape is the same in many frames of a scanner and
            makes them look alike. Of 204 nerve frames 771 pairs correlate by 0.30 or more with it
            and 30 without it, 25 of these above 0.65.
    """
    pixels = grey(read_image(path).pixels)
    return signature(_without_margin(pixels) if cropped else pixels)


def _without_margin(pixels: np.ndarray) -> np.ndarray:
    """Return the part of a grey image that is not dark; all of it where nothing is bright."""
    bright = pixels > DARK * pixels.max(initial=0)
    inside = [np.flatnonzero(bright.mean(axis) > BRIGHT_SHARE) for axis in (1, 0)]
    if not all(len(lines) > 1 for lines in inside):
        return pixels
    rows, columns = (slice(lines[0], lines[-1] + 1) for lines in inside)
    return pixels[rows, columns]
