"""The MONAI Label application: one infer task and one trainer per row of the task table."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from infer.base import InferSettings, ModelInfer
from infer.build import build_infer, build_untrained
from lib.devices import keep_freed_memory
from lib.errors import UnpublishedError, choose, parse_switch, unknown
from lib.isolation import calls
from lib.kinds import kind_of
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore
from monailabel_app import __version__
from monailabel_app.active.background import ScoringSettings
from monailabel_app.active.quiet import Quiet
from monailabel_app.active.reading import start_reading
from monailabel_app.active.samples import Samples
from monailabel_app.active.scoring_methods import make_methods
from monailabel_app.active.strategies import ActiveLearning, ActiveStrategy
from monailabel_app.active.turns import Turns
from monailabel_app.archive.open import is_google
from monailabel_app.config import SHIPPED_MODELS, AppConfig
from monailabel_app.datastores import open_datastore
from monailabel_app.retraining import Retraining
from monailabel_app.server_batch import ResumableBatch
from monailabel_app.start import check_models, considerate, prepare_temporary_folder, starting
from monailabel_app.studies.fitting import check_fit
from monailabel_app.studies.protocol import NOT_STORED, StudiesProtocol
from monailabel_app.web.changes import note_training, open_audit_log, save_answer
from monailabel_app.web.ownership import OwnedResultFiles
from monailabel_app.web.sessions import SafeSessions
from monailabel_app.web.users_file import UsersFile
from trainers.base import ModelTrain, build_trainer

logger = logging.getLogger(__name__)


class App(MONAILabelApp):
    """Segmentation of pictures and volumes, density of mammograms, training on new labels."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        keep_freed_memory()  # before threads start, each with a heap of its own
        with starting():
            self.config = AppConfig.from_conf({k: v for k, v in conf.items() if k != "server_mode"})
            self.users = UsersFile(self.config.users) if self.config.users else None
            prepare_temporary_folder()
            calls.read_in_workers()
            writable = check_models(self.config.model_dir)
            self.store = ModelStore(self.config.model_dir, SHIPPED_MODELS)
            if writable:
                self.store.clean()
            self.audit = open_audit_log(self.config)
        self.result_files = OwnedResultFiles()
        self.result_files.bound(self.config.results_mb, self.config.results_minutes)
        self.retraining: Retraining | None = None
        # more requests at once are no faster together, and delay short ones
        self.turns = Turns(os.cpu_count() or 1, self.config.queue)
        with starting():
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
        studies = str(self.studies)
        if is_google(studies):
            self._download_dcmqi_tools()  # with which MONAI Label reads and writes DICOM SEG
        return open_datastore(studies, self.config, self._served())

    def _load_sessions(self, load: bool = False) -> SafeSessions | None:
        """Return MONAI Label's store of uploaded images; None where sessions are off."""
        path, seconds = settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY
        return SafeSessions(path, seconds) if load else None

    def cleanup_sessions(self) -> None:
        """Remove what is kept for a time; MONAI Label asks for it at the start and from then on."""
        self.result_files.expire()
        if self._sessions is not None:
            self._sessions.remove_expired()

    def init_infers(self) -> dict[str, InferTask]:
        """Return an infer task per served row, and those that need no weights."""
        rows = self._served()
        labels = [name for task in rows if kind_of(task).painted for name in task.labels]
        settings = InferSettings(
            device=self.config.device,
            precision=self.config.precision,
            backend=self.config.backend,
            flips=self.config.flips,
            find_exam=self.datastore().exam_of,
            # a process beside the server has no place for files of answers
            result_files=lambda: self.result_files if self._server_mode else None,
            software=__version__,
        )
        trained = {task.name: build_infer(task, self.store, settings) for task in rows}
        return trained | build_untrained(list(dict.fromkeys(labels)), settings)

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return a trainer per served row."""
        config = self.config
        options = self.store, config.device, config.precision, config.compile
        return {task.name: build_trainer(task, *options) for task in self._served()}

    def _served(self) -> list[TaskSpec]:
        """Return the rows to serve; those that the server cannot answer are logged instead."""
        tasks = [get_task(name) for name in self.config.models]
        others = [task.name for task in tasks if not kind_of(task).served]
        if others:
            logger.warning(f"Not served yet, use the command line: {', '.join(others)}")
        served = [task for task in tasks if kind_of(task).served]
        return [task.for_any_image() for task in served] if self.config.any_modality else served

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
        return ResumableBatch(self.require_model, self.config.model_dir)

    def on_init_complete(self) -> None:
        """Finish the start of the server: replace routes, score images, train on new labels."""
        from monailabel_app.web import routes

        super().on_init_complete()
        for task in self._infers.values():
            task.is_valid()  # names damaged weights in the log
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
    def models(self) -> Mapping[str, InferTask]:
        """The models by name."""
        return dict(self._infers)

    @property
    def samples(self) -> Samples:
        """What of the images can be labelled at once, and which tasks it fits."""
        return self.active.samples

    @property
    def trainers(self) -> Mapping[str, ModelTrain]:
        """The trainers by model."""
        return dict(self._trainers)

    # --- requests --------------------------------------------------------------------------------

    def require_model(self, model: str) -> InferTask:
        """Return the infer task of `model`.

        Raises:
            NotFoundError: it is not served here.
            UnpublishedError: it has no weights.
        """
        task = choose("model", model, self._infers)
        if isinstance(task, ModelInfer) and (problem := task.problem()):
            raise UnpublishedError(problem)
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
        task = self.require_model(str(request.get("model", "")))
        image = str(request.get("image", ""))
        uri = store.get_image_uri(image) if image else ""
        uploaded = not uri and Path(image).is_absolute() and Path(image).exists()
        if not uri and not uploaded:
            raise unknown("image", image, store.list_images())
        save = parse_switch(request.get("save_label"), "save_label")
        request["image"] = uri or image
        unfit = check_fit(task, store, image if uri else "", Path(request["image"]), request)
        request["description"] = task.description
        with self.turns.slot():
            file, summary = task(request)
        summary |= {"unfit": unfit} if unfit else {}
        label: str | None = file
        tag = str(request.get("label_tag") or "original")
        if file and save and not uploaded:
            label = save_answer(self, store, image, file, tag, request, summary)
        return {"label": label, "tag": tag, "file": file, "params": summary}

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train a model; a process started for it has a lower priority than the server."""
        self.require_trainer(str(request.get("model", "")))
        result = considerate(partial(super().train, request), alone=not self._server_mode)
        note_training(self, request["model"], result, by="" if self._server_mode else "training")
        return result

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
        work = partial(super().scoring, request, datastore)
        return considerate(work, alone=not self._server_mode)

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


__all__ = ["App"]
