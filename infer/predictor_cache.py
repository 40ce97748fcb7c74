"""The predictor of the weights that are published right now."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from lib.devices import resolve_device
from lib.errors import InputError, UnpublishedError
from lib.files import FileStamp, file_stamp
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.weights.backend_names import AUTO, TORCH
from lib.weights.backends import openvino_backend, wants_openvino
from lib.weights.checkpoint import Checkpoint, load_checkpoint, load_network
from lib.weights.figures import card_of, validation_figure
from lib.weights.runner import NetworkRunner
from lib.weights.store import ModelStore

logger = logging.getLogger(__name__)

NO_WEIGHTS = "'{0}' has no weights yet; train it first with POST /train/{0}"

Runner = TypeVar("Runner", bound=NetworkRunner)


class PublishedPredictors(Generic[Runner]):
    """Predictors of one task, one per device, made anew when other weights are published.

    A request in progress keeps the predictor that it began with.

    Args:
        backend, wait: see `infer.base.InferSettings`.
    """

    def __init__(
        self,
        task: TaskSpec,
        store: ModelStore,
        precision: str = "auto",
        backend: str = TORCH,
        wait: bool = False,
    ) -> None:
        self.task, self.store, self.precision = task, store, precision
        self.backend, self.wait = backend, wait or backend != AUTO
        self._loaded: dict[str, tuple[tuple[Path, FileStamp], Runner, str]] = {}
        self._lock = threading.Lock()
        self._evidence: dict[str, dict[str, Any]] = {}  # by version
        self._looked: tuple[tuple[Path, FileStamp], str] | None = None

    def problem(self) -> str:
        """Return why the weights cannot answer; empty if they can, or others are in memory.

        The file is read only if it has changed, so that every request may ask.
        """
        path = self.store.served_path(self.task.name)
        if path is None:
            return NO_WEIGHTS.format(self.task.name)
        if self._loaded:
            return ""
        stamp = (path, file_stamp(path))
        with self._lock:
            if self._looked is None or self._looked[0] != stamp:
                self._looked = (stamp, self._look(path))
            return self._looked[1]

    def _look(self, path: Path) -> str:
        try:
            checkpoint = load_checkpoint(path)
            kind_of(self.task).predictor.as_trained(self.task, checkpoint)
            load_network(self.task, checkpoint)
        except (AttributeError, TypeError, ValueError) as error:  # what is stored may be anything
            logger.error(f"Weights of '{self.task.name}' are not served: {error}")
            return (
                f"the weights of '{self.task.name}' are damaged ({error}); put a version back with "
                f"POST /model/restore/{self.task.name}, or train again"
            )
        return ""

    def get(self, device: str | None) -> tuple[Runner, str]:
        """Return the predictor on `device` and the version of its weights.

        Raises:
            UnpublishedError: the task has no weights.
        """
        path = self.store.served_path(self.task.name)
        if path is None:
            raise UnpublishedError(NO_WEIGHTS.format(self.task.name))
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

    def evidence(self, version: str) -> dict[str, Any]:
        """Return what is known of how well a version in memory answers.

        Returns:
            ``figure``, see `lib.weights.figures.validation_figure`, and ``card``, in sentences.
        """
        return dict(self._evidence.get(version, {}))

    def _speed_up(self, predictor: NetworkRunner, checkpoint: Checkpoint) -> None:
        """Let OpenVINO answer once it has converted the network, which takes seconds."""
        predictor.backend = openvino_backend(
            predictor.task, checkpoint, self.precision, predictor.dtype, self.store.folder
        )
        logger.info(f"'{self.task.name}' is answered by {predictor.backend.name} from now on")

    def _load(self, path: Path, device: str) -> tuple[Runner, str]:
        checkpoint = load_checkpoint(path)
        predictor = kind_of(self.task).predictor.from_checkpoint(
            self.task,
            checkpoint,
            device,
            self.precision,
            self.backend if self.wait else TORCH,
            self.store.folder,
        )
        if not self.wait and wants_openvino(self.backend, predictor.task, predictor.device):
            threading.Thread(target=self._speed_up, args=(predictor, checkpoint)).start()
        version = self.store.served_version(self.task.name)
        known = self.task, checkpoint.metrics, checkpoint.provenance
        self._evidence[version] = {"figure": validation_figure(*known), "card": card_of(*known)}
        logger.info(f"Serving '{self.task.name}' version {version} on {device}")
        return cast(Runner, predictor), version
