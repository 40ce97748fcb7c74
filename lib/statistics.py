"""Means, intervals and areas under ROC curves, for the figures of several rooms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000  # of the bootstrap
CONFIDENCE = 0.95  # of its intervals


def bootstrap_weights(groups: Sequence[str | int], resamples: int, seed: int) -> np.ndarray:
    """Return how often each case counts in each resample of the groups, with replacement.

    Args:
        groups: the group of each case, such as its patient, or its index to resample cases.

    Returns:
        `(resamples + 1, cases)`; the first row is every case once.
    """
    names, group_of_case = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    count = len(names)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.vstack((np.ones((1, len(group_of_case))), draws[:, group_of_case]))


def interval(values: Sequence[float] | np.ndarray) -> tuple[Any, Any]:
    """Return the bounds between which the middle `CONFIDENCE` share of the resamples lies.

    Args:
        values: `(resamples, ...)`.

    Returns:
        The lower and the upper bound, each `(...)`.
    """
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, (tail, 100 - tail), axis=0)
    return low, high


def roc_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve for each row of weights.

    Scikit-learn's `roc_auc_score` gives the same for one row, but takes seconds for the thousands
    of a bootstrap.

    Args:
        positive: boolean `(cases)`.
        scores: `(cases)`, higher where the case is likelier positive.
        weights: `(..., cases)`, how often each case counts.

    Returns:
        `(...)`, 0..1; NaN where the weighted cases are all positive or all negative.
    """
    order = np.argsort(scores)
    first_of_score = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    hits, misses = (
        np.add.reduceat((weights * chosen)[..., order], first_of_score, axis=-1)
        for chosen in (positive, ~positive)
    )
    below = misses.cumsum(-1) - misses / 2  # a pair of equal scores counts half
    pairs = hits.sum(-1) * misses.sum(-1)
    return np.where(pairs > 0, (hits * below).sum(-1) / np.maximum(pairs, 1e-12), np.nan)


def weighted_kappa(matrices: np.ndarray, power: int = 0, undefined: float = 0.0) -> np.ndarray:
    """Return Cohen's kappa (1960, 1968) of confusion matrices.

    Args:
        matrices: `(..., classes, classes)`, counts.
        power: a confusion costs the distance of its classes to this power: 1 and 2 are linear and
            quadratic weights, with 0 all confusions cost the same.
        undefined: the value where all cases are of one class.

    Returns:
        `(...)`, at most 1.
    """
    classes = np.arange(matrices.shape[-1])
    distance = np.abs(np.subtract.outer(classes, classes)).astype(float)
    cost = np.where(distance > 0, distance**power, 0.0)
    total = np.maximum(matrices.sum((-2, -1)), 1e-12)[..., None, None]
    chance = matrices.sum(-1)[..., :, None] * matrices.sum(-2)[..., None, :] / total
    observed, expected = ((cost * counts).sum((-2, -1)) for counts in (matrices, chance))
    return np.where(expected > 0, 1 - observed / np.maximum(expected, 1e-12), undefined)


def mean_and_sd(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and sample standard deviation of each figure over `rows` (folds, seeds).

    The deviation of a single row is undefined. It is left out, as JSON has no NaN.
    """
    table: dict[str, dict[str, float]] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if math.isfinite(row[name])]
        if values:
            table[name] = {"mean": statistics.fmean(values)}
        if len(values) > 1:
            table[name]["sd"] = statistics.stdev(values)
    return table
