"""Figures of classification on whole validation exams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lib.classification.calibration import class_probabilities, fit_temperature
from lib.classification.cases import ViewItem, class_of
from lib.classification.losses import class_weights, get_class_loss
from lib.classification.metrics import class_figures
from lib.classification.predictor import ExamPredictor
from lib.classification.rules import combine
from lib.data.case import VALIDATION_LOSS, Cases, Figures, Loss
from lib.data.studies import Item
from lib.distributed import over_processes, own_indices
from lib.tasks.spec import TaskSpec

# --- classification ------------------------------------------------------------------------------


def score_exam_views(predictor: ExamPredictor, cases: Cases) -> Figures:
    """Return figures of views (``view_``) and exams (``exam_``), calibrated on these very cases.

    Beside `lib.classification.metrics.class_figures` of both there are ``temperature``,
    ``classes_answered`` of the exams and ``val_loss``, the cross-entropy of the views before
    calibration.
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
    exams = {item.exam: place for item, place in zip(items, truth, strict=True)}
    answers = []
    for exam in exams:
        own = [place for place, item in enumerate(items) if item.exam == exam]
        answers.append(combine(rules, [items[place].view for place in own], views[own]).exam)
    whole = np.stack(answers)
    given = class_probabilities(logits)[np.arange(len(truth)), truth]
    figures = {f"view_{name}": value for name, value in _of(truth, views).items()}
    figures |= {f"exam_{name}": v for name, v in _of(np.array(list(exams.values())), whole).items()}
    return {
        **figures,
        VALIDATION_LOSS: float(-np.log(np.maximum(given, 1e-12)).mean()),
        "temperature": temperature,
        "classes_answered": float(len(set(whole.argmax(1).tolist()))),
        "classes_true": float(len(set(exams.values()))),
    }


def _of(truth: np.ndarray, probabilities: np.ndarray) -> Figures:
    return {name: float(value[0]) for name, value in class_figures(truth, probabilities).items()}


def one_class(task: TaskSpec, step: int, scores: Figures) -> str:
    """Tell of the collapse to one class, which scores well where others are rare."""
    if scores["classes_answered"] > 1 or scores["classes_true"] == 1:
        return ""
    return (
        f"'{task.name}' answers one class on all validation exams at step {step}: collapsed; if it "
        f"stays so, lower the learning rate (now {task.training.learning_rate}) or choose "
        f"class_weights balanced (now {task.training.class_weights})"
    )


def class_loss(task: TaskSpec, items: Sequence[Item]) -> Loss:
    """Return the loss of `task`, weighted by its training items if it asks so."""
    classes = len(task.exam_rules.classes)
    weights = None
    if task.training.class_weights == "balanced":
        weights = class_weights([class_of(item, task) for item in items], classes)
    return get_class_loss(task.training, classes, weights)


def calibrated(task: TaskSpec, scores: Figures, items: Sequence[Item]) -> dict[str, Any]:
    """Return what the checkpoint keeps: temperature, and the views seen in training."""
    views = {item.view.name for item in items if isinstance(item, ViewItem)}
    return {"temperature": scores["temperature"], "views": sorted(views)}
