"""What training asks of classification: the loss, and figures of whole validation exams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from lib.mammography.views import View
from lib.tasks.spec import TaskSpec
from lib.weights.figures import EXAMS
from lib.weights.versions import Trivial

AT_ONCE = {"cpu": 1, "cuda": 32}  # views that are answered together


def score_exam_views(predictor: ExamPredictor, cases: Cases) -> Figures:
    """Return figures of views (``view_``) and exams (``exam_``), calibrated on these very cases.

    Both have the names of `lib.classification.metrics.class_figures`. There are also
    ``temperature``, the number of exams (``exam_count``) and of classes that they are answered with
    (``classes_answered``) and have (``classes_true``), and ``val_loss``, the cross-entropy of the
    views before calibration. Several processes share the work.
    """
    rules = predictor.task.exam_rules
    items = [item for item in cases.items if isinstance(item, ViewItem)]
    shape, device = (len(cases), len(rules.classes)), predictor.device
    table = torch.zeros(shape, dtype=torch.float64, device=device)
    for rows in _answered_together(predictor, items):
        images = torch.from_numpy(np.stack([cases[row][0] for row in rows])).to(device).float()
        logits = predictor.answers(images, [items[row].view for row in rows])
        table.index_copy_(0, torch.tensor(rows).to(device, non_blocking=True), logits.double())
    answered = over_processes(table.cpu()).numpy()
    truth = np.array([class_of(item, predictor.task) for item in items])
    temperature = fit_temperature(answered, truth)
    views = class_probabilities(answered, temperature)
    exam_truth = {item.exam: index for item, index in zip(items, truth, strict=True)}
    answers = []
    for exam in exam_truth:
        rows = [row for row, item in enumerate(items) if item.exam == exam]
        answers.append(combine(rules, [items[row].view for row in rows], views[rows]).exam)
    exams = np.stack(answers)
    of_truth = class_probabilities(answered)[np.arange(len(truth)), truth]
    classes = np.array(list(exam_truth.values()))
    return {
        **_figures("view_", truth, views),
        **_figures("exam_", classes, exams),
        VALIDATION_LOSS: float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
        "temperature": temperature,
        EXAMS: float(len(exams)),
        "classes_answered": float(len(set(exams.argmax(1).tolist()))),
        "classes_true": float(len(set(classes.tolist()))),
    }


def _answered_together(predictor: ExamPredictor, items: Sequence[ViewItem]) -> Iterator[list[int]]:
    """Yield the numbers of this process's views, of one network at a time."""
    of_network: dict[int | None, list[int]] = defaultdict(list)
    for index in own_indices(len(items)):
        of_network[predictor.task.classifier.network_of(items[index].view.name)].append(index)
    count = AT_ONCE[predictor.device.type]
    for rows in of_network.values():
        yield from (rows[first : first + count] for first in range(0, len(rows), count))


def _figures(prefix: str, truth: np.ndarray, probabilities: np.ndarray) -> Figures:
    figures = class_figures(truth, probabilities)
    return {f"{prefix}{name}": float(value[0]) for name, value in figures.items()}


def trivial_class(task: TaskSpec, cases: Cases) -> Trivial | None:
    """Return what always the same class, or the same probabilities, scores on exams or views.

    It is None where all exams are of one class, as nothing can be told from them then.
    """
    items = [item for item in cases.items if isinstance(item, ViewItem)]
    exams = {item.exam: class_of(item, task) for item in items}
    if len(set(exams.values())) < 2:
        return None
    of_views = task.key_metric.startswith("view_")
    truth = [class_of(item, task) for item in items] if of_views else list(exams.values())
    classes = np.array(truth)
    shares = np.bincount(classes, minlength=len(task.exam_rules.classes)) / len(classes)
    figures = _figures(
        "view_" if of_views else "exam_", classes, np.tile(shares, (len(classes), 1))
    )
    if task.key_metric not in figures:
        return None
    return Trivial("always the commonest class", figures[task.key_metric])


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
    trivial=trivial_class,
    collapsed=one_class,
    answer=calibrated,
    features=lambda predictor, case: predictor.features(case[0].astype(np.float32), View()),
    partial=True,
)
