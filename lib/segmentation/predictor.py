"""Prediction by segmentation networks: from an image to probabilities, mask and instances."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.data.diameter import read_diameter, told_magnification
from lib.data.grid import fits_objects, network_grid
from lib.data.targets import typical_diameter
from lib.data.transforms import prepare_image
from lib.image import Image
from lib.segmentation.at_once import images_at_once
from lib.segmentation.found import mask_and_objects
from lib.segmentation.tiles import Axis
from lib.segmentation.windows import answer_images, tiling
from lib.tasks.image_spec import PRESENCE
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint
from lib.weights.runner import NetworkRunner, mean_features

FRAMES = 4  # slices of a loop or volume that a 2D network answers at once, or more on a GPU


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one image.

    Attributes:
        probabilities: float32 `(maps, *spatial)`, 0..1, the maps that the task answers with.
        mask: uint8 `(*spatial)`, 0 is background, other values are labels of the task.
        instances: int32 `(*spatial)`, 0 is background, objects are numbered from 1; None if the
            objects were not separated.
        presence: probability that there is any structure, 0..1; for a loop or volume answered slice
            by slice, the highest of all slices. None if the task does not answer it.
        strangeness: how unlike the training images this one is, above 1 too unlike; None where that
            is not known. See `lib.weights.familiarity.Familiarity.strangeness`.
        magnification: by which the image was resampled for the size of its objects.
        seconds: wall time by phase: "pre", "infer", "post".
    """

    probabilities: np.ndarray
    mask: np.ndarray
    instances: np.ndarray | None = None
    presence: float | None = None
    strangeness: float | None = None
    magnification: float = 1.0
    seconds: dict[str, float] = field(default_factory=dict)


class Predictor(NetworkRunner):
    """Runs one segmentation network on images; large images are answered in tiles.

    Args:
        task, network, device, precision: see `NetworkRunner`.
        flips: average the answers over mirrored copies (four in 2D, eight in 3D; half as many if
            the rows are depth below a transducer), which is slower and a little better.
        diameter: typical one of the objects of all images, in pixels of each image as it is; 0
            estimates it from what is found in each.

    Raises:
        InputError: `diameter` is no number of pixels from 1, and not 0.
    """

    def __init__(
        self,
        task: TaskSpec,
        network: nn.Module,
        device: str | torch.device | None = None,
        precision: str = "auto",
        flips: bool = False,
        diameter: float = 0.0,
    ) -> None:
        super().__init__(task, network, device, precision)
        self.flips, self.diameter = flips, read_diameter(diameter)

    @classmethod
    def as_trained(cls, task: TaskSpec, checkpoint: Checkpoint) -> tuple[TaskSpec, dict[str, Any]]:
        """Return the task that mirrors the axes that the training did."""
        own, stored = task.augment, checkpoint.spec.get("augment")
        stored = stored if isinstance(stored, dict) else {}
        kept = stored.get("never_flipped", () if stored else own.never_flipped)
        kept = kept if isinstance(kept, list | tuple) else ()
        axes = range(task.network.spatial_dims)
        augment = replace(
            own,
            flips=bool(stored.get("flips", own.flips)),
            flip_depth=bool(stored.get("flip_depth", own.flip_depth)),
            never_flipped=tuple(axis for axis in axes if axis in kept),
        )
        return replace(task, augment=augment), {}

    def __call__(
        self,
        image: Image,
        instances: bool = True,
        flips: bool | None = None,
        diameter: float | None = None,
    ) -> Prediction:
        """Segment an image; the answer has the image's size.

        A 2D network answers a volume or a loop slice by slice.

        Args:
            image: as `lib.io.read.read_image` returns it.
            instances: whether to separate objects, for tasks that can.
            flips: whether to average over mirrored copies; None takes the predictor's setting.
            diameter: typical one of the image's objects, in pixels of the image as it is, for which
                it is resampled and answered once; 0 estimates it; None takes the predictor's
                setting.

        Raises:
            InputError: the image is too small or too large for the task, or `diameter` is not for
                it, see `lib.data.diameter.told_magnification`.
        """
        told = self.diameter if diameter is None else read_diameter(diameter)
        if told:
            factor = told_magnification(image, self.task, told)
            return replace(self._seen(image, instances, flips, told), magnification=factor)
        fitted = fits_objects(image, self.task.input)
        answer = self._seen(image, instances or fitted, flips)
        if fitted and answer.instances is not None:
            answer = self._fitted(image, answer, flips)
        return answer if instances else replace(answer, instances=None)

    def _seen(
        self, image: Image, instances: bool, flips: bool | None, diameter: float = 0.0
    ) -> Prediction:
        """Return the answer for an image whose objects have a `lib.data.grid.magnification`."""
        start = time.perf_counter()
        prepared = prepare_image(image, self.task.input, diameter)
        ready = time.perf_counter()
        grid = network_grid(image, self.task.input, diameter)
        with self.noting_features() as noted:
            probabilities = grid.undo(self.probabilities(prepared, flips))
        done = time.perf_counter()
        answer = self.finished(image, probabilities, instances)
        seconds = {"pre": ready - start, "infer": done - ready, "post": time.perf_counter() - done}
        return replace(answer, strangeness=self.strangeness(noted, prepared), seconds=seconds)

    def _fitted(self, image: Image, first: Prediction, flips: bool | None) -> Prediction:
        """Return the answer for the image resampled so that what was found has a known size.

        It is the first one where that has, and where nothing is found in the resampled image. The
        size of objects is estimated, and the image resampled, as by Stringer et al. (Cellpose, Nat.
        Methods 18:100, 2021, "Size estimation"), but only where the network was not trained on it.
        """
        assert first.instances is not None
        diameter = typical_diameter(first.instances)
        known, seen = (network_grid(image, self.task.input, one).shape for one in (0.0, diameter))
        if seen == known:
            return first
        second = self._seen(image, True, flips, diameter)
        seconds = {phase: spent + second.seconds[phase] for phase, spent in first.seconds.items()}
        if second.instances is None or not second.instances.any():
            return replace(first, seconds=seconds)
        return replace(second, seconds=seconds, magnification=max(seen) / max(known))

    def finished(self, image: Image, probabilities: np.ndarray, instances: bool) -> Prediction:
        """Return what `predict` does for probabilities on the image's grid, frame by frame."""
        by_frame = image.over_time and self.task.network.spatial_dims == 2
        predict = self._predict_frames if by_frame else self.predict
        return predict(probabilities, instances)

    def features(self, prepared: np.ndarray) -> np.ndarray | None:
        """Return what the network makes of an input `(channels, *spatial)`, `(features)`.

        See `lib.weights.runner.NetworkRunner.noting_features`; None where there are none.
        """
        with self.noting_features() as noted:
            self.probabilities(prepared, flips=False)
        return mean_features(noted)

    def probabilities(self, prepared: np.ndarray, flips: bool | None = None) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, of an input `(channels, *spatial)`."""
        if prepared.ndim - 1 == self.task.network.spatial_dims:
            return self._answer(prepared[np.newaxis], flips)[0]
        frames = np.moveaxis(prepared, 1, 0)
        count = max(FRAMES, self.at_once(frames.shape[2:]))
        answers = [
            self._answer(np.ascontiguousarray(frames[first : first + count]), flips)
            for first in range(0, len(frames), count)
        ]
        return np.moveaxis(np.concatenate(answers), 0, 1)

    def _answer(self, images: np.ndarray, flips: bool | None) -> np.ndarray:
        return self.answers(torch.from_numpy(images).to(self.device), flips).cpu().numpy()

    def answers(self, images: Tensor, flips: bool | None = None) -> Tensor:
        """Return probabilities `(N, maps, *spatial)` on the device, where the images are.

        Args:
            images: float32 `(N, channels, *spatial)`, with as many axes as the network has.
            flips: see `__call__`.
        """
        flips = self.flips if flips is None else flips
        mirrorings = self.mirrorings(images.ndim) if flips else [()]
        with self._lock, torch.inference_mode():
            total: Tensor | None = None
            for axes in mirrorings:
                answer = self._forward(images.flip(axes) if axes else images)
                answer = answer.flip(axes) if axes else answer
                total = answer if total is None else total.add_(answer)
            assert total is not None
            return total.div_(len(mirrorings)) if len(mirrorings) > 1 else total

    def mirrorings(self, ndim: int) -> list[tuple[int, ...]]:
        """Return all sets of axes that training mirrors together, the empty set first.

        Args:
            ndim: number of axes of the array; its last axes are those of the network.
        """
        own = self.task.network.spatial_dims
        axes = [ndim - own + axis for axis in self.task.augment.flipped_axes(own)]
        return [
            subset
            for count in range(len(axes) + 1)
            for subset in itertools.combinations(axes, count)
        ]

    def _forward(self, batch: Tensor) -> Tensor:
        """Return probabilities of images `(N, channels, *spatial)`, in tiles if they are large."""
        return answer_images(batch, self.task.map_network, self._logits, self.at_once)

    def at_once(self, shape: Sequence[int]) -> int:
        """Return how many images `(*spatial)` the device answers well in one batch; 1 on a CPU."""
        return images_at_once(shape, self.task.map_network, self.device)

    def tiling(self, shape: Sequence[int]) -> list[Axis]:
        """Return the tiles along each axis of an image `(*spatial)` that is not answered whole."""
        return tiling(shape, self.task.map_network)

    def _predict_frames(self, probabilities: np.ndarray, instances: bool) -> Prediction:
        """Return what `predict` does, frame by frame; no two objects of a loop share a number."""
        frames = [self.predict(maps, instances) for maps in np.moveaxis(probabilities, 1, 0)]
        objects = [frame.instances for frame in frames if frame.instances is not None]
        presences = [frame.presence for frame in frames if frame.presence is not None]
        count = 0
        for numbers in objects:
            numbers[numbers > 0] += count
            count = max(count, int(numbers.max(initial=0)))
        return Prediction(
            probabilities=probabilities,
            mask=np.stack([frame.mask for frame in frames]),
            instances=np.stack(objects) if objects else None,
            presence=max(presences, default=None),
        )

    def predict(self, probabilities: np.ndarray, instances: bool = True) -> Prediction:
        """Return the prediction that follows from probabilities of one image or frame.

        Args:
            probabilities: `(maps, *spatial)`, 0..1.
            instances: whether to separate objects, for tasks that can.
        """
        task = self.task
        mask, objects = mask_and_objects(
            probabilities, task.labels, task.target, task.output, instances
        )
        presence = dict(zip(task.target.answered, probabilities, strict=True)).get(PRESENCE)
        return Prediction(
            probabilities=probabilities,
            mask=mask,
            instances=objects,
            presence=None if presence is None else float(presence.max()),
        )
