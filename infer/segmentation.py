"""Segmentation of images and volumes as a MONAI Label InferTask."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.base import InferSettings, ModelInfer, channel_of, first, write_label
from lib.errors import choose, parse_switch
from lib.image import Image
from lib.io.masks import result_extension
from lib.io.read import read_image
from lib.segmentation.answer import INSTANCES, MASK, label_image, label_names
from lib.segmentation.predictor import Prediction, Predictor
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore

Runner = TypeVar("Runner", bound=Predictor)


class SegmentationInfer(ModelInfer[Runner]):
    """Answers with a label image of the input's size and geometry, and figures beside it.

    Request parameters: ``channel`` (name or number, where an image has several), ``device``,
    ``flips`` (test-time mirroring), ``result`` ("mask", the default, holds the values of the task's
    labels, "instances" numbers every object), ``result_extension``, ``result_dtype``.
    """

    infer_type = InferType.SEGMENTATION
    takes_flips = True
    offers_instances = True  # to users of viewers; 3D Slicer sends the first that is offered

    def __init__(self, task: TaskSpec, store: ModelStore, settings: InferSettings) -> None:
        self.results = (MASK, INSTANCES) if task.output.instances else (MASK,)
        offered = self.results if self.offers_instances else self.results[:1]
        flips = {"flips": settings.flips} if self.takes_flips else {}
        config = {"result": list(offered), "channel": "", **flips}
        super().__init__(task, store, settings, config)

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``, a file path.

        Returns:
            The label file, which the caller deletes, and a summary: ``result``, ``label_names``
            (all values that the file may hold, each with its name), ``latencies`` in seconds,
            ``objects``, ``foreground`` (share of the image), ``presence`` (0..1, for tasks that
            answer it), ``model_version``, and what `lib.image.Image.facts` tells.

        Raises:
            InputError: an unreadable image or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        result = first(request.get("result", self.results))
        choose("result", result, dict.fromkeys(self.results))
        asked = request.get("result_extension")
        result_extension(asked, path, self.task.network.spatial_dims)  # refused before reading
        predictor, version = self.predictor(request)
        image, prediction = self._predict(predictor, path, request)
        suffix = result_extension(asked, path, image.spatial_dims)
        names = label_names(self.task, prediction, result)
        label = label_image(prediction, result, image.over_time)

        writing = time.perf_counter()
        file = write_label(label, image.geometry, suffix, request.get("result_dtype"))
        seconds = dict(prediction.seconds)
        seconds["write"] = time.perf_counter() - writing
        seconds["total"] = time.perf_counter() - start
        summary: dict[str, Any] = {
            "result": result,
            "label_names": names,
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
        self, predictor: Runner, path: Path, request: dict[str, Any]
    ) -> tuple[Image, Prediction]:
        """Read and answer the image; the seconds of reading it count as preparation."""
        start = time.perf_counter()
        image = read_image(
            path, self.task.input.max_pixels, self.task.image_dims, channel_of(request)
        )
        read = time.perf_counter() - start
        flips = parse_switch(first(request.get("flips", self._config["flips"])), "flips")
        answer = predictor(image, self.task.output.instances, flips)
        seconds = {**answer.seconds, "pre": answer.seconds["pre"] + read}
        return image, replace(answer, seconds=seconds)
