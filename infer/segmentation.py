"""Segmentation of images and volumes as a MONAI Label InferTask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.base import InferSettings, ModelInfer, first, write_label
from lib.errors import choose, parse_switch
from lib.image import Image
from lib.io.masks import result_extension
from lib.io.read import read_image
from lib.segmentation.predictor import Prediction, Predictor
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore

INSTANCES, MASK = "instances", "mask"
Runner = TypeVar("Runner", bound=Predictor)


class SegmentationInfer(ModelInfer[Runner]):
    """Answers with a label image of the input's size and geometry, and figures beside it.

    Request parameters: ``device``, ``flips`` (test-time mirroring), ``result`` ("instances"
    numbers every object, "mask" holds the class value; as OHIF asks, with ``restore_label_idx``
    false, that is the default), ``result_extension``, ``result_dtype``.
    """

    infer_type = InferType.SEGMENTATION
    takes_flips = True
    results: Sequence[str] = (INSTANCES, MASK)  # the first by default

    def __init__(self, task: TaskSpec, store: ModelStore, settings: InferSettings) -> None:
        results = self.results if task.output.instances else [MASK]
        flips = {"flips": settings.flips} if self.takes_flips else {}
        super().__init__(task, store, settings, {"result": list(results), **flips})

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``, a file path.

        Returns:
            The label file, which the caller deletes, and a summary: ``label_names``,
            ``latencies`` in seconds, ``objects``, ``foreground`` (share of the image),
            ``presence`` (0..1, for tasks that answer it), ``model_version``.

        Raises:
            InputError: an unreadable image or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        # OHIF asks so for values as the labels have them; numbers of objects would be none of them
        results = [MASK] if request.get("restore_label_idx") is False else self._config["result"]
        result = first(request.get("result", results))
        choose("result", result, dict.fromkeys(self._config["result"]))
        asked = request.get("result_extension")
        result_extension(asked, path, self.task.network.spatial_dims)  # refused before reading
        predictor, version = self.predictor(request)
        image, prediction = self._predict(predictor, path, request, result == INSTANCES)
        suffix = result_extension(asked, path, image.spatial_dims)
        label = self._label(prediction, result)

        writing = time.perf_counter()
        file = write_label(label, image.geometry, suffix, request.get("result_dtype"))
        seconds = dict(prediction.seconds)
        seconds["write"] = time.perf_counter() - writing
        seconds["total"] = time.perf_counter() - start
        summary: dict[str, Any] = {
            "label_names": dict(self.task.labels),
            "latencies": {name: round(value, 4) for name, value in seconds.items()},
            "foreground": round(float((prediction.mask > 0).mean()), 6),
            "model_version": version,
            **image.facts,
        }
        if prediction.presence is not None:
            summary["presence"] = round(prediction.presence, 4)
        if prediction.instances is not None:
            summary["objects"] = int(prediction.instances.max(initial=0))
        return file, summary

    def _predict(
        self, predictor: Runner, path: Path, request: dict[str, Any], instances: bool
    ) -> tuple[Image, Prediction]:
        """Read and answer the image; the seconds of reading it count as preparation."""
        start = time.perf_counter()
        image = read_image(path, self.task.input.max_pixels, self.task.image_dims)
        read = time.perf_counter() - start
        flips = parse_switch(first(request.get("flips", self._config["flips"])), "flips")
        answer = predictor(image, instances, flips)
        seconds = {**answer.seconds, "pre": answer.seconds["pre"] + read}
        return image, replace(answer, seconds=seconds)

    def _label(self, prediction: Prediction, result: str) -> np.ndarray:
        """Return the label image that was asked for."""
        if result == INSTANCES and prediction.instances is not None:
            return prediction.instances
        return prediction.mask
