"""Which axes images may be mirrored along: those along which they look alike mirrored."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy import stats
from torch.nn import functional

SIDE = 16  # parts along each axis in which images are compared
CLEAR_DROP = 0.1  # of the mean correlation, from which mirrored images look another way
LEAST_DROP = 0.01  # the least that counts where it is not by chance
CHANCE = 0.01  # probability by chance below which it is not
TESTED = 3  # images from which chance is asked for; of two each is as unlike as the other


def unlike_axes(images: Iterable[np.ndarray], axes: int) -> tuple[int, ...]:
    """Return the axes along which images look less like each other when one is mirrored.

    Where a scanner puts depth is a matter of its files: rows, columns or slices. The images tell:
    along depth, and wherever else bodies differ between one side and the other, a mirrored one no
    longer looks like the others. Each image is averaged in `SIDE` parts along each axis and
    compared with the mean of the others by Pearson's correlation, as it is and mirrored. An axis is
    returned where the mean over all images falls by `CLEAR_DROP`, or by `LEAST_DROP` and not by
    chance (a paired t-test, one-sided).

    Args:
        images: `(channels, *spatial)`, of any sizes; one with more spatial axes than `axes` counts
            as the mean of its slices.
        axes: number of the last axes that may be mirrored, 1 to 3.

    Returns:
        numbers of axes, counted from the first of those; all where there is no second image with
        any contrast to compare with.
    """
    reduced = [_reduced(image, axes) for image in images]
    standard = [(one - one.mean()) / one.std() for one in reduced if one.std() > 0]
    if len(standard) < 2:
        return tuple(range(axes))
    total = np.sum(standard, axis=0)
    others = [total - one for one in standard]
    deviations = np.maximum([float(rest.std()) for rest in others], 1e-12)

    def alike(*mirrored: int) -> np.ndarray:
        pairs = zip(standard, others, strict=True)  # all have a mean of 0
        return np.array([np.mean(np.flip(a, mirrored) * b) for a, b in pairs]) / deviations

    def unlike(axis: int) -> bool:
        as_it_is, mirrored = alike(), alike(axis)
        drop = float(np.mean(as_it_is - mirrored))
        if not LEAST_DROP <= drop < CLEAR_DROP or len(standard) < TESTED:
            return drop >= LEAST_DROP
        return bool(stats.ttest_rel(as_it_is, mirrored, alternative="greater").pvalue < CHANCE)

    return tuple(axis for axis in range(axes) if unlike(axis))


def _reduced(image: np.ndarray, axes: int) -> np.ndarray:
    """Return the means of `SIDE` parts along each of the last `axes`, float64."""
    flat = image.astype(np.float32).reshape(-1, *image.shape[image.ndim - axes :]).mean(0)
    pools = (
        functional.adaptive_avg_pool1d,
        functional.adaptive_avg_pool2d,
        functional.adaptive_avg_pool3d,
    )
    pooled: torch.Tensor = pools[axes - 1](torch.from_numpy(flat)[None], SIDE)
    return pooled[0].numpy().astype(np.float64)
