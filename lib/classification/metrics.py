"""Figures of merit of a classifier, each named for what it is.

All take weights of the cases, one row for each bootstrap resample, so that figures and intervals
come from one computation.
"""

from __future__ import annotations

import numpy as np

BINS = 10
FIGURES = ("accuracy", "balanced_accuracy", "kappa", "auc", "calibration_error", "likelihood")


def class_figures(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the figures of classified cases, each `(resamples)`.

    ``accuracy``; ``balanced_accuracy``, the mean over the classes present of each one's recall;
    ``kappa``, Cohen's with quadratic weights (Cohen 1968), 0 where all are of one class; ``auc``,
    the area under the ROC curve, of several classes the mean of each against the others, 0.5 where
    all are of one class; ``calibration_error``, expected, in 10 bins of confidence (Guo et al.
    2017); ``likelihood``, the geometric mean of the probability of the true class.

    Args:
        truth: `(cases)`, classes as integers.
        probabilities: `(cases, classes)`, 0..1.
        weights: `(resamples, cases)`, how often each case counts; None counts each once.
    """
    if weights is None:
        weights = np.ones((1, len(truth)))
    weights = np.asarray(weights, np.float64)
    matrices = confusions(truth, probabilities.argmax(1), probabilities.shape[1], weights)
    total = np.maximum(weights.sum(1), 1e-12)
    given = probabilities[np.arange(len(truth)), truth]
    return {
        "accuracy": np.trace(matrices, axis1=1, axis2=2) / total,
        "balanced_accuracy": _balanced(matrices),
        "kappa": _kappa(matrices),
        "auc": _auc(truth, probabilities, weights),
        "calibration_error": _calibration_error(truth, probabilities, weights),
        "likelihood": np.exp(weights @ np.log(np.maximum(given, 1e-12)) / total),
    }


def confusions(
    truth: np.ndarray, answered: np.ndarray, classes: int, weights: np.ndarray
) -> np.ndarray:
    """Return counts `(resamples, true class, answered class)`."""
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth * classes + answered] = 1
    return (weights @ cells).reshape(len(weights), classes, classes)


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float]]:
    """Return the bins of a reliability plot that hold a case: confidence, accuracy, cases."""
    sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    places = _bins(sure)
    return [
        {
            "confidence": float(sure[places == place].mean()),
            "accuracy": float(right[places == place].mean()),
            "cases": int((places == place).sum()),
        }
        for place in np.unique(places)
    ]


def roc(positive: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Return the ROC curve from (0, 0) to (1, 1), a point for each score that there is.

    Args:
        positive: `(cases)`, whether the case is of the class; of both there is one at least.
        scores: `(cases)`, higher where the class is likelier.
    """
    cuts = np.unique(scores)[::-1]
    found = scores[None] >= cuts[:, None]
    rates = [(found & part).sum(1) / part.sum() for part in (~positive, positive)]
    wrong, right = ([0.0, *rate.tolist()] for rate in rates)
    return {"false_positive_rate": wrong, "true_positive_rate": right}


def _balanced(matrices: np.ndarray) -> np.ndarray:
    cases = matrices.sum(2)
    recalls = np.diagonal(matrices, axis1=1, axis2=2) / np.maximum(cases, 1e-12)
    return recalls.sum(1) / np.maximum((cases > 0).sum(1), 1)


def _kappa(matrices: np.ndarray) -> np.ndarray:
    classes = matrices.shape[1]
    away = np.subtract.outer(np.arange(classes), np.arange(classes)) ** 2.0
    total = np.maximum(matrices.sum((1, 2)), 1e-12)
    chance = matrices.sum(2)[:, :, None] * matrices.sum(1)[:, None, :] / total[:, None, None]
    found, expected = ((away * counts).sum((1, 2)) for counts in (matrices, chance))
    return np.where(expected > 0, 1 - found / np.maximum(expected, 1e-12), 0.0)


def _auc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    classes = probabilities.shape[1]
    total, known = np.zeros(len(weights)), np.zeros(len(weights))
    for place in range(1 if classes == 2 else 0, classes):
        positive = truth == place
        scores = probabilities[:, place]
        above = np.sign(scores[positive][:, None] - scores[~positive][None]) / 2 + 0.5
        pairs = weights[:, positive].sum(1) * weights[:, ~positive].sum(1)
        won = ((weights[:, positive] @ above) * weights[:, ~positive]).sum(1)
        total += np.where(pairs > 0, won / np.maximum(pairs, 1e-12), 0)
        known += pairs > 0
    return np.where(known > 0, total / np.maximum(known, 1), 0.5)


def _calibration_error(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    inside = (_bins(sure)[:, None] == np.arange(BINS)).astype(float)
    gaps = weights @ (inside * (sure - right)[:, None])
    return np.abs(gaps).sum(1) / np.maximum(weights.sum(1), 1e-12)


def _bins(sure: np.ndarray) -> np.ndarray:
    return np.minimum((sure * BINS).astype(int), BINS - 1)
