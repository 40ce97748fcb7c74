"""Segmentation that follows clicks: the forward path."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lib.data.grid import network_grid
from lib.data.transforms import mirrored, prepare_image
from lib.devices import autocast
from lib.errors import InputError
from lib.image import Image
from lib.interactive.clicked_objects import ClickedObjects
from lib.interactive.clicks import Clicks, click_maps
from lib.segmentation.predictor import WHOLE_PIXELS, Prediction, Predictor
from lib.tasks.image_spec import PRESENCE
from lib.tasks.spec import TaskSpec
from lib.weights.runner import evaluating


class ClickPredictor(Predictor):
    """Answers without clicks as `Predictor` does, and with clicks through `open` and `look_at`."""

    def look_at(self, image: Image) -> ClickedImage:
        """Return `image` ready to be answered with one set of clicks after another.

        Raises:
            InputError: the image is too small or too large for the task.
        """
        return ClickedImage(self, image)

    def open(self, prepared: np.ndarray) -> ClickSession:
        """Return the same of a network input `(channels, *spatial)`."""
        return ClickSession(self, prepared)

    def probabilities(
        self, prepared: np.ndarray, flips: bool | None = None, clicks: Clicks | None = None
    ) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, for input `(channels, *spatial)`.

        Args:
            clicks: on the input's grid.
        """
        maps = click_maps(clicks or Clicks(), prepared.shape[1:], self.task.click_rules.radius)
        return super().probabilities(np.concatenate((prepared, maps)), flips)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return what the encoder makes of images `(N, channels, *spatial)` of a fitting size."""
        with (
            self._lock,
            torch.inference_mode(),
            evaluating(self.network) as network,
            autocast(self.device, self.dtype),
        ):
            levels: list[Tensor] = network.encode(images.to(self.device))
        return levels

    def decode(self, levels: list[Tensor], guidance: Tensor) -> Tensor:
        """Return probabilities `(N, maps, *spatial)`, float32, of what `encode` returned."""
        with (
            self._lock,
            torch.inference_mode(),
            evaluating(self.network) as network,
            autocast(self.device, self.dtype),
        ):
            logits: Tensor = network.decode(levels, guidance.to(self.device))
        return torch.sigmoid(logits.float())

    def _logits(self, *inputs: Tensor) -> Tensor:
        """Return the answer to windows that hold image and click maps."""
        channels = self.task.encoder_decoder.in_channels
        (window,) = inputs
        return super()._logits(window[:, :channels], window[:, channels:])


class ClickSession:
    """One input of the network, answered again and again as clicks come.

    What does not depend on the clicks is computed once: the encoder's maps of an input that is
    answered whole, and the slices without clicks where a network in 2D answers slice by slice.
    """

    def __init__(self, predictor: ClickPredictor, prepared: np.ndarray) -> None:
        self.predictor, self.prepared = predictor, prepared
        self._levels: list[Tensor] | None = None
        self._without: np.ndarray | None = None

    def probabilities(self, clicks: Clicks) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`; `clicks` are on the input's grid.

        A click that the network does not heed has at least its disc.
        """
        return self.answer(clicks)[0]

    def answer(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities, and those of the foreground before clicks were enforced."""
        task = self.predictor.task
        shape = self.prepared.shape[1:]
        if len(shape) > task.network.spatial_dims:
            return self._by_frame(clicks)
        if math.prod(shape) <= WHOLE_PIXELS[len(shape)]:
            return _heeded(self._whole(clicks), clicks, task)
        return _heeded(self.predictor.probabilities(self.prepared, clicks=clicks), clicks, task)

    def _whole(self, clicks: Clicks) -> np.ndarray:
        """Return the answer of an input that the network takes at once."""
        task, shape = self.predictor.task, self.prepared.shape[1:]

        def filled(maps: np.ndarray) -> Tensor:
            """Return maps mirrored at their borders to sizes that the network takes."""
            for axis, size in enumerate(shape, start=1):
                index = mirrored(np.arange(task.encoder_decoder.input_size(size)), size)
                maps = maps.take(index, axis)
            return torch.from_numpy(maps[np.newaxis])

        if self._levels is None:
            self._levels = self.predictor.encode(filled(self.prepared))
        guidance = filled(click_maps(clicks, shape, task.click_rules.radius))
        answer = self.predictor.decode(self._levels, guidance)
        inside = tuple(slice(0, size) for size in shape)
        return np.array(answer[0].cpu().numpy()[(slice(None), *inside)])

    def _by_frame(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Return the answer of slices: those with clicks anew."""
        if self._without is None:
            self._without = self.predictor.probabilities(self.prepared)
        answer, said = self._without.copy(), self._without[0].copy()
        points = [points[:, 0] for points in (clicks.positive, clicks.negative) if len(points)]
        for frame in sorted(set(np.concatenate(points).tolist())) if points else ():
            own = clicks.of_frame(frame)
            maps = self.predictor.probabilities(self.prepared[:, frame], clicks=own)
            answer[:, frame], said[frame] = _heeded(maps, own, self.predictor.task)
        return answer, said


class ClickedImage:
    """An image that is answered with clicks on its own grid."""

    def __init__(self, predictor: ClickPredictor, image: Image) -> None:
        self.predictor, self.image = predictor, image
        self.grid = network_grid(image, predictor.task.input)
        self.session = predictor.open(prepare_image(image, predictor.task.input))
        self._objects = ClickedObjects(image, predictor.task)
        self._automatic: np.ndarray | None = None

    def __call__(self, clicks: Clicks, instances: bool = True) -> Prediction:
        """Segment the image so that it fits `clicks`, which are in array order of the image.

        Each positive click is in the answer, where objects are numbered in one of its own; no
        negative click is.

        Raises:
            InputError: a positive click lies outside the part of the image that networks see.
        """
        region = self.grid.region
        seen = self._seen(clicks)
        inner = seen.scaled(
            [part.start for part in region],
            [
                size / (part.stop - part.start)
                for size, part in zip(self.grid.shape, region, strict=True)
            ],
            self.grid.shape,
        )
        start, task = time.perf_counter(), self.predictor.task
        probabilities, said = self.session.answer(inner)
        maps = self.grid.undo(probabilities)
        done = time.perf_counter()
        answer = self.predictor.finished(self.image, maps, instances)
        objects = answer.instances
        if objects is not None and len(clicks.positive):
            answered = dict(zip(task.target.answered, maps, strict=True))
            objects = self._objects(
                objects,
                maps[0],
                self.grid.undo(said[np.newaxis])[0],
                answered.get("distance", maps[0]),
                clicks,
                self._without_clicks,
            )
            mask = np.where(objects > 0, np.uint8(next(iter(task.labels.values()))), np.uint8(0))
            answer = replace(answer, mask=mask)
        seconds = {"pre": 0.0, "infer": done - start, "post": time.perf_counter() - done}
        return replace(answer, instances=objects, seconds=seconds)

    def _without_clicks(self) -> np.ndarray:
        """Return the objects that are answered without clicks."""
        if self._automatic is not None:
            return self._automatic
        maps = self.grid.undo(self.session.probabilities(Clicks()))
        objects = self.predictor.finished(self.image, maps, True).instances
        assert objects is not None
        self._automatic = objects
        return objects

    def _seen(self, clicks: Clicks) -> Clicks:
        """Return the clicks in the part of the image that networks see; there is no answer beside.

        Raises:
            InputError: a positive one is not.
        """
        starts, stops = zip(*((part.start, part.stop) for part in self.grid.region), strict=True)

        def within(points: np.ndarray) -> np.ndarray:
            return ((points >= starts) & (points < stops)).all(axis=1)

        if len(clicks.positive) and not (inside := within(clicks.positive)).all():
            point = clicks.positive[~inside][0][::-1].tolist()
            raise InputError(
                f"{self.image.path.name}: positive click {tuple(point)} lies outside the picture "
                f"that is answered, columns {starts[-1]} to {stops[-1] - 1} and rows "
                f"{starts[-2]} to {stops[-2] - 1}; click inside it"
            )
        negative = clicks.negative
        return Clicks(clicks.positive, negative[within(negative)] if len(negative) else negative)


def _heeded(maps: np.ndarray, clicks: Clicks, task: TaskSpec) -> tuple[np.ndarray, np.ndarray]:
    """Make probabilities `(maps, *spatial)` of one input follow `clicks`.

    Where the network follows a click, only its neighbours that say otherwise come to the threshold
    (the pixel of the image lies between them); where it does not, a disc is set. A
    positive click says that there is something.

    Returns:
        The probabilities, which were changed, and the foreground's as they were.
    """
    threshold, said = task.output.threshold, maps[0].copy()
    for points, inside in ((clicks.positive, True), (clicks.negative, False)):
        for point in points:
            if (maps[0][tuple(point)] >= threshold) != inside:
                click = Clicks().with_one(point, inside)
                disc = click_maps(click, maps.shape[1:], task.click_rules.footprint).max(axis=0)
                maps[0][disc >= 0.5] = 1.0 if inside else 0.0
            near = maps[0][tuple(slice(max(0, place - 1), place + 2) for place in point)]
            near[...] = (
                np.maximum(near, threshold) if inside else np.minimum(near, 0.99 * threshold)
            )
    if PRESENCE in task.target.answered and len(clicks.positive):
        maps[task.target.answered.index(PRESENCE)] = 1.0
    return maps, said
