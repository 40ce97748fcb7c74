"""The MONAI Label application: one infer task and one trainer per row of the task table."""

from __future__ import annotations

import copy
import logging
import os
import sys
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from infer.base import InferSettings
from infer.build import build_infer
from infer.result_files import ResultFiles
from infer.scribbles import REGION, SCRIBBLES, RegionInfer, ScribblesInfer
from lib.devices import keep_freed_memory
from lib.errors import DivergedError, InputError, UnpublishedError, choose, parse_switch, unknown
from lib.kinds import kind_of
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore
from monailabel_app import __version__
from monailabel_app.active.background import ScoringSettings
from monailabel_app.active.quiet import Quiet
from monailabel_app.active.reading import start_reading
from monailabel_app.active.scoring_methods import make_methods
from monailabel_app.active.strategies import ActiveLearning, ActiveStrategy
from monailabel_app.archive.open import is_google, open_archive, open_google
from monailabel_app.batch import ResumableBatch
from monailabel_app.config import SHIPPED_MODELS, AppConfig
from monailabel_app.retraining import Retraining
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.studies.protocol import NOT_STORED, StudiesProtocol
from monailabel_app.web.users import Users
from trainers.base import ModelTrain, build_trainer

logger = logging.getLogger(__name__)

BACKGROUND_NICENESS = 10


class App(MONAILabelApp):
    """Segmentation of pictures and volumes, density of mammograms, training on new labels."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        keep_freed_memory()  # before threads start, each with a heap of its own
        try:
            self.config = AppConfig.from_conf({k: v for k, v in conf.items() if k != "server_mode"})
            self.users = Users.read(self.config.users) if self.config.users else None
        except InputError as error:
            _refuse_to_start(error)
        self.store = ModelStore(self.config.model_dir, SHIPPED_MODELS)
        self.result_files = ResultFiles()
        self.retraining: Retraining | None = None
        # more requests at once are no faster together, and delay short ones
        self._inferring = threading.BoundedSemaphore(os.cpu_count() or 1)
        super().__init__(
            app_dir,
            studies,
            conf,
            name="MONAI Label: U-Net and V-Net family",
            description="Nuclei segmentation with U-Nets and V-Nets, retrained on your labels",
            version=__version__,
        )
        # MONAI Label would start a process for each method after each next sample and training
        self._auto_update_scoring = False

    # --- what is served --------------------------------------------------------------------------

    def init_datastore(self) -> StudiesProtocol:
        """Open the studies: a local folder, or a DICOMweb archive at a URL."""
        if not self.studies.startswith(("http://", "https://")):
            reload = os.environ.get("MONAI_LABEL_DATASTORE_AUTO_RELOAD", "true").lower() == "true"
            store = StudiesDatastore(self.studies, reload, tasks=self._served())
            store.readers = self.config.readers
            for sentence in store.passed_over.sentences:
                logger.warning(sentence)
            return store
        url = str(self.studies).strip().rstrip("/")
        if is_google(url):
            self._download_dcmqi_tools()  # with which MONAI Label reads and writes DICOM SEG
            return open_google(url)
        tasks = [get_task(name) for name in self.config.models]
        config = self.config
        try:
            return open_archive(
                url, config.archive_cache, config.archive_cache_gb, tasks, config.readers
            )
        except InputError as error:
            _refuse_to_start(error)

    def init_infers(self) -> dict[str, InferTask]:
        """Return an infer task per served row, and those that need no weights."""
        rows = self._served()
        labels = [name for task in rows if kind_of(task).painted for name in task.labels]
        names = list(dict.fromkeys(labels))
        untrained = {SCRIBBLES: ScribblesInfer(names), REGION: RegionInfer(names)} if names else {}
        settings = InferSettings(
            device=self.config.device,
            precision=self.config.precision,
            flips=self.config.flips,
            find_exam=self.datastore().exam_of,
            # a process beside the server has no place for files of answers
            result_files=lambda: self.result_files if self._server_mode else None,
        )
        return {task.name: build_infer(task, self.store, settings) for task in rows} | untrained

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return a trainer per served row."""
        device, precision = self.config.device, self.config.precision
        return {
            task.name: build_trainer(task, self.store, device, precision) for task in self._served()
        }

    def _served(self) -> list[TaskSpec]:
        """Return the rows to serve; those that the server cannot answer are logged instead."""
        tasks = [get_task(name) for name in self.config.models]
        others = [task.name for task in tasks if not kind_of(task).served]
        if others:
            logger.warning(f"Not served yet, use the command line: {', '.join(others)}")
        return [task for task in tasks if kind_of(task).served]

    @cached_property
    def active(self) -> ActiveLearning:
        """The strategies, the scores that they use, and who works on which image."""
        config, served = self.config, {task.name: task for task in self._served()}
        settings = ScoringSettings(
            device=config.device, precision=config.precision, enabled=config.scoring
        )
        return ActiveLearning(self.datastore(), served, self.store, settings)

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the ways to choose the next image."""
        return dict(self.active.strategies())

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return the ways to score images and their labels."""
        return dict(make_methods(self.trainers, self.active))

    def init_batch_infer(self) -> ResumableBatch:
        """Return the task that answers on many images."""
        return ResumableBatch(self.require_model)

    def on_init_complete(self) -> None:
        """Finish the start of the server: replace routes, score images, train on new labels."""
        from monailabel_app.web import routes

        super().on_init_complete()
        routes.install(self, self.users)
        self.active.background.start()
        start_reading(self.datastore(), self.quiet)
        if self.config.auto_train:
            self.retraining = Retraining(self, self.config.auto_train)
            self.retraining.start()

    @property
    def quiet(self) -> Quiet:
        """Counts requests, so that images are scored between them."""
        return self.active.background.quiet

    @property
    def trainers(self) -> Mapping[str, ModelTrain]:
        """The trainers by model."""
        trainers: Mapping[str, ModelTrain] = self._trainers
        return trainers

    # --- requests --------------------------------------------------------------------------------

    def require_model(self, model: str) -> InferTask:
        """Return the infer task of `model`.

        Raises:
            NotFoundError: it is not served here.
            UnpublishedError: it has no weights.
        """
        task = choose("model", model, self._infers)
        if not task.is_valid():
            raise UnpublishedError(
                f"'{model}' has no weights yet; train it first with POST /train/{model}"
            )
        return task

    def require_trainer(self, model: str) -> ModelTrain:
        """Return the trainer of `model`; an unknown one raises `NotFoundError`."""
        return choose("model", model, self.trainers)

    def require_strategy(self, name: str) -> ActiveStrategy:
        """Return the way `name` to choose the next image; an unknown one raises `NotFoundError`."""
        return choose("strategy", name, self._strategies)

    def require_scoring_method(self, name: str) -> ScoringMethod:
        """Return the way `name` to score; an unknown one raises `NotFoundError`."""
        return choose("scoring method", name, self._scoring_methods)

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run a model on an image of the datastore, or on an uploaded file.

        An image is first looked up as an id of the datastore, so a file with this name in the
        working folder is never used instead. Else it is the path of an uploaded file.
        """
        request = copy.deepcopy(request)
        store = datastore or self.datastore()
        name = str(request.get("model", ""))
        task = self.require_model(name)
        image = str(request.get("image", ""))
        uri = store.get_image_uri(image) if image else ""
        uploaded = not uri and Path(image).is_absolute() and Path(image).exists()
        if not uri and not uploaded:
            raise unknown("image", image, store.list_images())
        save = parse_switch(request.get("save_label"), "save_label")
        request["image"] = uri or image
        request["description"] = task.description
        with self._inferring:
            file, summary = task(request)
        label: str | None = file
        tag = str(request.get("label_tag") or "original")
        if file and save and not uploaded:
            label = store.save_label(image, file, tag, {"model": name, "params": summary})
        return {"label": label, "tag": tag, "file": file, "params": summary}

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train a model; a process started for it has a lower priority than the server."""
        self.require_trainer(str(request.get("model", "")))
        if self._server_mode:
            return super().train(request)
        os.nice(BACKGROUND_NICENESS)
        try:
            return super().train(request)
        except (InputError, DivergedError) as error:
            sys.exit(f"Error: {error}")  # one line in the task's details, not a traceback

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next image to label, one that nobody else works on."""
        name = str(request.get("strategy") or "random")
        return self.active.next(self.require_strategy(name), request)

    def reopened_for(self, image: str) -> TaskSpec | None:
        """Return the task for which somebody works on a finished image again; else None."""
        return self.active.reopened_for(image)

    def scoring(
        self, request: dict[str, Any], datastore: Datastore | None = None
    ) -> dict[str, Any]:
        """Score images; a process started for it has a lower priority than the server."""
        self.require_scoring_method(str(request.get("method", "")))
        if self._server_mode:
            return super().scoring(request, datastore)
        os.nice(BACKGROUND_NICENESS)
        try:
            return super().scoring(request, datastore)
        except InputError as error:
            sys.exit(f"Error: {error}")  # one line in the task's details, not a traceback

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """End the lease of the image, and count the label for retraining.

        Returns:
            ``kept_aside``, the structures of the image that no task has, if any, and
            ``not_stored``, why nothing else was; they become part of the answer.
        """
        super().on_save_label(image_id, label_id)
        self.active.saved(image_id)
        aside = self.datastore().kept_aside(image_id)
        answer: dict[str, Any] = {"kept_aside": aside} if aside else {}
        if not label_id:
            answer["not_stored"] = NOT_STORED
        elif self.retraining is not None:
            self.retraining.label_saved()
        return answer

    def model_file(self, model: str, validate: bool = True) -> str | None:
        """Return the file of the served weights; an unknown model raises `NotFoundError`."""
        return choose("model", model, self._infers).get_path(validate)

    def model_info(self, model: str) -> dict[str, Any] | None:
        """Return checksum, time, training statistics and versions of a model."""
        info = super().model_info(model)
        if info is not None:
            info["versions"] = [version.as_dict() for version in self.store.versions(model)]
        return info


def _refuse_to_start(error: InputError) -> NoReturn:
    """End the process with one line: uvicorn would print a traceback."""
    logger.error(str(error))
    print(f"Error: {error}", flush=True)
    os._exit(2)


__all__ = ["App"]
