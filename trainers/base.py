"""What the TrainTasks share: parameters, one run at a time, and publishing what is better."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from monailabel.interfaces.tasks.train import TrainTask

from lib.data.labels import without
from lib.data.studies import LEAST_ITEMS, Item, split_items
from lib.devices import resolve_device
from lib.errors import InputError, parse_switch
from lib.io.read import stem
from lib.kinds import kind_of, list_labelled, resolve
from lib.leftovers import why_not_writable
from lib.tasks.fits import refusal
from lib.tasks.image_kind import ImageKind
from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import Compile
from lib.training.options import FitOptions
from lib.training.plan import check_row
from lib.training.publish import train_and_submit
from lib.weights.store import ModelStore
from trainers.parameters import Parameter, TrainingRequest, parse_name, parse_text, read_values
from trainers.run_folder import RunFolder

logger = logging.getLogger(__name__)

FINE_TUNING = 0.1  # of the recipe's learning rate, from published weights on


@dataclass(frozen=True)
class Supply:
    """What there is to train a task on.

    Attributes:
        labels: accepted labels that the task can be trained on.
        missing: how many more are needed at least to train at all.
        reason: why it cannot be trained yet; empty where it can.
    """

    labels: int
    missing: int
    reason: str = ""


class TrainingData(Protocol):
    """A datastore that has, or makes, a studies folder to train on.

    Attributes:
        readers: whose labels to take, one of `lib.data.reader_choice.READERS`.
        is_local: whether the files of the images tell their modalities; else `modality` does.
    """

    readers: str
    is_local: bool

    def modality(self, image_id: str) -> str:
        """Return the DICOM modality of an image; empty where nothing tells it."""

    def training_folder(self, content: str) -> Path:
        """Return a studies folder with the accepted labels of one content.

        Args:
            content: "mask" for label images, "density" for densities of exams.
        """


class ModelTrain(TrainTask):
    """Trains a task on the datastore's final labels, and publishes weights that score better.

    A request may have the parameters of `TrainingRequest` and those of the kind of task. The
    learning rate is by default the recipe's, or a tenth of it from published weights on.
    """

    @abstractmethod
    def kind_parameters(self) -> dict[str, Parameter]:
        """Return the parameters that only this kind of task has."""

    @abstractmethod
    def changed_task(self, kind_values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with the values of `kind_parameters` in it."""

    def chosen_items(self, items: list[Item], kind_values: Mapping[str, Any]) -> list[Item]:
        """Return the items as `kind_values` ask for them."""
        return items

    def __init__(
        self,
        task: TaskSpec,
        store: ModelStore,
        device: str = "auto",
        precision: str = "auto",
        compile: Compile = "auto",
    ) -> None:
        super().__init__(f"Train: {task.description}")
        self.task, self.store = task, store
        self.precision, self.compile = precision, compile
        self.run_folder = RunFolder(store.run_folder(task.name), task.name)
        recipe = task.training
        devices = [device, *(name for name in ("auto", "cpu", "cuda") if name != device)]
        self.parameters: dict[str, Parameter] = {
            "max_epochs": Parameter(50, int, 1, 10**6),
            "train_batch_size": Parameter(recipe.batch_size, int, 1, 4096),
            "val_split": Parameter(recipe.val_split, float, 0.0),
            "early_stop_patience": Parameter(recipe.early_stop_patience, int, 0, 10**6),
            "learning_rate": Parameter(recipe.learning_rate, float, 0.0, 1e3),
            **self.kind_parameters(),
            "seed": Parameter(0, int, 0, 2**32 - 1),
            "pretrained": Parameter(True, parse_switch),
            "multi_gpu": Parameter(True, parse_switch),
            "device": Parameter(devices, parse_text),
            "name": Parameter("train_01", parse_name),
        }

    def info(self) -> dict[str, Any]:
        """Return what clients get to know, with the structures and what the task is for."""
        return {**super().info(), "labels": dict(self.task.labels), **self.task.is_for}

    def config(self) -> dict[str, Any]:
        """Return the parameters with their defaults, as clients show them, and send them back."""
        shown = {name: parameter.default for name, parameter in self.parameters.items()}
        return {**shown, "learning_rate": self._rate(pretrained=True)}

    def _rate(self, pretrained: bool) -> float:
        """Return the learning rate of a run that is given none."""
        from_weights = pretrained and self.store.served_path(self.task.name) is not None
        return self.task.training.learning_rate * (FINE_TUNING if from_weights else 1)

    def stats(self) -> dict[str, Any]:
        """Return the status of the last run in the fields that viewers read."""
        return self.run_folder.stats()

    def read(self, request: Mapping[str, Any]) -> TrainingRequest:
        """Return the request, checked.

        Raises:
            InputError: an unknown parameter or a value that does not fit; the message names it.
        """
        values = read_values(request, self.parameters)
        if "learning_rate" not in request:
            values["learning_rate"] = self._rate(values["pretrained"])
        kind_values = {name: values.pop(name) for name in self.kind_parameters()}
        return TrainingRequest(**values, kind_values=kind_values)

    def items(self, datastore: TrainingData, task: TaskSpec) -> list[Item]:
        """Return the labelled cases of the datastore; labels of other structures are left out.

        Raises:
            InputError: there are none, or a label or an image cannot be read.
        """
        return self.sorted_items(datastore, task)[0]

    def sorted_items(
        self, datastore: TrainingData, task: TaskSpec
    ) -> tuple[list[Item], dict[str, str]]:
        """Return `items`, and why labels are left out, by id."""
        kind = kind_of(task)
        folder = datastore.training_folder(kind.label)
        items, left_out = kind.matching(list_labelled(folder, task, datastore.readers), task)
        if datastore.is_local or kind.by_exam:
            return items, left_out
        # an archive's volumes of slices lie in files that have no modality
        for item in items:
            if reason := refusal(task, ImageKind(datastore.modality(stem(item.image)))):
                left_out[item.id] = reason
        return without(items, left_out, task)

    def supply(self, datastore: TrainingData) -> Supply:
        """Return how many labels there are, and whether they are enough for the defaults."""
        try:
            items = self.items(datastore, self.task)
        except InputError as error:  # none, or none of its structures
            return Supply(0, LEAST_ITEMS, str(error))
        # the views of an exam share its label
        labels = len({item.sample for item in items} if kind_of(self.task).by_exam else items)
        try:
            split_items(items, self.task.training.val_split)
        except InputError as error:
            return Supply(labels, max(1, LEAST_ITEMS - labels), str(error))
        return Supply(labels, 0)

    def check(self, request: Mapping[str, Any], datastore: TrainingData) -> None:
        """Refuse a request that could not be trained, before a process is started for it."""
        options = self.read(request)
        if self.store.folder.is_dir() and (reason := why_not_writable(self.store.folder)):
            raise InputError(
                f"the folder of the weights cannot be written to ({reason}), so nothing can be "
                f"trained; start the server with another --conf model_dir"
            )
        self.run_folder.require_free()
        resolve_device(options.device)
        task = self.changed_task(options.kind_values)
        split_items(self.items(datastore, task), options.val_split)
        kind_of(task).cases.check_size(task)

    def __call__(self, request: Mapping[str, Any], datastore: TrainingData) -> dict[str, Any]:
        """Train, and publish the weights if they are better than the published ones.

        Returns:
            ``published``, ``reason``, ``version``, ``metrics``, ``steps``, ``left_out`` (why labels
            were, by id) and the training stats.
        """
        options = self.read(request)
        task = self.changed_task(options.kind_values)
        items, left_out = self.sorted_items(datastore, task)
        items = self.chosen_items(items, options.kind_values)
        for id, reason in left_out.items():
            logger.warning(f"Training '{self.task.name}' leaves out the label of '{id}': {reason}")
        task = _with_recipe(task, items, options)
        with self.run_folder.exclusive():
            result, decision = train_and_submit(
                task,
                items,
                FitOptions(
                    out=self.run_folder.path,
                    seed=options.seed,
                    device=options.device,
                    precision=self.precision,
                    compile=self.compile,
                    command=f"monailabel train {self.task.name} ({options.name})",
                ),
                self.store,
                pretrained=options.pretrained,
                processes=_processes(options),
            )
            self.run_folder.note(asdict(decision))
            self.run_folder.clear()
        logger.info(f"Training '{self.task.name}': {decision.reason}")
        print(f"{self.task.name}: {decision.reason}", flush=True)
        return {
            "published": decision.published,
            "reason": decision.reason,
            "version": decision.version,
            "metrics": result.metrics,
            "steps": result.steps,
            "stopped_early": result.stopped_early,
            "training_cases": len(result.training_ids),
            "validation_cases": len(result.validation_ids),
            "left_out": left_out,
            "train_stats": self.stats(),
        }


def _with_recipe(task: TaskSpec, items: list[Item], options: TrainingRequest) -> TaskSpec:
    """Return the task with the recipe that the request asks for.

    It is validated at most once in a pass, and at least five times where there are as many passes.
    """
    training, _ = split_items(items, options.val_split)
    recipe = replace(task.training, batch_size=options.train_batch_size)
    per_epoch = kind_of(task).cases.batches(training, replace(task, training=recipe))
    steps = per_epoch * options.max_epochs
    interval = min(recipe.val_interval or per_epoch, steps // 5)
    recipe = replace(
        recipe,
        epochs=0,
        steps=steps,
        val_split=options.val_split,
        val_interval=max(per_epoch, interval),
        early_stop_patience=options.early_stop_patience,
        learning_rate=options.learning_rate,
    )
    return replace(task, training=recipe)


def _processes(options: TrainingRequest) -> int:
    """Return one process per GPU if the processes can share a batch, else one."""
    if not options.multi_gpu or options.device == "cpu":
        return 1
    gpus = max(1, torch.cuda.device_count())
    return 1 if options.train_batch_size % gpus else gpus


def build_trainer(
    task: TaskSpec,
    store: ModelStore,
    device: str = "auto",
    precision: str = "auto",
    compile: Compile = "auto",
) -> ModelTrain:
    """Return what trains `task` on the server.

    Raises:
        InputError: the server does not train such tasks, or the row is wrong.
    """
    check_row(task)
    entry = kind_of(task).trainer
    if entry is None:
        raise InputError(f"'{task.name}' ({task.kind}) is not trained here; use the command line")
    trainer: ModelTrain = resolve(entry)(task, store, device, precision, compile)
    return trainer
