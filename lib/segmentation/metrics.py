"""Figures of merit of segmentations, each named for what it is.

Pixel figures come from the counts of true and false positives and negatives. "mean_iou" is the mean
of foreground IoU and background IoU over pooled pixels, as in Tab. 2 of the thesis. "ap50" is the
precision TP / (TP + FP + FN) of matched objects at IoU 0.5, as in the Data Science Bowl 2018; "ap"
is its mean over the IoU thresholds 0.5, 0.55 .. 0.95.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.statistics import roc_auc

AP_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
PIXEL_COUNTS = ("tp", "fp", "fn", "tn")


def pixel_counts(
    prediction: np.ndarray, truth: np.ndarray, labelled: np.ndarray | None = None
) -> dict[str, int]:
    """Return the numbers of pixels, "tp", "fp", "fn", "tn", of two masks of the same shape.

    Args:
        labelled: boolean, of that shape: the pixels that are counted; None counts all.
    """
    prediction, truth = prediction.astype(bool), truth.astype(bool)
    if prediction.shape != truth.shape:
        raise ValueError(f"shapes differ: {prediction.shape} predicted, {truth.shape} expected")
    if labelled is not None:
        prediction, truth = prediction[labelled], truth[labelled]
    tp = int((prediction & truth).sum())
    fp, fn = int(prediction.sum()) - tp, int(truth.sum()) - tp
    return {"tp": tp, "fp": fp, "fn": fn, "tn": truth.size - tp - fp - fn}


def pixel_scores(counts: Mapping[str, float | np.ndarray]) -> dict[str, np.ndarray]:
    """Return the figures that follow from pixel counts.

    Args:
        counts: "tp", "fp", "fn", "tn", as numbers or arrays of one shape.

    Returns:
        mean_iou, fg_iou, bg_iou, fg_dice, accuracy, precision and recall, 0..1, of that shape. A
        ratio 0 / 0 is 1: an empty mask is right where there is no structure.
    """
    tp, fp, fn, tn = (np.asarray(counts[name], dtype=np.float64) for name in PIXEL_COUNTS)
    fg_iou, bg_iou = _ratio(tp, tp + fp + fn), _ratio(tn, tn + fp + fn)
    return {
        "mean_iou": (fg_iou + bg_iou) / 2,
        "fg_iou": fg_iou,
        "bg_iou": bg_iou,
        "fg_dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
    }


def image_scores(
    counts: Mapping[str, np.ndarray],
    presence: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    whole: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the figures of a structure that is absent from some images.

    * ``dice_kaggle``: the mean Dice of the images. For an image without the structure an empty mask
      counts 1 and any other mask 0 (Kaggle's nerve challenge, 2016).
    * ``dice_positive``: the mean Dice of the images with the structure.
    * ``found``: the share of images with the structure whose mask is not empty.
    * ``presence_auc``: the area under the ROC curve of `presence`; 0.5 where all images, or none,
      have the structure.

    Args:
        counts: "tp", "fp", "fn" of every image, `(images)`.
        presence: score of every image, `(images)`, higher where the structure is likelier; None
            leaves ``presence_auc`` out.
        weights: `(..., images)`, how often each image counts; None counts each once.
        whole: boolean `(images)`, which images are labelled everywhere; None for all. Whether the
            others have the structure is unknown if none was labelled: ``presence_auc`` leaves them
            out.

    Returns:
        Each figure `(...)` in 0..1; dice_positive and found are 1 without an image to count.
    """
    tp, fp, fn = (np.asarray(counts[name], dtype=np.float64) for name in ("tp", "fp", "fn"))
    dice, present = _ratio(2 * tp, 2 * tp + fp + fn), tp + fn > 0
    weights = np.ones(len(tp)) if weights is None else weights
    scores = {
        "dice_kaggle": _ratio(weights @ dice, weights.sum(-1)),
        "dice_positive": _ratio(weights @ (dice * present), weights @ present),
        "found": _ratio(weights @ ((tp + fp > 0) & present), weights @ present),
    }
    if presence is not None:
        known = np.ones(len(tp), bool) if whole is None else present | whole
        area = roc_auc(present, presence, weights * known)
        scores["presence_auc"] = np.nan_to_num(area, nan=0.5)
    return scores


def dice(prediction: np.ndarray, truth: np.ndarray, labelled: np.ndarray | None = None) -> float:
    """Return the Dice of two masks of the same shape; 1 if both are empty.

    Args:
        labelled: the pixels that are counted, see `pixel_counts`.
    """
    return float(pixel_scores(pixel_counts(prediction, truth, labelled))["fg_dice"])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def object_overlaps(
    prediction: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how much every predicted object overlaps every true object; 0 is background.

    Returns:
        The numbers of the true objects, the numbers of the predicted objects, and the intersection
        over union of each pair, float `(true objects, predicted objects)`.
    """
    predicted, prediction_index = np.unique(prediction, return_inverse=True)
    expected, truth_index = np.unique(truth, return_inverse=True)
    shape = (len(expected), len(predicted))
    flat = truth_index.ravel() * shape[1] + prediction_index.ravel()
    overlap = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    union = overlap.sum(1, keepdims=True) + overlap.sum(0, keepdims=True) - overlap
    iou = (overlap / np.maximum(union, 1))[expected != 0][:, predicted != 0]
    return expected[expected != 0], predicted[predicted != 0], iou


def matched_counts(prediction: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return "tp", "fp", "fn" of objects, int `(thresholds)`, at all of `AP_THRESHOLDS`.

    With an IoU above 0.5 an object can match only one other, so it is exact to count pairs.

    Args:
        prediction, truth: `(*spatial)` integers, 0 is background.
    """
    _, _, iou = object_overlaps(prediction, truth)
    thresholds = np.array(AP_THRESHOLDS)
    if iou.size:
        # the first threshold must be exceeded, so that no object is matched twice
        hits = iou[..., np.newaxis] > np.maximum(thresholds - 1e-9, 0.5)
        tp = hits.any(axis=1).sum(axis=0)
    else:
        tp = np.zeros(len(thresholds), dtype=int)
    true_objects, predicted_objects = iou.shape
    return {"tp": tp, "fp": predicted_objects - tp, "fn": true_objects - tp}


def average_precision(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return "ap50" and "ap" of `matched_counts`, or of sums of them, `(..., thresholds)`."""
    tp, fp, fn = (np.asarray(counts[name], dtype=np.float64) for name in ("tp", "fp", "fn"))
    precision = _ratio(tp, tp + fp + fn)
    return {"ap50": precision[..., 0], "ap": precision.mean(axis=-1)}
