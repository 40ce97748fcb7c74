"""Which class answers for a kind of task."""

from __future__ import annotations

from lib.classification import ExamPredictor
from lib.errors import choose
from lib.inference import Predictor
from lib.interactive import ClickPredictor
from lib.network_runner import NetworkRunner
from lib.specs import TaskSpec

PREDICTORS: dict[str, type[NetworkRunner]] = {
    "segmentation": Predictor,
    "interactive": ClickPredictor,
    "classification": ExamPredictor,
}


def predictor_class(task: TaskSpec) -> type[NetworkRunner]:
    """Return the class that answers with the networks of `task`."""
    return choose("kind", task.kind, PREDICTORS)
