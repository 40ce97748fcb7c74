"""The InferTask of a row, by its kind."""

from __future__ import annotations

from typing import Any

from infer.base import InferSettings, ModelInfer
from lib.errors import InputError
from lib.kinds import kind_of, resolve
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore


def infer_class(task: TaskSpec) -> type[ModelInfer[Any]]:
    """Return the class of what answers with the published weights of `task`.

    Raises:
        InputError: the server has no answer for such tasks.
    """
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
