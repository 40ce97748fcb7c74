"""What the InferTasks share: live weights, whether there are any, and how a label is written."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from infer.predictor_cache import LivePredictors
from lib.errors import choose
from lib.image import Geometry
from lib.io.masks import write_mask
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore

_DTYPES = {name: np.dtype(name) for name in ("uint8", "uint16", "uint32", "int16", "int32")}


class LiveInfer(InferTask):
    """Answers with the live weights of one row."""

    live: LivePredictors[Any]

    def __init__(
        self,
        task: TaskSpec,
        store: ModelStore,
        kind: InferType,
        device: str = "auto",
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            type=kind,
            labels=dict(task.labels),
            dimension=task.network.spatial_dims,
            description=task.description,
            config=config,
        )
        self.task, self.store, self.device = task, store, device

    def is_valid(self) -> bool:
        """Tell whether there are weights; a task without any is not offered."""
        return self.store.served_path(self.task.name) is not None

    def version(self) -> str:
        """Return the version of the weights that answer; `UnpublishedError` without any."""
        return self.live.get(self.device)[1]

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the live weights; with `validate` off, where they would be."""
        path = self.store.served_path(self.task.name)
        if path is None and not validate:
            path = self.store.published_path(self.task.name)
        return str(path) if path else None


def write_label(label: np.ndarray, geometry: Geometry, suffix: str, dtype: Any = None) -> str:
    """Write a label image into a temporary file, which the caller deletes, and return its path.

    Args:
        dtype: name of the type of its values; None takes the smallest.
    """
    handle, file = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    try:
        write_mask(
            file, label, geometry, choose("result_dtype", str(dtype), _DTYPES) if dtype else None
        )
    except BaseException:
        os.unlink(file)
        raise
    return file


def first(value: Any) -> Any:
    """Return the first of a list: viewers send a list of choices back untouched."""
    return (value[0] if value else None) if isinstance(value, (list, tuple)) else value
