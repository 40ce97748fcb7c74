"""The predictors that `infer` and `evaluate` share."""

from __future__ import annotations

from pathlib import Path

from lib.classification.predictor import ExamPredictor
from lib.errors import InputError, UnpublishedError
from lib.kinds import predictor_class
from lib.segmentation.predictor import Predictor
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_checkpoint
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS


def load_predictor(
    task: TaskSpec, weights: Path | None, models: Path, device: str, precision: str, flips: bool
) -> tuple[Predictor, Path]:
    """Return a predictor with `weights`, or the live ones, and the file they came from.

    Raises:
        UnpublishedError: there are no weights.
    """
    checkpoint, path = _load(task, weights, models)
    kind = predictor_class(task)
    assert issubclass(kind, Predictor), task.kind
    return kind.from_checkpoint(task, checkpoint, device, precision, flips), path


def load_exam_predictor(
    task: TaskSpec, weights: Path | None, models: Path, device: str, precision: str, flips: bool
) -> tuple[ExamPredictor, Path]:
    """Return the same for a task that answers on exams.

    Raises:
        UnpublishedError: there are no weights.
        InputError: `flips`, which such a task does not know.
    """
    if flips:
        raise InputError(
            f"--flips is for segmentation: a breast of '{task.name}' has its chest wall at one "
            f"side; leave it away"
        )
    checkpoint, path = _load(task, weights, models)
    return ExamPredictor.from_checkpoint(task, checkpoint, device, precision), path


def _load(task: TaskSpec, weights: Path | None, models: Path) -> tuple[Checkpoint, Path]:
    path = weights or ModelStore(models, SHIPPED_MODELS).live_path(task.name)
    if path is None:
        raise UnpublishedError(
            f"'{task.name}' has no weights yet; train it first, or give --weights FILE"
        )
    return load_checkpoint(path), path
