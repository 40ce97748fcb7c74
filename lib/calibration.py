"""Temperature scaling of a classifier's logits, fitted on validation cases.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", section 4.2.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from lib.exam_rules import softmax

RANGE = (0.5, 10.0)  # of the temperature: a few cases, all right, must not make it sure of all


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature that gives the least cross-entropy, within `RANGE`.

    The truth counts as (n + 1) / (n + classes) for a class of n cases, the other classes share
    the rest (after Platt 1999, "Probabilistic outputs for support vector machines", section 2.2).

    Args:
        logits: `(cases, classes)`.
        truth: `(cases)`, classes as integers.

    Returns:
        1 without a case.
    """
    if not len(truth):
        return 1.0
    classes = logits.shape[1]
    counts = np.bincount(truth, minlength=classes)[truth][:, np.newaxis]
    target = np.where(np.arange(classes) == truth[:, np.newaxis], counts + 1, 1)
    target = target / target.sum(1, keepdims=True)

    def loss(log_temperature: float) -> float:
        answer = softmax(logits, math.exp(log_temperature))
        return float(-(target * np.log(np.maximum(answer, 1e-12))).sum(1).mean())

    bounds = (math.log(RANGE[0]), math.log(RANGE[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))
