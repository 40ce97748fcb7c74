"""The predictor of the weights that are published right now."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Generic, TypeVar, cast

from lib.devices import resolve_device
from lib.errors import InputError, UnpublishedError
from lib.files import FileStamp, file_stamp
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint
from lib.weights.runner import NetworkRunner
from lib.weights.store import ModelStore

logger = logging.getLogger(__name__)

Runner = TypeVar("Runner", bound=NetworkRunner)


class PublishedPredictors(Generic[Runner]):
    """Predictors of one task, one per device, made anew when other weights are published.

    A request in progress keeps the predictor that it began with.
    """

    def __init__(self, task: TaskSpec, store: ModelStore, precision: str = "auto") -> None:
        self.task, self.store, self.precision = task, store, precision
        self._loaded: dict[str, tuple[tuple[Path, FileStamp], Runner, str]] = {}
        self._lock = threading.Lock()

    def get(self, device: str | None) -> tuple[Runner, str]:
        """Return the predictor on `device` and the version of its weights.

        Raises:
            UnpublishedError: the task has no weights.
        """
        path = self.store.served_path(self.task.name)
        if path is None:
            raise UnpublishedError(
                f"'{self.task.name}' has no weights yet; train it first, or put a checkpoint in "
                f"place with PUT /model/{self.task.name}"
            )
        key = str(resolve_device(device))
        stamp = (path, file_stamp(path))
        with self._lock:
            loaded = self._loaded.get(key)
            if loaded is None or loaded[0] != stamp:
                try:
                    predictor, version = self._load(path, key)
                except InputError as error:
                    if loaded is None:
                        raise
                    logger.error(f"Keeping the weights in memory: {error}")
                    predictor, version = loaded[1], loaded[2]
                loaded = self._loaded[key] = (stamp, predictor, version)
            return loaded[1], loaded[2]

    def _load(self, path: Path, device: str) -> tuple[Runner, str]:
        predictor = kind_of(self.task).predictor.from_checkpoint(
            self.task, load_checkpoint(path), device, self.precision
        )
        version = self.store.served_version(self.task.name)
        logger.info(f"Serving '{self.task.name}' version {version} on {device}")
        return cast(Runner, predictor), version
