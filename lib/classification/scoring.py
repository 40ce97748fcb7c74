"""What training asks of classification: the loss, and figures of whole validation exams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lib.classification.answer import combine
from lib.classification.calibration import class_probabilities, fit_temperature
from lib.classification.cases import ViewItem, class_of
from lib.classification.losses import class_weights, get_class_loss
from lib.classification.metrics import class_figures
from lib.classification.predictor import ExamPredictor
from lib.data.case import VALIDATION_LOSS, Cases, Figures, Loss, Scoring
from lib.data.studies import Item
from lib.distributed import over_processes, own_indices
from lib.tasks.spec import TaskSpec


def score_exam_views(predictor: ExamPredictor, cases: Cases) -> Figures:
    """Return figures of views (``view_``) and exams (``exam_``), calibrated on these very cases.

    Both have the names of `lib.classification.metrics.class_figures`. There are also
    ``temperature``, the number of classes that the exams are answered with (``classes_answered``)
    and have (``classes_true``), and ``val_loss``, the cross-entropy of the views before
    calibration. Several processes share the work.
    """
    rules = predictor.task.exam_rules
    items = [item for item in cases.items if isinstance(item, ViewItem)]
    table = torch.zeros((len(cases), len(rules.classes)), dtype=torch.float64)
    for index in own_indices(len(cases)):
        logits = predictor.logits(
            cases[index][0][np.newaxis].astype(np.float32), [items[index].view]
        )
        table[index] = torch.from_numpy(logits[0]).double()
    logits = over_processes(table).numpy()
    truth = np.array([class_of(item, predictor.task) for item in items])
    temperature = fit_temperature(logits, truth)
    views = class_probabilities(logits, temperature)
    exam_truth = {item.exam: index for item, index in zip(items, truth, strict=True)}
    answers = []
    for exam in exam_truth:
        rows = [row for row, item in enumerate(items) if item.exam == exam]
        answers.append(combine(rules, [items[row].view for row in rows], views[rows]).exam)
    exams = np.stack(answers)
    of_truth = class_probabilities(logits)[np.arange(len(truth)), truth]
    classes = np.array(list(exam_truth.values()))
    return {
        **_figures("view_", truth, views),
        **_figures("exam_", classes, exams),
        VALIDATION_LOSS: float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
        "temperature": temperature,
        "classes_answered": float(len(set(exams.argmax(1).tolist()))),
        "classes_true": float(len(set(classes.tolist()))),
    }


def _figures(prefix: str, truth: np.ndarray, probabilities: np.ndarray) -> Figures:
    figures = class_figures(truth, probabilities)
    return {f"{prefix}{name}": float(value[0]) for name, value in figures.items()}


def one_class(task: TaskSpec, step: int, scores: Figures) -> str:
    """Return a warning of the collapse to one class; it scores well where others are rare."""
    if scores["classes_answered"] > 1 or scores["classes_true"] == 1:
        return ""
    return (
        f"'{task.name}' answers one class on all validation exams at step {step}: collapsed; if it "
        f"stays so, lower the learning rate (now {task.training.learning_rate}) or choose "
        f"class_weights balanced (now {task.training.class_weights})"
    )


def class_loss(task: TaskSpec, items: Sequence[Item]) -> Loss:
    """Return the loss of `task`; balanced class weights are those of its training items."""
    classes = len(task.exam_rules.classes)
    weights = None
    if task.training.class_weights == "balanced":
        weights = class_weights([class_of(item, task) for item in items], classes)
    return get_class_loss(task.training, classes, weights)


def calibrated(task: TaskSpec, scores: Figures, items: Sequence[Item]) -> dict[str, Any]:
    """Return what the checkpoint keeps: temperature, and the views seen in training."""
    views = {item.view.name for item in items if isinstance(item, ViewItem)}
    return {"temperature": scores["temperature"], "views": sorted(views)}


EXAM_SCORING = Scoring(
    loss=class_loss,
    score=score_exam_views,
    collapsed=one_class,
    answer=calibrated,
    partial=True,
)
