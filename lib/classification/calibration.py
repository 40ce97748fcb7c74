"""Temperature scaling of a classifier's logits, fitted on validation cases.

Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", section 4.2.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from lib.classification.rules import softmax

RANGE = (0.5, 10.0)
PRIOR = math.log(2.0)  # standard deviation of the logarithm of the temperature, before any case


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature that is likeliest after these cases, within `RANGE`.

    It minimises the cross-entropy summed over the cases and (log T / `PRIOR`)^2 / 2: a log-normal
    prior about 1 keeps a few cases, all right, from making it sure of all.

    Args:
        logits: `(cases, classes)`.
        truth: `(cases)`, classes as integers.

    Returns:
        1 without a case.
    """
    if not len(truth):
        return 1.0
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        answer = softmax(logits, math.exp(log_temperature))[rows, truth]
        surprise = -float(np.log(np.maximum(answer, 1e-12)).sum())
        return surprise + (log_temperature / PRIOR) ** 2 / 2

    bounds = (math.log(RANGE[0]), math.log(RANGE[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))
