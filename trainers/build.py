"""The TrainTask of a row, by its kind."""

from __future__ import annotations

from lib.errors import InputError
from lib.kinds import kind_of, resolve
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore
from trainers.base import ModelTrain


def build_trainer(
    task: TaskSpec, store: ModelStore, device: str = "auto", precision: str = "auto"
) -> ModelTrain:
    """Return what trains `task` on the server.

    Raises:
        InputError: the server does not train such tasks.
    """
    entry = kind_of(task).trainer
    if entry is None:
        raise InputError(f"'{task.name}' ({task.kind}) is not trained here; use the command line")
    trainer: ModelTrain = resolve(entry)(task, store, device, precision)
    return trainer
