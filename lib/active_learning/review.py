"""Scores of images by a model, as tables: which to look at again first.

The server's scoring methods and the command line both call `review`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.classification.cases import exams_of
from lib.classification.predictor import ExamPredictor
from lib.data.studies import Item
from lib.errors import InputError, choose
from lib.image import Image
from lib.io.masks import read_label
from lib.io.read import read_image
from lib.kinds import measure
from lib.mammography.exams import Exam, image_id
from lib.segmentation.metrics import pixel_counts, pixel_scores
from lib.segmentation.predictor import Predictor
from lib.tasks.spec import TaskSpec
from lib.uncertainty.label_quality import class_qualities, mask_quality
from lib.weights.runner import NetworkRunner

Row = dict[str, Any]
Done = Callable[[object], object]
DIGITS = 4


@dataclass(frozen=True)
class Method:
    """One way to score.

    Attributes:
        description: one line for users.
        figure: the column that ranks.
        worst_first: whether the least of it comes first; else the greatest.
        kinds: how the cases of a kind of task are scored.
        labelled: whether it scores labels; else images, with or without one.
    """

    description: str
    figure: str
    worst_first: bool
    kinds: dict[str, Callable[[Any, Sequence[Item], Done], list[Row]]]
    labelled: bool = True


def review(
    name: str,
    predictor: NetworkRunner,
    items: Sequence[Item],
    on_case: Done | None = None,
) -> list[Row]:
    """Score images, or exams, and return a row for each, the first to look at first.

    A row has ``id``, ``images`` (ids of the image, or of the exam's views) and the figures of the
    method; of what cannot be scored ``error`` instead, at the end.

    Args:
        name: of `METHODS`.
        items: as `lib.kinds.case_kind(task).list` returns them.
        on_case: called after each, for progress.

    Raises:
        NotFoundError: no such method.
        InputError: one that does not fit the task, or nothing to score.
    """
    task = predictor.task
    method = method_for(name, task)
    if not items:
        what = "images with an accepted label" if method.labelled else "images"
        raise InputError(f"nothing to score: no {what} of '{task.name}'; label some first")
    return ranked(name, method.kinds[task.kind](predictor, items, on_case or (lambda case: None)))


def method_for(name: str, task: TaskSpec) -> Method:
    """Return a method.

    Raises:
        NotFoundError: no such method.
        InputError: it is not for such tasks.
    """
    method = choose("scoring method", name, METHODS)
    if task.kind not in method.kinds:
        fitting = [known for known, one in METHODS.items() if task.kind in one.kinds]
        instead = f"choose one of {', '.join(fitting)}, or another task" if fitting else ""
        raise InputError(
            f"'{name}' is not for '{task.name}' ({task.kind}); {instead or 'choose another task'}"
        )
    return method


def ranked(name: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows in the order of a method, those with an error last."""
    method = choose("scoring method", name, METHODS)
    sign = 1 if method.worst_first else -1
    return sorted(
        rows, key=lambda row: ("error" in row, sign * row.get(method.figure, 0), row["id"])
    )


def _each_image(
    score: Callable[[Predictor, Item, Image], Row],
) -> Callable[[Predictor, Sequence[Item], Done], list[Row]]:
    """Return the scoring of images one by one."""

    def run(predictor: Predictor, items: Sequence[Item], done: Done) -> list[Row]:
        rows = []
        for item in items:
            row: Row = {"id": item.id, "images": [item.id]}
            try:
                spec = predictor.task.input
                image = read_image(item.image, spec.max_pixels, predictor.task.image_dims)
                row |= score(predictor, item, image)
            except InputError as error:
                row["error"] = str(error)
            rows.append(row)
            done(item)
        return rows

    return run


def _label(item: Item, image: Image) -> np.ndarray:
    if item.label is None:
        raise InputError(f"'{item.id}' has no accepted label; save one, or leave the image out")
    return read_label(item.label, image.shape)


def _dice(predictor: Predictor, item: Item, image: Image) -> Row:
    label, mask = _label(item, image), predictor(image, instances=False).mask
    row = {"dice": _overlap(mask > 0, label > 0)}
    if predictor.task.target.structures:
        for name, value in predictor.task.labels.items():
            row[f"dice_{name}"] = _overlap(mask == value, label == value)
    return row


def _overlap(mask: np.ndarray, label: np.ndarray) -> float:
    return round(float(pixel_scores(pixel_counts(mask, label))["fg_dice"]), DIGITS)


def _mask_quality(predictor: Predictor, item: Item, image: Image) -> Row:
    label, answer = _label(item, image), predictor(image)
    seen = answer.mask if answer.instances is None else answer.instances
    found = mask_quality(predictor.task, answer.probabilities, seen, label)
    return {
        "quality": round(found.quality, DIGITS),
        "objects": found.objects,
        "doubted": [one.as_dict() for one in found.doubted],
    }


def informativeness(measured: Any) -> Row:
    """Return the figures of an `Informativeness` without the features."""
    plain = measured.as_dict()
    del plain["features"]
    return {name: round(float(value), DIGITS) for name, value in plain.items()}


def _measured(predictor: Predictor, item: Item, image: Image) -> Row:
    return informativeness(measure(predictor, image))


def _each_exam(
    predictor: ExamPredictor, items: Sequence[Item], done: Done, score: Callable[[Exam], Row]
) -> list[Row]:
    rows = []
    for exam in exams_of(items):
        row: Row = {"id": exam.id, "images": [image_id(file) for file in exam.views.values()]}
        try:
            row |= score(exam)
        except InputError as error:
            row["error"] = str(error)
        rows.append(row)
        done(exam)
    return rows


def _class_quality(predictor: ExamPredictor, items: Sequence[Item], done: Done) -> list[Row]:
    rules = predictor.task.exam_rules
    answers: dict[str, np.ndarray] = {}
    given: dict[str, int] = {}

    def score(exam: Exam) -> Row:
        truth = rules.class_index(exam.density, exam.scale)
        if truth is None:
            raise InputError(f"exam '{exam.id}': density {exam.density} is no class of the task")
        answers[exam.id] = predictor(exam, tissue=False).probabilities
        given[exam.id] = truth
        return {"class": rules.names[truth]}

    rows = _each_exam(predictor, items, done, score)
    if not answers:
        return rows
    rated = class_qualities(list(given.values()), np.stack(list(answers.values())))
    by_exam = dict(zip(answers, rated, strict=True))
    for row in rows:
        if (found := by_exam.get(row["id"])) is not None:
            row["quality"] = round(found.quality, DIGITS)
            row["suggested"] = "" if found.suggested is None else rules.names[found.suggested]
    return rows


def _measured_exams(predictor: ExamPredictor, items: Sequence[Item], done: Done) -> list[Row]:
    return _each_exam(
        predictor, items, done, lambda exam: informativeness(measure(predictor, exam))
    )


_DICE, _MEASURED, _QUALITY = (_each_image(each) for each in (_dice, _measured, _mask_quality))
METHODS: dict[str, Method] = {
    "dice": Method(
        "Dice of the model's answer with the accepted label",
        "dice",
        True,
        {"segmentation": _DICE, "interactive": _DICE},
    ),
    "uncertainty": Method(
        "how unsure the model is of an image",
        "disagreement",
        False,
        {
            "segmentation": _MEASURED,
            "interactive": _MEASURED,
            "classification": _measured_exams,
        },
        labelled=False,
    ),
    "label_quality": Method(
        "accepted labels that the model doubts, for review",
        "quality",
        True,
        {"segmentation": _QUALITY, "interactive": _QUALITY, "classification": _class_quality},
    ),
}
