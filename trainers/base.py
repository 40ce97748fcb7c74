"""What the TrainTasks share: parameters, one run at a time, and publishing through the gate."""

from __future__ import annotations

import json
import logging
import math
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout
from monailabel.interfaces.tasks.train import TrainTask

from lib.data.studies import Item, split_items
from lib.devices import resolve_device
from lib.errors import BusyError, InputError, parse_switch, unknown
from lib.files import write_json
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions
from lib.training.progress import STATS
from lib.training.publish import train_and_submit
from lib.weights.store import ModelStore

logger = logging.getLogger(__name__)

FINE_TUNING = 0.1
LOCK_SECONDS = 1.0  # longer than a look at it takes


@dataclass(frozen=True)
class Parameter:
    """A request parameter: its default, how it is read, and the least value allowed."""

    default: Any
    read: Callable[[Any], Any]
    least: float | None = None


class TrainingData(Protocol):
    """A datastore that has, or makes, a studies folder to train on."""

    def training_folder(self, content: str) -> Path:
        """Return a studies folder with the accepted labels of one content.

        Args:
            content: "mask" for label images, "density" for densities of exams.
        """


def _name(value: Any) -> str:
    name = str(value)
    if not name or len(name) > 64 or not name.replace("-", "").replace("_", "").isalnum():
        raise InputError("expected letters, digits, '-' and '_'")
    return name


_IGNORED = {"model", "local_rank", "gpus", "bundle_path", "client_id", "dataset", "tracking"}


class ModelTrain(TrainTask):
    """Trains a task on the datastore's final labels, and publishes weights that score better.

    Request parameters, with MONAI Label's names: ``max_epochs``, ``train_batch_size``,
    ``val_split``, ``early_stop_patience`` (validations, 0 is never), ``device``, ``multi_gpu`` (one
    process per GPU), ``name`` (of the run), ``pretrained`` (start from the published weights),
    ``learning_rate`` (by default the recipe's, or a tenth of it from published weights on),
    ``seed``, and those of the kind of task.
    """

    @abstractmethod
    def own_parameters(self) -> dict[str, Parameter]:
        """Return the parameters of this kind of task alone."""

    @abstractmethod
    def with_own(self, values: Mapping[str, Any]) -> TaskSpec:
        """Return the row as the values of the kind's own parameters have it."""

    def __init__(
        self, task: TaskSpec, store: ModelStore, device: str = "auto", precision: str = "auto"
    ) -> None:
        super().__init__(f"Train: {task.description}")
        self.task, self.store, self.precision = task, store, precision
        recipe = task.training
        devices = [device, *(d for d in ("auto", "cpu", "cuda") if d != device)]
        self.parameters: dict[str, Parameter] = {
            "max_epochs": Parameter(50, int, 1),
            "train_batch_size": Parameter(recipe.batch_size, int, 1),
            "val_split": Parameter(recipe.val_split, float, 0.0),
            "early_stop_patience": Parameter(recipe.early_stop_patience, int, 0),
            "learning_rate": Parameter(recipe.learning_rate * FINE_TUNING, float, 0.0),
            **self.own_parameters(),
            "seed": Parameter(0, int, 0),
            "pretrained": Parameter(True, parse_switch),
            "multi_gpu": Parameter(True, parse_switch),
            "device": Parameter(devices, str),
            "name": Parameter("train_01", _name),
        }

    def config(self) -> dict[str, Any]:
        """Return the parameters with their defaults, as clients show them."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def stats(self) -> dict[str, Any]:
        """Return how the last run went or stands, in the fields viewers read."""
        try:
            # a loss that is not finite has no place in a JSON answer
            text = (self.run_folder / STATS).read_text()
            stats = json.loads(text, parse_constant=lambda _: None)
        except (OSError, ValueError):
            return {}
        # a process that was killed could not write that it ended
        stats["active"] = bool(stats.get("active")) and self._in_progress()
        if not stats["active"]:  # 3D Slicer takes a total time as the end of training
            stats["total_time"] = str(stats.get("seconds", 0))
        return stats

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return all parameters, checked, those absent at their defaults.

        Raises:
            InputError: an unknown parameter or a value that does not fit; the message names it.
        """
        values = {
            name: parameter.read(_first(parameter.default))
            for name, parameter in self.parameters.items()
        }
        for name, asked in request.items():
            if name in _IGNORED or asked is None:
                continue
            if name not in self.parameters:
                raise unknown("training parameter", name, self.parameters)
            parameter, value = self.parameters[name], _first(asked)
            try:
                values[name] = parameter.read(value)
            except (OverflowError, TypeError, ValueError) as error:
                raise InputError(
                    f"training parameter {name}: {value!r} does not fit ({error}); the default is "
                    f"{_first(parameter.default)!r}"
                ) from None
            if parameter.least is not None and not parameter.least <= values[name] < math.inf:
                raise InputError(
                    f"training parameter {name}: expected at least {parameter.least}, found {value}"
                )
        if "learning_rate" not in request and not values["pretrained"]:
            values["learning_rate"] = self.task.training.learning_rate
        return values

    def items(self, datastore: TrainingData, task: TaskSpec) -> list[Item]:
        """Return the labelled cases of the datastore.

        Raises:
            InputError: there are none, or a label or an image cannot be read.
        """
        kind = kind_of(task)
        return kind.cases.list(datastore.training_folder(kind.label), task, True)

    def check(self, request: dict[str, Any], datastore: TrainingData) -> None:
        """Refuse a request that could not be trained, before a process is started for it."""
        values = self.read(request)
        resolve_device(values["device"])
        task = self.with_own(values)
        split_items(self.items(datastore, task), values["val_split"])
        kind_of(task).cases.check_size(task)

    def __call__(self, request: dict[str, Any], datastore: TrainingData) -> dict[str, Any]:
        """Train, and publish through the gate.

        Returns:
            ``published``, ``reason``, ``version``, ``metrics``, ``steps`` and the training stats.
        """
        values = self.read(request)
        task = self.with_own(values)
        items = self.items(datastore, task)
        training, _ = split_items(items, values["val_split"])
        batch = values["train_batch_size"]
        task = replace(task, training=replace(task.training, batch_size=batch))
        per_epoch = kind_of(task).cases.batches(training, task)
        steps = per_epoch * values["max_epochs"]
        interval = min(task.training.val_interval or per_epoch, steps // 5)
        task = replace(
            task,
            training=replace(
                task.training,
                epochs=0,
                steps=steps,
                val_split=values["val_split"],
                val_interval=max(per_epoch, interval),
                early_stop_patience=values["early_stop_patience"],
                learning_rate=values["learning_rate"],
            ),
        )
        processes = torch.cuda.device_count() if values["multi_gpu"] else 1
        if values["device"] == "cpu" or batch % max(1, processes):
            processes = 1
        with self._alone():
            outcome = train_and_submit(
                task,
                items,
                FitOptions(
                    out=self.run_folder,
                    seed=values["seed"],
                    device=values["device"],
                    precision=self.precision,
                    command=f"monailabel train {self.task.name} ({values['name']})",
                ),
                self.store,
                pretrained=values["pretrained"],
                processes=max(1, processes),
            )
            self.forget()
        decision = outcome.decision
        logger.info(f"Training '{self.task.name}': {decision.reason}")
        print(f"{self.task.name}: {decision.reason}", flush=True)
        return {
            "published": decision.published,
            "reason": decision.reason,
            "version": decision.version,
            "metrics": outcome.result.metrics,
            "steps": outcome.result.steps,
            "stopped_early": outcome.result.stopped_early,
            "training_cases": len(outcome.result.training_ids),
            "validation_cases": len(outcome.result.validation_ids),
            "train_stats": self.stats(),
        }

    @property
    def run_folder(self) -> Path:
        """Where the run keeps its state."""
        return self.store.run_folder(self.task.name)

    def forget(self) -> None:
        """Drop the state of a finished or stopped run, so that the next starts afresh."""
        (self.run_folder / "state.pt").unlink(missing_ok=True)
        shutil.rmtree(self.run_folder / "tensorboard", ignore_errors=True)

    @property
    def _lock_file(self) -> str:
        return str(self.run_folder / ".lock")

    def _in_progress(self) -> bool:
        try:
            with FileLock(self._lock_file, timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other trainings of the task off the run folder, and note the end of a failed one.

        Raises:
            BusyError: one is in progress.
        """
        self.run_folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._lock_file, timeout=LOCK_SECONDS):
                (self.run_folder / STATS).unlink(missing_ok=True)  # of the run before
                try:
                    yield
                except BaseException:
                    if stats := self.stats():
                        write_json(self.run_folder / STATS, {**stats, "active": False})
                    raise
        except Timeout:
            raise BusyError(
                f"'{self.task.name}' is being trained already; wait for it, or stop it with "
                f"DELETE /train/"
            ) from None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value
