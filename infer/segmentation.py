"""Segmentation of images and volumes as a MONAI Label InferTask."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from infer.live import LivePredictors
from lib.errors import choose
from lib.images import read_image
from lib.masks import result_extension, write_mask
from lib.model_store import ModelStore
from lib.tasks import TaskSpec

INSTANCES, MASK = "instances", "mask"
_DTYPES = {name: np.dtype(name) for name in ("uint8", "uint16", "uint32", "int16", "int32")}


class SegmentationInfer(InferTask):
    """Answers with a label image of the input's size and geometry, and figures beside it.

    Request parameters: ``device``, ``flips`` (test-time mirroring), ``result`` ("instances"
    numbers every object, "mask" holds the class value), ``result_extension``, ``result_dtype``.
    """

    def __init__(
        self,
        task: TaskSpec,
        store: ModelStore,
        device: str = "auto",
        precision: str = "auto",
        flips: bool = False,
    ) -> None:
        results = [INSTANCES, MASK] if task.output.instances else [MASK]
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=dict(task.labels),
            dimension=task.network.spatial_dims,
            description=task.description,
            config={"result": results, "flips": flips},
        )
        self.task, self.store, self.device = task, store, device
        self.live = LivePredictors(task, store, precision)

    def is_valid(self) -> bool:
        """Tell whether there are weights; a task without any is not offered."""
        return self.store.live_path(self.task.name) is not None

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the live weights; with `validate` off, where they would be."""
        path = self.store.live_path(self.task.name)
        if path is None and not validate:
            path = self.store.published_path(self.task.name)
        return str(path) if path else None

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``, a file path.

        Returns:
            The label file, which the caller deletes, and a summary: ``label_names``,
            ``latencies`` in seconds, ``objects``, ``foreground`` (share of the image),
            ``presence`` (0..1, of tasks that answer it), ``model_version``.

        Raises:
            InputError: an unreadable image or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        wanted = _first(request.get("result", self._config["result"]))
        choose("result", wanted, dict.fromkeys(self._config["result"]))
        kind = request.get("result_extension")
        result_extension(kind, path, self.task.network.spatial_dims)  # refused before reading
        predictor, version = self.live.get(_first(request.get("device")) or self.device)
        image = read_image(path, self.task.input.max_pixels, self.task.image_dims)
        suffix = result_extension(kind, path, image.spatial_dims)
        read = time.perf_counter() - start

        prediction = predictor(
            image, instances=wanted == INSTANCES, flips=_switch("flips", request, self._config)
        )
        if wanted == INSTANCES and prediction.instances is not None:
            label = prediction.instances
        else:
            label = prediction.mask

        writing = time.perf_counter()
        handle, file = tempfile.mkstemp(suffix=suffix)
        os.close(handle)
        try:
            write_mask(file, label, image.geometry, _dtype(request.get("result_dtype")))
        except BaseException:
            os.unlink(file)
            raise
        seconds = dict(prediction.seconds)
        seconds["pre"] += read
        seconds["write"] = time.perf_counter() - writing
        seconds["total"] = time.perf_counter() - start
        summary: dict[str, Any] = {
            "label_names": dict(self.task.labels),
            "latencies": {name: round(value, 4) for name, value in seconds.items()},
            "foreground": round(float((prediction.mask > 0).mean()), 6),
            "model_version": version,
        }
        if prediction.presence is not None:
            summary["presence"] = round(prediction.presence, 4)
        if prediction.instances is not None:
            summary["objects"] = int(prediction.instances.max(initial=0))
        return file, summary


def _first(value: Any) -> Any:
    """Return the first of a list: viewers send a list of choices back untouched."""
    return (value[0] if value else None) if isinstance(value, (list, tuple)) else value


def _switch(name: str, request: dict[str, Any], defaults: dict[str, Any]) -> bool:
    value = _first(request.get(name, defaults[name]))
    if isinstance(value, str):
        value = choose(name, value.lower(), {"true": True, "false": False})
    return bool(value)


def _dtype(name: Any) -> np.dtype | None:
    return choose("result_dtype", str(name), _DTYPES) if name else None
