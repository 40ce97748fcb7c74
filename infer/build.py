"""The InferTask of a row, by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask

from infer.base import InferSettings, ModelInfer
from infer.percent_density import PERCENT_DENSITY, PercentDensityInfer
from infer.scribbles import REGION, SCRIBBLES, RegionInfer, ScribblesInfer
from lib.errors import InputError
from lib.kinds import kind_of, resolve
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore


def infer_class(task: TaskSpec) -> type[ModelInfer[Any]]:
    """Return the class of what answers with the published weights of `task`.

    Raises:
        InputError: the server has no answer for such tasks, or a tool has its name.
    """
    if task.name in (REGION, SCRIBBLES, PERCENT_DENSITY):
        raise InputError(f"task '{task.name}' has the name of a tool; give it another")
    entry = kind_of(task).infer_task
    if entry is None:
        raise InputError(f"'{task.name}' ({task.kind}) is not served; use the command line")
    found: type[ModelInfer[Any]] = resolve(entry)
    return found


def build_infer(
    task: TaskSpec, store: ModelStore, settings: InferSettings | None = None
) -> ModelInfer[Any]:
    """Return what answers with the published weights of `task`; raises as `infer_class` does."""
    return infer_class(task)(task, store, settings or InferSettings())


def build_untrained(structures: Sequence[str], settings: InferSettings) -> dict[str, InferTask]:
    """Return what answers without weights, by the name that viewers show.

    Args:
        structures: the names that are offered for what is drawn; without any nothing draws.
    """
    found: dict[str, InferTask] = {}
    if structures:
        found = {REGION: RegionInfer(structures), SCRIBBLES: ScribblesInfer(structures)}
    return found | {PERCENT_DENSITY: PercentDensityInfer(settings)}
