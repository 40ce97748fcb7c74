"""How well weights do on held-out images, in words that a reader understands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lib.tasks.spec import TaskSpec

EXAMS = "exam_count"  # of the held-out ones, among the figures of classification
UNTESTED = "not tested on labelled images yet: check each answer"
_ACCURACY = "exam_accuracy"
_OUTLINED = "overlaps by {value:.2f} with readers' outlines"
_WORDS = {  # 1 is the same outline
    "fg_dice": _OUTLINED,
    "dice_kaggle": f"{_OUTLINED}, or agrees that there is nothing,",
    "click_dice": f"{_OUTLINED}, over up to three clicks,",
    "mean_iou": f"{_OUTLINED} and the background",
}
# figures that count the background say little of small structures
_SAID = {"mean_iou": "fg_dice"}


def validation_figure(
    task: TaskSpec, metrics: Mapping[str, float], training: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the figure of weights on the images that were held out from their training.

    Args:
        metrics: figures by name, of the checkpoint.
        training: its provenance, of which ``validation_cases`` is read.

    Returns:
        ``metric`` and ``value`` (null for untested weights), ``images``, how many images or exams
        were held out (null where it is not known), and ``words``, part of a sentence.
    """
    metric = _ACCURACY if task.exam is not None else _SAID.get(task.key_metric, task.key_metric)
    if metric not in metrics:
        metric = task.key_metric
    value = _number(metrics.get(metric))
    if value is None:
        return {"metric": None, "value": None, "images": None, "words": UNTESTED}
    held_out = metrics.get(EXAMS) if task.exam is not None else training.get("validation_cases")
    images = _count(held_out)
    unit = "volume" if task.image_dims == 3 else "image"
    words = _right(value, images) if metric == _ACCURACY else _overlap(metric, value, images, unit)
    return {"metric": metric, "value": round(value, 4), "images": images, "words": words}


def card_of(task: TaskSpec, metrics: Mapping[str, float], training: Mapping[str, Any]) -> str:
    """Return what weights are, in two sentences: what they find, what they learned from, how well.

    Args:
        metrics, training: as for `validation_figure`.
    """
    cases = _count(training.get("training_cases"))
    what = "views" if task.exam is not None else "images"
    learned = f"Trained on {cases} labelled {what}" if cases else "Trained on labels"
    licence = f"; weights under {task.weights_licence}" if task.weights_licence else ""
    words = validation_figure(task, metrics, training)["words"]
    return f"{task.description}. {learned}{licence}; {words}."


def _number(value: object) -> float | None:
    """Return a finite number; None for what else a file may hold."""
    is_number = isinstance(value, (int, float)) and abs(value) < 1e9  # not so of NaN either
    return float(value) if is_number else None  # type: ignore[arg-type]


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 1 else None


def _overlap(metric: str, value: float, images: int | None, unit: str) -> str:
    said = _WORDS.get(metric, f"{metric} {{value:.2f}}").format(value=value)
    return f"{said} on {images if images else 'the'} {unit}{'s' * (images != 1)} held out"


def _right(value: float, exams: int | None) -> str:
    tenths = math.floor(10 * value + 0.5)
    if tenths == 10 and value < 1:
        share = "more than 9 of 10"
    else:
        share = f"{tenths} of 10"
    counted = f" ({round(value * exams)} of {exams} held out)" if exams else " (held out)"
    return f"right in {share} exams like these{counted}"
