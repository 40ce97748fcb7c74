"""Temperature scaling of a classifier's logits, fitted on validation cases.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", section 4.2.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

RANGE = (0.5, 10.0)
PRIOR = math.log(2.0)  # standard deviation of the prior of the temperature's logarithm


def class_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities, float64, of logits `(cases, classes)`.

    A temperature above 1 draws the probabilities of a case towards each other.
    """
    return softmax(logits.astype(np.float64) / temperature, axis=1)


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature T within `RANGE` that is likeliest in these cases; 1 without a case.

    T minimises the cross-entropy, summed over the cases, plus (log T / `PRIOR`)^2 / 2. That
    log-normal prior about 1 keeps T moderate where the cases are few and all answered rightly.

    Args:
        logits: `(cases, classes)`.
        truth: `(cases)`, classes as integers.
    """
    if not len(truth):
        return 1.0
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        of_truth = class_probabilities(logits, math.exp(log_temperature))[rows, truth]
        cross_entropy = -float(np.log(np.maximum(of_truth, 1e-12)).sum())
        return cross_entropy + (log_temperature / PRIOR) ** 2 / 2

    bounds = (math.log(RANGE[0]), math.log(RANGE[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))
