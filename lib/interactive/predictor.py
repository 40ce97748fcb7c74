"""Segmentation that follows clicks: the forward path."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lib.data.grid import network_grid
from lib.data.transforms import mirrored, prepare_image
from lib.errors import InputError
from lib.image import Image
from lib.interactive.clicked_objects import ClickedObjects
from lib.interactive.clicks import Clicks, click_maps
from lib.segmentation.instances import renumbered
from lib.segmentation.predictor import Prediction, Predictor
from lib.segmentation.windows import WHOLE_PIXELS
from lib.tasks.click_spec import CLICK_MAPS
from lib.tasks.image_spec import PRESENCE
from lib.tasks.spec import TaskSpec


class ClickPredictor(Predictor):
    """Answers without clicks as `Predictor` does, and with clicks through `look_at` and `open`."""

    def look_at(self, image: Image) -> ClickedImage:
        """Return `image` prepared for answers to one set of clicks after another.

        Raises:
            InputError: the image is too small or too large for the task.
        """
        return ClickedImage(self, image)

    def open(self, prepared: np.ndarray) -> ClickSession:
        """Return a network input `(channels, *spatial)` prepared in the same way."""
        return ClickSession(self, prepared)

    def probabilities(
        self, prepared: np.ndarray, flips: bool | None = None, clicks: Clicks | None = None
    ) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, for input `(channels, *spatial)`.

        The clicks are on the input's grid.
        """
        maps = click_maps(clicks or Clicks(), prepared.shape[1:], self.task.click_rules.radius)
        return super().probabilities(np.concatenate((prepared, maps)), flips)

    def answers(self, images: Tensor, flips: bool | None = None) -> Tensor:
        """Return what `Predictor.answers` does; without click maps, as without clicks."""
        if images.shape[1] == self.task.encoder_decoder.in_channels:
            none = images.new_zeros((len(images), CLICK_MAPS, *images.shape[2:]))
            images = torch.cat((images, none), 1)
        return super().answers(images, flips)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's maps of images `(N, channels, *spatial)`, from fine to coarse.

        The sides of the images must be ones that the network takes.
        """
        with self._lock, torch.inference_mode(), self._running() as network:
            levels: list[Tensor] = network.encode(images.to(self.device))
        self.note(levels)
        return levels

    def decode(self, levels: list[Tensor], guidance: Tensor) -> Tensor:
        """Return probabilities, float32 `(N, maps, *spatial)`.

        Args:
            levels: the maps that `encode` returned.
            guidance: click maps `(N, 2, *spatial)`.
        """
        with self._lock, torch.inference_mode(), self._running() as network:
            logits: Tensor = network.decode(levels, guidance.to(self.device))
        return torch.sigmoid(logits.float())

    def _logits(self, *inputs: Tensor) -> Tensor:
        """Return logits of windows whose channels are the image and then its click maps."""
        channels = self.task.encoder_decoder.in_channels
        (window,) = inputs
        return super()._logits(window[:, :channels], window[:, channels:])


class ClickSession:
    """One input of the network that is answered again with every click.

    Results that do not depend on the clicks are computed once: the encoder's maps of an input that
    fits the network whole, and the slices without clicks if a 2D network answers slice by slice.
    Clicks are on the input's grid.
    """

    def __init__(self, predictor: ClickPredictor, prepared: np.ndarray) -> None:
        self.predictor, self.prepared = predictor, prepared

    def probabilities(self, clicks: Clicks) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, that follow the clicks."""
        return self.answer(clicks)[0]

    def answer(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Return what `probabilities` does, and the network's own foreground."""
        task = self.predictor.task
        shape = self.prepared.shape[1:]
        if len(shape) > task.network.spatial_dims:
            return self._by_frame(clicks)
        if math.prod(shape) <= WHOLE_PIXELS[len(shape)]:
            return follow_clicks(self._whole(clicks), clicks, task)
        return follow_clicks(
            self.predictor.probabilities(self.prepared, clicks=clicks), clicks, task
        )

    def _whole(self, clicks: Clicks) -> np.ndarray:
        """Return the probabilities of an input that fits the network whole."""
        shape = self.prepared.shape[1:]
        guidance = click_maps(clicks, shape, self.predictor.task.click_rules.radius)
        answer = self.predictor.decode(self._levels, self._filled(guidance))
        inside = tuple(slice(0, size) for size in shape)
        return np.array(answer[0].cpu().numpy()[(slice(None), *inside)])

    @cached_property
    def _levels(self) -> list[Tensor]:
        return self.predictor.encode(self._filled(self.prepared))

    def _filled(self, maps: np.ndarray) -> Tensor:
        """Return maps, mirrored at their borders up to sides that the network takes."""
        for axis, size in enumerate(self.prepared.shape[1:], start=1):
            side = self.predictor.task.encoder_decoder.input_size(size)
            maps = maps.take(mirrored(np.arange(side), size), axis)
        return torch.from_numpy(maps[np.newaxis])

    @cached_property
    def _without(self) -> np.ndarray:
        return self.predictor.probabilities(self.prepared)

    def _by_frame(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Return what `answer` does, slice by slice; only slices with clicks are computed anew."""
        answer, unforced = self._without.copy(), self._without[0].copy()
        points = [points[:, 0] for points in (clicks.positive, clicks.negative) if len(points)]
        for frame in sorted(set(np.concatenate(points).tolist())) if points else ():
            here = clicks.of_frame(frame)
            maps = self.predictor.probabilities(self.prepared[:, frame], clicks=here)
            answer[:, frame], unforced[frame] = follow_clicks(maps, here, self.predictor.task)
        return answer, unforced


class ClickedImage:
    """An image that is answered with clicks on its own grid."""

    def __init__(self, predictor: ClickPredictor, image: Image) -> None:
        self.predictor, self.image = predictor, image
        self.grid = network_grid(image, predictor.task.input)
        self.session = predictor.open(prepare_image(image, predictor.task.input))
        self._strangeness: float | None = None  # of the first answer: clicks do not change it
        self._objects = ClickedObjects(image, predictor.task)

    def __call__(self, clicks: Clicks, instances: bool = True) -> Prediction:
        """Segment the image so that the answer follows the clicks.

        Each positive click is in the mask, and no negative click is. If objects are numbered, each
        positive click is in its own object.

        Args:
            clicks: in the order of the image's axes.
            instances: whether to separate objects, for tasks that can.

        Raises:
            InputError: a positive click lies outside the part of the image that networks see.
        """
        region, shape = self.grid.region, self.grid.shape
        factors = np.divide(shape, [side.stop - side.start for side in region]).tolist()
        inner = self._seen(clicks).scaled([side.start for side in region], factors, shape)
        start, task = time.perf_counter(), self.predictor.task
        with self.predictor.noting_features() as noted:
            probabilities, unforced = self.session.answer(inner)
        if self._strangeness is None:
            self._strangeness = self.predictor.strangeness(noted, self.session.prepared)
        maps = self.grid.undo(probabilities)
        done = time.perf_counter()
        answer = self.predictor.finished(self.image, maps, instances)
        objects = answer.instances
        if objects is not None and len(clicks.positive):
            answered = dict(zip(task.target.answered, maps, strict=True))
            objects = renumbered(
                self._objects(
                    objects,
                    maps[0],
                    self.grid.undo(unforced[np.newaxis])[0],
                    answered.get("distance", maps[0]),
                    clicks,
                    lambda: self._automatic,
                )
            )
            mask = np.where(objects > 0, np.uint8(next(iter(task.labels.values()))), np.uint8(0))
            answer = replace(answer, mask=mask)
        seconds = {"pre": 0.0, "infer": done - start, "post": time.perf_counter() - done}
        return replace(answer, instances=objects, strangeness=self._strangeness, seconds=seconds)

    @cached_property
    def _automatic(self) -> np.ndarray:
        """The objects that are answered without clicks."""
        maps = self.grid.undo(self.session.probabilities(Clicks()))
        objects = self.predictor.finished(self.image, maps, True).instances
        assert objects is not None
        return objects

    def _seen(self, clicks: Clicks) -> Clicks:
        """Return the clicks that lie in the part of the image that networks see.

        Raises:
            InputError: a positive click lies outside that part, where nothing is answered.
        """
        starts, stops = zip(*((side.start, side.stop) for side in self.grid.region), strict=True)

        def within(points: np.ndarray) -> np.ndarray:
            return np.asarray(((points >= starts) & (points < stops)).all(axis=1))

        if len(clicks.positive) and not (inside := within(clicks.positive)).all():
            point = clicks.positive[~inside][0][::-1].tolist()
            raise InputError(
                f"{self.image.path.name}: positive click {tuple(point)} lies outside the picture "
                f"that is answered, columns {starts[-1]} to {stops[-1] - 1} and rows "
                f"{starts[-2]} to {stops[-2] - 1}; click inside it"
            )
        negative = clicks.negative
        return Clicks(clicks.positive, negative[within(negative)] if len(negative) else negative)


def follow_clicks(
    maps: np.ndarray, clicks: Clicks, task: TaskSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Force probabilities of one input to follow the clicks.

    If the network follows a click, only its neighbours are moved to the right side of the
    threshold, as the clicked pixel of the image lies between them. If it does not, a disc is set to
    1 or 0. A positive click also sets the answered presence to 1.

    Args:
        maps: probabilities `(maps, *spatial)`, foreground first; changed in place.
        clicks: on the same grid.

    Returns:
        `maps`, and a copy of the foreground as the network answered it.
    """
    threshold, unforced = task.output.threshold, maps[0].copy()
    for points, inside in ((clicks.positive, True), (clicks.negative, False)):
        for point in points:
            if (maps[0][tuple(point)] >= threshold) != inside:
                click = Clicks().with_one(point, inside)
                disc = click_maps(click, maps.shape[1:], task.click_rules.footprint).max(axis=0)
                maps[0][disc >= 0.5] = 1.0 if inside else 0.0
            near = maps[0][tuple(slice(max(0, index - 1), index + 2) for index in point)]
            near[...] = (
                np.maximum(near, threshold) if inside else np.minimum(near, 0.99 * threshold)
            )
    if PRESENCE in task.target.answered and len(clicks.positive):
        maps[task.target.answered.index(PRESENCE)] = 1.0
    return maps, unforced
