"""What web routes and retraining know of the app, as a Protocol, so that neither imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from monailabel.interfaces.tasks.infer_v2 import InferTask

from infer.result_files import ResultFiles
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore
from monailabel_app.active.quiet import Quiet
from monailabel_app.active.samples import Samples
from monailabel_app.active.strategies import ActiveLearning
from monailabel_app.active.turns import Turns
from monailabel_app.audit import AuditLog
from monailabel_app.config import AppConfig
from monailabel_app.studies.protocol import StudiesProtocol
from trainers.base import ModelTrain


class AppServices(Protocol):
    """The running app.

    Attributes:
        config: its options.
        store: published weights and their versions.
        result_files: files of answers, for viewers to fetch.
        audit: where changes of labels and models are written down.
        turns: who runs a model next.
    """

    config: AppConfig
    store: ModelStore
    result_files: ResultFiles
    audit: AuditLog
    turns: Turns

    @property
    def active(self) -> ActiveLearning:
        """The strategies, and how informative images and exams are."""

    @property
    def quiet(self) -> Quiet:
        """Counts requests, so that images are scored between them."""

    @property
    def models(self) -> Mapping[str, InferTask]:
        """The models by name, with weights or without."""

    @property
    def samples(self) -> Samples:
        """What of the images can be labelled at once, and which tasks it fits."""

    @property
    def trainers(self) -> Mapping[str, ModelTrain]:
        """The trainers by model."""

    def datastore(self) -> StudiesProtocol:
        """Return the images and labels that are served."""

    def sessions(self) -> Any:
        """Return MONAI Label's store of uploaded images; None where sessions are off."""

    def require_model(self, model: str) -> InferTask:
        """Return the infer task of a model with weights, else raise."""

    def require_trainer(self, model: str) -> ModelTrain:
        """Return the trainer of a model, else raise `NotFoundError`."""

    def require_strategy(self, name: str) -> Any:
        """Return a way to choose the next image, else raise `NotFoundError`."""

    def require_scoring_method(self, name: str) -> Any:
        """Return a way to score images and labels, else raise `NotFoundError`."""

    def model_file(self, model: str, validate: bool = True) -> str | None:
        """Return the file of the published weights; an unknown model raises `NotFoundError`."""

    def infer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a model's answer on an image."""

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next image to label."""

    def reopened_for(self, image: str) -> TaskSpec | None:
        """Return the task for which somebody works on a finished image again; else None."""
