"""Scoring methods: tables of images by a model, with those to look at first on top.

The server's scoring methods and the command line both call `review`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.classification.cases import exams_of
from lib.classification.predictor import ExamPredictor
from lib.data.ignore import split_ignored
from lib.data.labels import read_item_label
from lib.data.studies import Item, read_item
from lib.errors import InputError, choose
from lib.image import Image
from lib.mammography.exam_files import image_id
from lib.mammography.exams import Exam
from lib.segmentation.metrics import dice
from lib.segmentation.predictor import Predictor
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import measure_exam, measure_image
from lib.uncertainty.label_quality import class_qualities, mask_quality
from lib.weights.runner import NetworkRunner

Row = dict[str, Any]
Done = Callable[[object], object]
Scorer = Callable[[Any, Sequence[Item], Done], list[Row]]
DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to score.

    Attributes:
        description: one line for users.
        figure: the column that ranks.
        lowest_first: whether the lowest value of it comes first; else the highest.
        labelled: whether it scores labels; else images, with or without one.
    """

    description: str
    figure: str
    lowest_first: bool
    labelled: bool = True


METHODS: dict[str, Method] = {
    "dice": Method(
        description="Dice of the model's answer with the accepted label",
        figure="dice",
        lowest_first=True,
    ),
    "uncertainty": Method(
        description="how unsure the model is of an image",
        figure="disagreement",
        lowest_first=False,
        labelled=False,
    ),
    "label_quality": Method(
        description="accepted labels that the model doubts, for review",
        figure="quality",
        lowest_first=True,
    ),
}


def review(
    name: str,
    scorers: Mapping[str, Scorer],
    predictor: NetworkRunner,
    items: Sequence[Item],
    on_case: Done | None = None,
) -> list[Row]:
    """Score images, or exams, and return a row for each, the first to look at first.

    A row has ``id``, ``images`` (ids of the image, or of the exam's views) and the figures of the
    method. A case that cannot be scored has ``error`` instead of figures, and comes last.

    Args:
        name: of `METHODS`.
        scorers: those of the predictor's kind of task, see `lib.kinds`.
        items: of the same kind.

    Raises:
        NotFoundError: no such method.
        InputError: one that does not fit the task, or nothing to score.
    """
    scorer = scorer_for(name, scorers, predictor.task)
    if not items:
        cases = "images with an accepted label" if METHODS[name].labelled else "images"
        raise InputError(
            f"nothing to score: no {cases} of '{predictor.task.name}'; label some first"
        )
    return ranked(name, scorer(predictor, items, on_case or (lambda case: None)))


def scorer_for(name: str, scorers: Mapping[str, Scorer], task: TaskSpec) -> Scorer:
    """Return the scorer of a method.

    Raises:
        NotFoundError: no such method.
        InputError: it is not for such tasks.
    """
    choose("scoring method", name, METHODS)
    if name not in scorers:
        instead = f"choose one of {', '.join(scorers)}, or another task" if scorers else ""
        raise InputError(
            f"'{name}' is not for '{task.name}' ({task.kind}); {instead or 'choose another task'}"
        )
    return scorers[name]


def ranked(name: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows in the order of a method, those with an error last."""
    method = choose("scoring method", name, METHODS)
    sign = 1 if method.lowest_first else -1
    return sorted(
        rows, key=lambda row: ("error" in row, sign * row.get(method.figure, 0), row["id"])
    )


def _each_image(score: Callable[[Predictor, Item, Image], Row]) -> Scorer:
    """Return the scorer of images one by one."""

    def run(predictor: Predictor, items: Sequence[Item], done: Done) -> list[Row]:
        task = predictor.task

        def score_item(item: Item) -> Row:
            image = read_item(item, task)
            return score(predictor, item, image)

        return _rows(items, [[item.id] for item in items], score_item, done)

    return run


def _rows(
    cases: Sequence[Any], images: Sequence[list[str]], score: Callable[[Any], Row], done: Done
) -> list[Row]:
    """Return a row for each case; one that cannot be scored has the reason as its error."""
    rows = []
    for case, ids in zip(cases, images, strict=True):
        row: Row = {"id": case.id, "images": ids}
        try:
            row |= score(case)
        except InputError as error:
            row["error"] = str(error)
        rows.append(row)
        done(case)
    return rows


def _dice(predictor: Predictor, item: Item, image: Image) -> Row:
    label, labelled = split_ignored(read_item_label(item, image, predictor.task), item.id)
    mask = predictor(image, instances=False).mask
    row = {"dice": round(dice(mask > 0, label > 0, labelled), DIGITS)}
    if predictor.task.target.structures:
        for name, value in predictor.task.labels.items():
            row[f"dice_{name}"] = round(dice(mask == value, label == value, labelled), DIGITS)
    return row


def _mask_quality(predictor: Predictor, item: Item, image: Image) -> Row:
    label, answer = read_item_label(item, image, predictor.task), predictor(image)
    answered = answer.mask if answer.instances is None else answer.instances
    found = mask_quality(predictor.task, answer.probabilities, answered, label)
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


def _each_exam(items: Sequence[Item], score: Callable[[Exam], Row], done: Done) -> list[Row]:
    exams = exams_of(items)
    views = [[image_id(file) for file in exam.views.values()] for exam in exams]
    return _rows(exams, views, score, done)


def _class_quality(predictor: ExamPredictor, items: Sequence[Item], done: Done) -> list[Row]:
    rules = predictor.task.exam_rules
    answers: dict[str, np.ndarray] = {}
    labels: dict[str, int] = {}

    def score(exam: Exam) -> Row:
        truth = rules.class_index(exam.density, exam.scale)
        if truth is None:
            raise InputError(f"exam '{exam.id}': density {exam.density} is no class of the task")
        answers[exam.id] = predictor(exam, tissue=False).probabilities
        labels[exam.id] = truth
        return {"class": rules.names[truth]}

    rows = _each_exam(items, score, done)
    if not answers:
        return rows
    rated = class_qualities(list(labels.values()), np.stack(list(answers.values())))
    by_exam = dict(zip(answers, rated, strict=True))
    for row in rows:
        if (found := by_exam.get(row["id"])) is not None:
            row["quality"] = round(found.quality, DIGITS)
            row["suggested"] = "" if found.suggested is None else rules.names[found.suggested]
    return rows


def _measured_exams(predictor: ExamPredictor, items: Sequence[Item], done: Done) -> list[Row]:
    return _each_exam(items, lambda exam: informativeness(measure_exam(predictor, exam)), done)


IMAGE_REVIEWS: dict[str, Scorer] = {
    "dice": _each_image(_dice),
    "uncertainty": _each_image(
        lambda predictor, item, image: informativeness(measure_image(predictor, image))
    ),
    "label_quality": _each_image(_mask_quality),
}
EXAM_REVIEWS: dict[str, Scorer] = {
    "uncertainty": _measured_exams,
    "label_quality": _class_quality,
}
