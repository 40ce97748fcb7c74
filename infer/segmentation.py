"""Segmentation of images and volumes as a MONAI Label InferTask."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.base import (
    InferSettings,
    ModelInfer,
    channel_of,
    diameter_of,
    first,
    write_label,
)
from infer.exam_views import keep_files
from infer.large import answer_large, check_large
from infer.result_files import ResultFiles
from lib.data.diameter import DIAMETER
from lib.errors import InputError, choose, parse_switch
from lib.exports.answer import answer_of
from lib.exports.formats import read_names
from lib.exports.targets import Exporter, file_name, target_of, write_to_folder
from lib.files import removed_on_error
from lib.image import Image
from lib.io.masks import result_extension
from lib.io.read import read_image, stem
from lib.io.rows import LargeImage, large_image
from lib.segmentation.answer import INSTANCES, MASK, label_image, label_names
from lib.segmentation.measures import counts_and_volumes
from lib.segmentation.predictor import Prediction, Predictor
from lib.tasks.spec import TaskSpec
from lib.weights.familiarity import doubts
from lib.weights.store import ModelStore

Runner = TypeVar("Runner", bound=Predictor)

_NAMES = {"format": "result_extension", "result": "result"}  # of parameters


def _as_asked(name: str) -> str:
    """Return how a request asks for a kind of label image, a file type or an export."""
    return _NAMES.get(name, f"exports: {name}")


class SegmentationInfer(ModelInfer[Runner]):
    """Answers with a label image of the input's size and geometry, and figures beside it.

    Request parameters: ``channel`` (name or number, where an image has several), ``device``,
    ``flips`` (test-time mirroring), ``diameter`` (typical one of the objects in pixels of the image
    as it is, where the task resamples images for it; 0 estimates it), ``result`` ("mask", the
    default, holds the values of the task's labels, "instances" numbers every object),
    ``result_extension``, ``result_dtype``, ``exports`` (names of `lib.exports.formats.EXPORTS`, as
    in ["table", "overlay"]); of a batch ``exporter``, a function that returns what takes its
    answers.
    """

    infer_type = InferType.SEGMENTATION
    takes_flips = True
    takes_diameter = True  # where the task resamples images for the size of their objects
    offers_instances = True  # to users of viewers; 3D Slicer sends the first that is offered
    by_rows = True  # images that are larger than memory

    def __init__(self, task: TaskSpec, store: ModelStore, settings: InferSettings) -> None:
        self.results = (MASK, INSTANCES) if task.output.instances else (MASK,)
        offered = self.results if self.offers_instances else self.results[:1]
        flips = {"flips": settings.flips} if self.takes_flips else {}
        # a fraction: 3D Slicer sends a number of the type that it is offered, and shows 0 as empty
        sized = {DIAMETER: 0.0} if self.takes_diameter and task.input.object_sizes else {}
        config = {"result": list(offered), "channel": "", **flips, **sized}
        super().__init__(task, store, settings, config)

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``, a file path.

        Returns:
            The label file, which the caller deletes, and a summary: ``result``, ``label_names``
            (all values that the file may hold, each with its name), ``latencies`` in seconds,
            ``objects``, ``foreground`` (share of the image), ``presence`` (0..1, for tasks that
            answer it), ``counts`` or ``volumes_ml`` (see
            `lib.segmentation.measures.counts_and_volumes`), ``model_version``, ``figure`` and
            ``card`` of its weights (see `lib.weights.figures`), ``backend`` that computed it,
            ``magnification`` where the image was resampled, ``diameter`` where it was told,
            ``warnings``, why to doubt it in sentences, ``strangeness`` (see
            `lib.segmentation.predictor.Prediction`), what `lib.image.Image.facts` tells, and
            ``exports``, paths on the server by name, if any are asked for. An image that
            is larger than memory has a tiled TIFF as label file, see `infer.large.answer_large`.

        Raises:
            InputError: an unreadable image or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        result = first(request.get("result", self.results))
        choose("result", result, dict.fromkeys(self.results))
        told = diameter_of(self, request)
        asked = request.get("result_extension")
        result_extension(asked, path, self.task.network.spatial_dims)  # refused before reading
        exports = read_names(request.get("exports"))
        kept = self.settings.result_files() if exports else None
        if exports and kept is None:
            raise InputError(
                "exports need a server that keeps them for whoever asked; use the verbs infer or "
                "batch-infer"
            )
        predictor, version = self.predictor(request)
        large = self._large(path, channel_of(request))
        if large is not None:
            made = predictor, version, result
            return self._answer_large(large, made, str(asked or ""), exports, kept, request)
        image, prediction = self._predict(predictor, path, request)
        suffix = result_extension(asked, path, image.spatial_dims)
        names = label_names(self.task, prediction, result)
        label = label_image(prediction, result, image.over_time)

        writing = time.perf_counter()
        exporter = self._exporter(request)
        files = self._export(image, prediction, (result, version), exports, kept, exporter)
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
            **self.predictors.evidence(version),
            "backend": predictor.backend.name,
            **doubts(prediction.strangeness),
            **counts_and_volumes(prediction, self.task.labels, image),
            **image.facts,
            **files,
        }
        if prediction.presence is not None:
            summary["presence"] = round(prediction.presence, 4)
        if prediction.instances is not None:
            summary["objects"] = int(prediction.instances.max(initial=0))
        if prediction.magnification != 1:
            summary["magnification"] = round(prediction.magnification, 3)
        if told:
            summary[DIAMETER] = told
        return file, summary

    def _exporter(self, request: Mapping[str, Any]) -> Exporter | None:
        """Return what takes all answers of a batch; None for a single request."""
        asked: Callable[[], Exporter] | None = request.get("exporter")
        return asked() if asked else self.settings.exporter

    def _large(self, path: Path, channel: str) -> LargeImage | None:
        """Return an image that is read by rows, as it is too large to be read whole; else None."""
        if not self.by_rows or self.task.image_dims == 3:
            return None
        return large_image(path, self.task.input.max_pixels, channel)

    def _answer_large(
        self,
        image: LargeImage,
        made: tuple[Runner, str, str],
        asked: str,
        exports: Sequence[tuple[str, str]],
        kept: ResultFiles | None,
        request: dict[str, Any],
    ) -> tuple[str, dict[str, Any]]:
        """Answer by rows; returns and raises what `__call__` does.

        Args:
            made: predictor, version of the weights, and kind of label image.
            asked: suffix of the label image; empty for that of the image.
        """
        predictor, version, result = made
        name, id, exporter = image.path.name, stem(image.path), self._exporter(request)
        targets = exporter.targets if exporter else {}
        suffix = result_extension(asked, image.path, 2)
        told = diameter_of(self, request)
        check_large(name, result, suffix, [*targets, *dict(exports)], _as_asked, told)
        beside = [target_of(one, path, id) for one, path in targets.items()]
        flips = parse_switch(first(request.get("flips", self._config.get("flips"))), "flips")
        handle, file = tempfile.mkstemp(suffix=suffix)
        os.close(handle)
        found: dict[str, Any] = {}

        def write(folder: Path | None) -> dict[str, Any]:
            names = {one: file_name(one, id, end) for one, end in exports}
            outlines = [*beside, *(folder / one for one in names.values() if folder)]
            found.update(answer_large(predictor, image, Path(file), result, outlines, flips))
            return {"exports": names} if names else {}

        with removed_on_error(Path(file)):
            files = keep_files(kept, write) if exports else write(None)
        seconds = found.pop("seconds")
        return file, {
            "result": result,
            "label_names": dict(self.task.labels) if result == MASK else {},
            "latencies": {one: round(value, 4) for one, value in seconds.items()},
            "model_version": version,
            **self.predictors.evidence(version),
            "backend": predictor.backend.name,
            **found,
            **files,
        }

    def _export(
        self,
        image: Image,
        prediction: Prediction,
        made: tuple[str, str],
        exports: Sequence[tuple[str, str]],
        kept: ResultFiles | None,
        exporter: Exporter | None,
    ) -> dict[str, Any]:
        """Write the exports asked for; return their paths on the server, by name.

        Args:
            made: kind of label image and version of the weights.
            exporter: gets the answer too.
        """
        if not exports and exporter is None:
            return {}
        answer = answer_of(self.task, image, prediction, *made, self.settings.software)
        if exporter is not None:
            exporter(answer)
        if not exports:
            return {}
        return keep_files(
            kept, lambda folder: {"exports": write_to_folder(folder, answer, exports)}
        )

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
        told = diameter_of(self, request)
        answer = predictor(image, self.task.output.instances, flips, told)
        seconds = {**answer.seconds, "pre": answer.seconds["pre"] + read}
        return image, replace(answer, seconds=seconds)
