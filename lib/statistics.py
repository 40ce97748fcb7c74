"""Means and intervals that several rooms report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np


def bootstrap_weights(groups: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Return how often each case counts in each resample of groups (patients) with replacement.

    Returns:
        `(resamples + 1, cases)`; the first row is every case once.
    """
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    count = len(names)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.vstack((np.ones((1, len(places))), draws[:, places]))


def mean_and_sd(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and sample standard deviation of each figure over `rows` (folds, seeds).

    The deviation of a single row is not known: NaN would not survive JSON, so it is left out.
    """
    table: dict[str, dict[str, float]] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if math.isfinite(row[name])]
        if values:
            table[name] = {"mean": statistics.fmean(values)}
        if len(values) > 1:
            table[name]["sd"] = statistics.stdev(values)
    return table


RESAMPLES = 2000
CONFIDENCE = 0.95
