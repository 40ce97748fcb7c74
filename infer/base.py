"""What the InferTasks share: settings, published weights, and how a label is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from infer.predictor_cache import PublishedPredictors
from infer.result_files import ResultFiles
from lib.data.diameter import DIAMETER, keeps_sizes, read_diameter
from lib.errors import choose
from lib.exports.targets import Exporter
from lib.image import Geometry
from lib.io.masks import Names, write_mask
from lib.mammography.exams import Exam, exam_of, group_exams
from lib.tasks.spec import TaskSpec
from lib.weights.backend_names import TORCH
from lib.weights.runner import NetworkRunner
from lib.weights.store import ModelStore

_DTYPES = {name: np.dtype(name) for name in ("uint8", "uint16", "uint32", "int16", "int32")}


Runner = TypeVar("Runner", bound=NetworkRunner)


def exam_of_file(path: Path) -> Exam | None:
    """Return the exam that a file alone makes up; None if it is no mammogram."""
    return exam_of(path, group_exams([path]))


@dataclass(frozen=True, kw_only=True)
class InferSettings:
    """What an app decides for all its InferTasks.

    Attributes:
        device: name of the device, where a request names none.
        precision: number format, see `lib.devices.resolve_precision`.
        backend: what computes on CPUs, see `lib.weights.backend_names`. With "auto" torch
            answers until OpenVINO is ready.
        wait: whether "auto" waits for OpenVINO instead, so that all answers come from it.
        flips: whether answers are averaged over mirrored copies, where a request does not say.
        find_exam: returns the exam that a file is a view of; by default the file stands alone.
        result_files: returns where files of an answer are kept for viewers to fetch; None where an
            answer has no files but the label image.
        exporter: gets each answer of a segmentation.
        software: version of the app, for files that keep it.
    """

    device: str = "auto"
    precision: str = "auto"
    backend: str = TORCH
    wait: bool = False
    flips: bool = False
    find_exam: Callable[[Path], Exam | None] = exam_of_file
    result_files: Callable[[], ResultFiles | None] = lambda: None
    exporter: Exporter | None = None
    software: str = "unversioned"


class ModelInfer(InferTask, Generic[Runner]):
    """Answers with the published weights of one row.

    Class attributes:
        infer_type: what viewers take it for.
        takes_flips: whether requests may have ``flips``.
        results: kinds of label image that a request may name as ``result``, the first by default.
    """

    infer_type: InferType
    takes_flips = False
    results: tuple[str, ...] = ()

    def __init__(
        self,
        task: TaskSpec,
        store: ModelStore,
        settings: InferSettings,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            type=self.infer_type,
            labels=dict(task.labels),
            dimension=task.network.spatial_dims,
            description=task.description,
            config=config,
        )
        self.task, self.store, self.settings = task, store, settings
        self.predictors = PublishedPredictors[Runner](
            task, store, settings.precision, settings.backend, settings.wait
        )

    def info(self) -> dict[str, Any]:
        """Return what clients get to know, with what the task is for; empty lists are any."""
        return {**super().info(), **self.task.is_for}

    def is_valid(self) -> bool:
        """Tell whether there are weights that can answer; a task without any is not offered."""
        return not self.problem()

    def problem(self) -> str:
        """Return why there is no answer of the task; empty if there is."""
        return self.predictors.problem()

    def version(self) -> str:
        """Return the version of the weights that answer; `UnpublishedError` without any."""
        return self.predictors.get(self.settings.device)[1]

    def predictor(self, request: dict[str, Any]) -> tuple[Runner, str]:
        """Return the predictor on the device of a request, and the version of its weights."""
        return self.predictors.get(first(request.get("device")) or self.settings.device)

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the published weights; with `validate` off, where they would be."""
        path = self.store.served_path(self.task.name)
        if path is None and not validate:
            path = self.store.published_path(self.task.name)
        return str(path) if path else None


def write_label(
    label: np.ndarray, geometry: Geometry, suffix: str, dtype: Any = None, names: Names = ()
) -> str:
    """Write a label image into a temporary file, which the caller deletes, and return its path.

    Args:
        dtype: name of the type of its values; None takes the smallest.
        names: of the values, which .nrrd keeps.
    """
    handle, file = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    try:
        kept = choose("result_dtype", str(dtype), _DTYPES) if dtype else None
        write_mask(file, label, geometry, kept, names)
    except BaseException:
        os.unlink(file)
        raise
    return file


def diameter_of(model: InferTask, request: Mapping[str, Any]) -> float:
    """Return the typical diameter of the objects that a request tells; 0 where it is estimated.

    Raises:
        InputError: it is no diameter, or the model takes none, as its ``config`` says.
    """
    told = read_diameter(first(request.get(DIAMETER)))
    if told and DIAMETER not in model.config():
        raise keeps_sizes(str(request.get("model", "the model")))
    return told


def channel_of(request: Mapping[str, Any]) -> str:
    """Return the channel that a request asks for, a name or a number; empty for none."""
    asked = first(request.get("channel"))
    return "" if asked is None else str(asked).strip()


def first(value: Any) -> Any:
    """Return the first of a list: viewers send a list of choices back untouched."""
    return (value[0] if value else None) if isinstance(value, (list, tuple)) else value
