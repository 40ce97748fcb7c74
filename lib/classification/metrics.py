"""Figures of merit of a classifier, each named for what it is.

All figures take weights of the cases, one row for each bootstrap resample, so that a figure and its
interval come from one computation. Scikit-learn has most of them for one row of weights; for the
2,000 resamples of an interval it is some 300 times slower, so they are computed here and checked
against it in the tests.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_curve

from lib.statistics import roc_auc, weighted_kappa

BINS = 10
FIGURES = ("accuracy", "balanced_accuracy", "kappa", "auc", "calibration_error", "likelihood")


def class_figures(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the figures of classified cases, each `(resamples)`.

    * ``accuracy``.
    * ``balanced_accuracy``: the mean recall of the classes that have cases.
    * ``kappa``: Cohen's kappa with quadratic weights (Cohen 1968); 0 where all cases are of one
      class.
    * ``auc``: the area under the ROC curve; with more than two classes the mean of each class
      against the others; 0.5 where all cases are of one class.
    * ``calibration_error``: the expected calibration error in 10 bins of confidence (Guo et al.
      2017).
    * ``likelihood``: the geometric mean of the probability of the true class.

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
    of_truth = probabilities[np.arange(len(truth)), truth]
    return {
        "accuracy": np.trace(matrices, axis1=1, axis2=2) / total,
        "balanced_accuracy": _balanced(matrices),
        "kappa": weighted_kappa(matrices, power=2),
        "auc": _mean_auc(truth, probabilities, weights),
        "calibration_error": _calibration_error(truth, probabilities, weights),
        "likelihood": np.exp(weights @ np.log(np.maximum(of_truth, 1e-12)) / total),
    }


def confusions(
    truth: np.ndarray, answered: np.ndarray, classes: int, weights: np.ndarray
) -> np.ndarray:
    """Return confusion matrices `(resamples, true class, answered class)` of weighted counts."""
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth * classes + answered] = 1
    return (weights @ cells).reshape(len(weights), classes, classes)


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float]]:
    """Return the bins of a reliability plot that hold cases: confidence, accuracy, cases."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = _bins(confidence)
    return [
        {
            "confidence": float(confidence[bins == index].mean()),
            "accuracy": float(right[bins == index].mean()),
            "cases": int((bins == index).sum()),
        }
        for index in np.unique(bins)
    ]


def roc(positive: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Return the ROC curve from (0, 0) to (1, 1), with one point for each distinct score.

    Args:
        positive: boolean `(cases)`; at least one case is positive and one is not.
        scores: `(cases)`, higher where the case is likelier positive.
    """
    false_positives, true_positives, _ = roc_curve(positive, scores, drop_intermediate=False)
    return {
        "false_positive_rate": false_positives.tolist(),
        "true_positive_rate": true_positives.tolist(),
    }


def _balanced(matrices: np.ndarray) -> np.ndarray:
    cases = matrices.sum(2)
    recalls = np.diagonal(matrices, axis1=1, axis2=2) / np.maximum(cases, 1e-12)
    return recalls.sum(1) / np.maximum((cases > 0).sum(1), 1)


def _mean_auc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    classes = probabilities.shape[1]
    areas = np.array(
        [
            roc_auc(truth == index, probabilities[:, index], weights)
            for index in range(1 if classes == 2 else 0, classes)
        ]
    )
    defined = (~np.isnan(areas)).sum(0)
    return np.where(defined > 0, np.nansum(areas, 0) / np.maximum(defined, 1), 0.5)


def _calibration_error(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    in_bin = (_bins(confidence)[:, None] == np.arange(BINS)).astype(float)
    gaps = weights @ (in_bin * (confidence - right)[:, None])
    return np.abs(gaps).sum(1) / np.maximum(weights.sum(1), 1e-12)


def _bins(confidence: np.ndarray) -> np.ndarray:
    return np.minimum((confidence * BINS).astype(int), BINS - 1)
