"""Segmentation that follows clicks as a MONAI Label InferTask."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.base import InferSettings, channel_of
from infer.segmentation import SegmentationInfer
from lib.files import FileStamp, file_stamp
from lib.image import Image
from lib.interactive.predictor import ClickedImage, ClickPredictor
from lib.interactive.prompts import read_points, slices_from_last
from lib.io.read import default_channel, read_image
from lib.segmentation.predictor import Prediction
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore

KEPT_IMAGES = 4


class ClickInfer(SegmentationInfer[ClickPredictor]):
    """Answers with or without clicks, the ``foreground`` and ``background`` points of a request.

    Points are indices of the image in the viewers' order, see
    `lib.interactive.prompts.read_points`. The images of the latest requests are kept with the
    encoder's maps, so that one more click costs the decoder only. The other parameters are those of
    `SegmentationInfer`, without ``flips`` and ``diameter``.

    Viewers see a model of type deepgrow, for which 3D Slicer offers negative clicks even if there
    is one structure only. They draw the value 1 as the segment that was clicked, so they are not
    offered numbered objects, which others may ask for.
    """

    infer_type = InferType.DEEPGROW
    takes_flips = takes_diameter = offers_instances = by_rows = False

    def __init__(self, task: TaskSpec, store: ModelStore, settings: InferSettings) -> None:
        super().__init__(task, store, settings)
        self.dimension = self.task.image_dims or 3  # reads both; with 2 viewers ask by slice
        self._kept: OrderedDict[tuple[Path, FileStamp, int, str], ClickedImage] = OrderedDict()
        self._lock = threading.Lock()

    def _predict(
        self, predictor: ClickPredictor, path: Path, request: dict[str, Any]
    ) -> tuple[Image, Prediction]:
        start = time.perf_counter()
        shown = self._open(predictor, path, channel_of(request))
        clicks = read_points(
            request,
            shown.image.shape,
            tuple(self.task.labels),
            from_last_slice=slices_from_last(request, shown.image.geometry),
        )
        ready = time.perf_counter()
        answer = shown(clicks, self.task.output.instances)
        seconds = {**answer.seconds, "pre": ready - start}
        return shown.image, replace(answer, seconds=seconds)

    def _open(self, predictor: ClickPredictor, path: Path, channel: str) -> ClickedImage:
        """Return the image prepared for clicks; images of the latest requests are kept."""
        key = (path, file_stamp(path), id(predictor), channel or default_channel(path))
        with self._lock:
            if key in self._kept and self._kept[key].predictor is predictor:
                self._kept.move_to_end(key)
                return self._kept[key]
        image = read_image(path, self.task.input.max_pixels, self.task.image_dims, channel)
        shown = predictor.look_at(image)
        with self._lock:
            self._kept[key] = shown
            while len(self._kept) > KEPT_IMAGES:
                self._kept.popitem(last=False)
        return shown
