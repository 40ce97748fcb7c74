"""The predictor that `infer` and `evaluate` share."""

from __future__ import annotations

from pathlib import Path

from lib.checkpoints import load_checkpoint
from lib.errors import UnpublishedError
from lib.inference import Predictor
from lib.model_store import ModelStore
from lib.tasks import TaskSpec
from monailabel_app.config import SHIPPED_MODELS


def load_predictor(
    task: TaskSpec, weights: Path | None, models: Path, device: str, precision: str, flips: bool
) -> tuple[Predictor, Path]:
    """Return a predictor with `weights`, or the live ones, and the file they came from.

    Raises:
        UnpublishedError: there are no weights.
    """
    path = weights or ModelStore(models, SHIPPED_MODELS).live_path(task.name)
    if path is None:
        raise UnpublishedError(
            f"'{task.name}' has no weights yet; train it first, or give --weights FILE"
        )
    checkpoint = load_checkpoint(path)
    return Predictor.from_checkpoint(task, checkpoint, device, precision, flips), path
