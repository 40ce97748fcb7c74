"""What a case is, by kind of task: how it is listed, read, drawn for a batch, and ordered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lib.classification import cases as exam_cases
from lib.classification.cases import draw_view
from lib.classification.predictor import ExamPredictor
from lib.classification.scoring import calibrated, class_loss, one_class, score_exam_views
from lib.data.case import CaseKind, Cases, Figures, Scoring
from lib.errors import choose
from lib.image import Image
from lib.interactive.cases import draw_clicked
from lib.interactive.corrections import corrected
from lib.interactive.predictor import ClickPredictor
from lib.interactive.scoring import score_clicks
from lib.mammography.exams import Exam
from lib.segmentation.cases import SEGMENTATION_CASES
from lib.segmentation.losses import get_loss
from lib.segmentation.predictor import Predictor
from lib.segmentation.scoring import empty_mask, score_masks
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import PASSES, Informativeness, measure_exam, measure_image
from lib.weights.runner import NetworkRunner


def case_kind(task: TaskSpec) -> CaseKind:
    """Return what the cases of `task` are."""
    return choose("kind", task.kind, CASE_KINDS)


CASE_KINDS: dict[str, CaseKind] = {
    "segmentation": SEGMENTATION_CASES,
    "interactive": replace(SEGMENTATION_CASES, draw=draw_clicked),
    "classification": CaseKind(
        exam_cases.list_views,
        exam_cases.load_view,
        lambda task, largest: task,
        draw_view,
        lambda cases, rng: exam_cases.epoch_order(cases.items, cases.task, rng),
        exam_cases.epoch_batches,
    ),
}


def measure(
    predictor: NetworkRunner,
    case: Image | Exam,
    seed: int = 0,
    passes: int = PASSES,
    copies: bool = True,
) -> Informativeness:
    """Measure one image with a `Predictor`, or one exam with an `ExamPredictor`.

    Other threads may use the predictor meanwhile; their answers are not disturbed.

    Args:
        case: as `lib.io.read.read_image` or `lib.mammography.exams.list_exams` return it.
        seed: of the dropped features.
        passes: with dropped features; 0 for none, which is faster and leaves `entropy` at 0.
        copies: whether to answer on mirrored or turned copies too; without, which is faster,
            `disagreement` is 0.

    Raises:
        InputError: the image or exam cannot be answered on.
    """
    return choose("kind", predictor.task.kind, _MEASURES)(predictor, case, seed, passes, copies)


_MEASURES: dict[str, Callable[[Any, Any, int, int, bool], Informativeness]] = {
    "segmentation": measure_image,
    "interactive": measure_image,
    "classification": measure_exam,
}

PREDICTORS: dict[str, type[NetworkRunner]] = {
    "segmentation": Predictor,
    "interactive": ClickPredictor,
    "classification": ExamPredictor,
}


def predictor_class(task: TaskSpec) -> type[NetworkRunner]:
    """Return the class that answers with the networks of `task`."""
    return choose("kind", task.kind, PREDICTORS)


def scoring(task: TaskSpec) -> Scoring:
    """Return what training asks of the kind of `task`."""
    return choose("kind", task.kind, SCORING)


def score_cases(predictor: NetworkRunner, cases: Cases) -> Figures:
    """Return the figures of whole cases; several processes share the work.

    Of segmentation, pixel figures are pooled, those of `lib.segmentation.metrics.image_scores` are
    means over cases. Of classification, see `score_exam_views`.
    """
    return scoring(predictor.task).score(predictor, cases)


_SEGMENTATION = Scoring(
    lambda task, items: get_loss(task.training.loss, task.target.maps),
    score_masks,
    empty_mask,
    lambda task, scores, items: {},
)
SCORING: dict[str, Scoring] = {
    "segmentation": _SEGMENTATION,
    "interactive": replace(_SEGMENTATION, score=score_clicks, complete=corrected),
    "classification": Scoring(class_loss, score_exam_views, one_class, calibrated, partial=True),
}
