"""How weights do on whole validation cases, by kind of task; several processes share the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor

from lib.calibration import fit_temperature
from lib.class_losses import class_weights, get_class_loss
from lib.class_metrics import class_figures
from lib.classification import ExamPredictor
from lib.clicks import Clicks, next_click
from lib.corrections import corrected
from lib.data import Batch, PreparedCases
from lib.datasets.studies import Item
from lib.errors import choose
from lib.exam_cases import ViewItem, class_of
from lib.exam_rules import combine, softmax
from lib.inference import Predictor
from lib.interactive import ClickPredictor
from lib.losses import Loss, get_loss
from lib.metrics import PIXEL_COUNTS, dice, image_scores, pixel_counts, pixel_scores
from lib.network_runner import NetworkRunner
from lib.specs import PRESENCE, OutputSpec, TaskSpec

Figures = dict[str, float]
VALIDATION_LOSS = "val_loss"


@dataclass(frozen=True)
class Scoring:
    """What training asks of a kind of task.

    Attributes:
        loss: of a batch, by task and training items.
        score: figures of whole cases.
        collapsed: what is wrong with figures that look well, for a warning; empty where nothing is.
        answer: what the checkpoint keeps beside the weights, by figures and training items.
        complete: a batch as the step takes it, by the predictor that answers now.
        partial: whether a step may train a part of the weights only: of several networks in one,
            those of its batch.
    """

    loss: Callable[[TaskSpec, Sequence[Item]], Loss]
    score: Callable[[Any, PreparedCases], Figures]
    collapsed: Callable[[TaskSpec, int, Figures], str]
    answer: Callable[[TaskSpec, Figures, Sequence[Item]], dict[str, Any]]
    complete: Callable[[Any, Batch], Batch] = lambda predictor, batch: batch
    partial: bool = False


def scoring(task: TaskSpec) -> Scoring:
    """Return what training asks of the kind of `task`."""
    return choose("kind", task.kind, SCORING)


def score_cases(predictor: NetworkRunner, cases: PreparedCases) -> Figures:
    """Return the figures of whole cases; several processes share the work.

    Of segmentation, pixel figures are pooled, those of `lib.metrics.image_scores` are means over
    cases. Of classification, see `_score_exams`.
    """
    return scoring(predictor.task).score(predictor, cases)


def over_processes(table: Tensor) -> Tensor:
    """Return the sum of every process's `table`."""
    if idist.get_world_size() == 1:
        return table
    place = idist.device() if idist.backend() == "nccl" else torch.device("cpu")
    total: Tensor = idist.all_reduce(table.to(place))
    return total.cpu()


def _own(cases: PreparedCases) -> range:
    """Return the numbers of the cases that this process scores."""
    return range(idist.get_rank(), len(cases), idist.get_world_size())


# --- segmentation --------------------------------------------------------------------------------


def _score_masks(predictor: Predictor, cases: PreparedCases) -> Figures:
    table = torch.zeros((len(cases), len(PIXEL_COUNTS) + 1), dtype=torch.float64)
    spec, answered = predictor.task.output, predictor.task.target.answered
    for index in _own(cases):
        image, target = cases[index]
        maps = predictor.probabilities(image.astype(np.float32), flips=False)
        mask, sure = _mask(maps, answered, spec)
        case = pixel_counts(mask, target[0])
        row = [*(case[name] for name in PIXEL_COUNTS), float(sure.max())]
        table[index] = torch.tensor(row, dtype=torch.float64)
    *columns, presence = over_processes(table).numpy().T
    counts = dict(zip(PIXEL_COUNTS, columns, strict=True))
    pooled = pixel_scores({name: column.sum() for name, column in counts.items()})
    figures = {**pooled, **image_scores(counts, presence)}
    return {name: float(value) for name, value in figures.items()}


def _mask(
    maps: np.ndarray, answered: Sequence[str], spec: OutputSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask that answered maps make, and how sure it is that there is anything."""
    mask, sure = maps[0] >= spec.threshold, maps[0]
    if PRESENCE in answered:
        sure = maps[answered.index(PRESENCE)]
        mask &= sure >= spec.presence_threshold
    return mask, sure


def _empty_mask(task: TaskSpec, step: int, scores: Figures) -> str:
    """Tell of the collapse to the empty mask, which scores well where structures are rare."""
    if scores["found"] > 0:
        return ""
    return (
        f"'{task.name}' answers no foreground on any validation case at step {step}: "
        f"collapsed to the empty mask; if it stays so, lower the learning rate (now "
        f"{task.training.learning_rate}) or choose loss bce_dice (now {task.training.loss})"
    )


# --- interactive segmentation --------------------------------------------------------------------


def _score_clicks(predictor: ClickPredictor, cases: PreparedCases) -> Figures:
    """Return the figures of answers without clicks, and ``click_dice``.

    That is the Dice of foreground (1 where there is none and none is answered) as the mean over
    cases and over the answers after none, one, ... and all of the spec's corrections.
    """
    rules, answered = predictor.task.click_rules, predictor.task.target.answered
    table = torch.zeros((len(cases), rules.validated + 1), dtype=torch.float64)
    for index in _own(cases):
        image, target = cases[index]
        session, clicks = predictor.open(image.astype(np.float32)), Clicks()
        for place in range(rules.validated + 1):
            maps = session.probabilities(clicks)
            mask, _ = _mask(maps, answered, predictor.task.output)
            table[index, place] = dice(mask, target[0])
            click = next_click(np.concatenate((mask[np.newaxis], maps[1:])), target, answered)
            if click:
                clicks = clicks.with_one(*click)
    by_clicks = over_processes(table).numpy().mean(axis=0)
    figures = {f"dice_{n}_clicks": float(value) for n, value in enumerate(by_clicks)}
    return {**_score_masks(predictor, cases), **figures, "click_dice": float(by_clicks.mean())}


# --- classification ------------------------------------------------------------------------------


def _score_exams(predictor: ExamPredictor, cases: PreparedCases) -> Figures:
    """Return figures of views (``view_``) and exams (``exam_``), calibrated on these very cases.

    Beside `lib.class_metrics.class_figures` of both there are ``temperature``, ``classes_answered``
    of the exams and ``val_loss``, the cross-entropy of the views before calibration.
    """
    rules = predictor.task.exam_rules
    items = [item for item in cases.items if isinstance(item, ViewItem)]
    table = torch.zeros((len(cases), len(rules.classes)), dtype=torch.float64)
    for index in _own(cases):
        logits = predictor.logits(
            cases[index][0][np.newaxis].astype(np.float32), [items[index].view]
        )
        table[index] = torch.from_numpy(logits[0]).double()
    logits = over_processes(table).numpy()
    truth = np.array([class_of(item, predictor.task) for item in items])
    temperature = fit_temperature(logits, truth)
    views = softmax(logits, temperature)
    exams = {item.exam: place for item, place in zip(items, truth, strict=True)}
    answers = []
    for exam in exams:
        own = [place for place, item in enumerate(items) if item.exam == exam]
        answers.append(combine(rules, [items[place].view for place in own], views[own]).exam)
    whole = np.stack(answers)
    given = softmax(logits)[np.arange(len(truth)), truth]
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


def _one_class(task: TaskSpec, step: int, scores: Figures) -> str:
    """Tell of the collapse to one class, which scores well where others are rare."""
    if scores["classes_answered"] > 1 or scores["classes_true"] == 1:
        return ""
    return (
        f"'{task.name}' answers one class on all validation exams at step {step}: collapsed; if it "
        f"stays so, lower the learning rate (now {task.training.learning_rate}) or choose "
        f"class_weights balanced (now {task.training.class_weights})"
    )


def _class_loss(task: TaskSpec, items: Sequence[Item]) -> Loss:
    classes = len(task.exam_rules.classes)
    weights = None
    if task.training.class_weights == "balanced":
        weights = class_weights([class_of(item, task) for item in items], classes)
    return get_class_loss(task.training, classes, weights)


def _calibrated(task: TaskSpec, scores: Figures, items: Sequence[Item]) -> dict[str, Any]:
    views = {item.view.name for item in items if isinstance(item, ViewItem)}
    return {"temperature": scores["temperature"], "views": sorted(views)}


_SEGMENTATION = Scoring(
    lambda task, items: get_loss(task.training.loss, task.target.maps),
    _score_masks,
    _empty_mask,
    lambda task, scores, items: {},
)
SCORING: dict[str, Scoring] = {
    "segmentation": _SEGMENTATION,
    "interactive": replace(_SEGMENTATION, score=_score_clicks, complete=corrected),
    "classification": Scoring(_class_loss, _score_exams, _one_class, _calibrated, partial=True),
}
