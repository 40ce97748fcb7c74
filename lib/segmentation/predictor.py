"""Prediction by segmentation networks: from an image to probabilities, mask and instances."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from lib.data.grid import network_grid
from lib.data.transforms import mirrored, prepare_image
from lib.image import Image
from lib.segmentation.instances import foreground_mask, largest, separate
from lib.tasks.image_spec import PRESENCE
from lib.tasks.spec import TaskSpec
from lib.weights.runner import NetworkRunner

# by the number of spatial dimensions
WHOLE_PIXELS = {2: 1536 * 1536, 3: 128**3}  # largest image that is not tiled
TILE = {2: 1024, 3: 128}  # longest side of a tile, pixels
TILE_OVERLAP = {2: 0.125, 3: 0.125}  # least overlap of neighbouring tiles, as a share of `TILE`
FRAMES = 4  # slices of a loop or volume that a 2D network answers at once


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
        seconds: wall time by phase: "pre", "infer", "post".
    """

    probabilities: np.ndarray
    mask: np.ndarray
    instances: np.ndarray | None = None
    presence: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Predictor(NetworkRunner):
    """Runs one segmentation network on images; large images are answered in tiles.

    Args:
        task, network, device, precision: see `NetworkRunner`.
        flips: average the answers over mirrored copies (four in 2D; two if the rows are depth below
            a transducer), which is slower and a little better.
    """

    def __init__(
        self,
        task: TaskSpec,
        network: nn.Module,
        device: str | torch.device | None = None,
        precision: str = "auto",
        flips: bool = False,
    ) -> None:
        super().__init__(task, network, device, precision)
        self.flips = flips

    def __call__(
        self, image: Image, instances: bool = True, flips: bool | None = None
    ) -> Prediction:
        """Segment an image; the answer has the image's size.

        A 2D network answers a volume or a loop slice by slice.

        Args:
            image: as `lib.io.read.read_image` returns it.
            instances: whether to separate objects, for tasks that can.
            flips: whether to average over mirrored copies; None takes the predictor's setting.

        Raises:
            InputError: the image is too small or too large for the task.
        """
        start = time.perf_counter()
        prepared = prepare_image(image, self.task.input)
        ready = time.perf_counter()
        grid = network_grid(image, self.task.input)
        probabilities = grid.undo(self.probabilities(prepared, flips))
        done = time.perf_counter()
        answer = self.finished(image, probabilities, instances)
        seconds = {"pre": ready - start, "infer": done - ready, "post": time.perf_counter() - done}
        return replace(answer, seconds=seconds)

    def finished(self, image: Image, probabilities: np.ndarray, instances: bool) -> Prediction:
        """Return what `predict` does for probabilities on the image's grid, frame by frame."""
        by_frame = image.over_time and self.task.network.spatial_dims == 2
        predict = self._predict_frames if by_frame else self.predict
        return predict(probabilities, instances)

    def probabilities(self, prepared: np.ndarray, flips: bool | None = None) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, of an input `(channels, *spatial)`."""
        if prepared.ndim - 1 == self.task.network.spatial_dims:
            return self._answer(prepared[np.newaxis], flips)[0]
        frames = np.moveaxis(prepared, 1, 0)
        answers = [
            self._answer(np.ascontiguousarray(frames[first : first + FRAMES]), flips)
            for first in range(0, len(frames), FRAMES)
        ]
        return np.moveaxis(np.concatenate(answers), 0, 1)

    def _answer(self, images: np.ndarray, flips: bool | None) -> np.ndarray:
        """Return probabilities `(N, maps, *spatial)` of images `(N, channels, *spatial)`."""
        batch = torch.from_numpy(images).to(self.device)
        flips = self.flips if flips is None else flips
        mirrorings = self.mirrorings(batch.ndim) if flips else [()]
        with self._lock, torch.inference_mode():
            total: Tensor | None = None
            for axes in mirrorings:
                answer = self._forward(batch.flip(axes) if axes else batch)
                answer = answer.flip(axes) if axes else answer
                total = answer if total is None else total.add_(answer)
            assert total is not None
            mean = total.div_(len(mirrorings)) if len(mirrorings) > 1 else total
        return mean.cpu().numpy()

    def mirrorings(self, ndim: int) -> list[tuple[int, ...]]:
        """Return all sets of axes that training mirrors together, the empty set first.

        Args:
            ndim: number of axes of the array; its last axes are those of the network.
        """
        first = ndim - self.task.network.spatial_dims
        depth = () if self.task.augment.flip_depth else (ndim - 2,)
        axes = [axis for axis in range(first, ndim) if axis not in depth]
        return [
            subset
            for count in range(len(axes) + 1)
            for subset in itertools.combinations(axes, count)
        ]

    def _forward(self, batch: Tensor) -> Tensor:
        """Return probabilities of images `(N, channels, *spatial)`, in tiles if they are large."""
        axes = batch.ndim - 2
        if math.prod(batch.shape[2:]) <= WHOLE_PIXELS[axes]:
            return self._window(batch)
        spec = self.task.encoder_decoder
        divisor = spec.divisor if spec.padding == "same" else 1
        shared = round(TILE[axes] * TILE_OVERLAP[axes])
        tiles = [tile_side(size, TILE[axes], shared, divisor) for size in batch.shape[2:]]
        result = sliding_window_inference(
            batch,
            roi_size=tiles,
            sw_batch_size=1,
            predictor=self._window,
            # half a pixel less: MONAI rounds the step down, which must not add a tile
            overlap=[min(0.5, max(0.0, shared - 0.5) / side) for side in tiles],
            mode="gaussian",
            padding_mode="reflect",
        )
        assert isinstance(result, Tensor)
        return result

    def _window(self, window: Tensor) -> Tensor:
        """Return probabilities of a window, which is padded by mirroring to fit the network."""
        spec, inside = self.task.encoder_decoder, [slice(None), slice(None)]
        for axis, size in enumerate(window.shape[2:], start=2):
            padded = spec.input_size(size)
            answered = spec.output_size(padded) or padded
            before = (padded - answered) // 2  # 0 unless the network has unpadded convolutions
            inside.append(slice(0, size))
            if padded != size:
                index = mirrored(np.arange(-before, padded - before), size)
                window = window.index_select(axis, torch.from_numpy(index).to(window.device))
        return torch.sigmoid(self._logits(window)[tuple(inside)])

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
        task, spec = self.task, self.task.output
        answered = dict(zip(task.target.answered, probabilities, strict=True))
        presence = answered.get(PRESENCE)
        # with several structures, `_label_values` keeps the largest object of each
        kept = replace(spec, keep="all") if task.target.structures else spec
        mask = foreground_mask(probabilities[0], kept, presence)
        objects = None
        if (instances and spec.instances) or spec.gap:
            objects = separate(mask, spec, answered.get("distance"))
            mask = objects > 0
        return Prediction(
            probabilities=probabilities,
            mask=self._label_values(mask, answered),
            instances=objects if instances and spec.instances else None,
            presence=None if presence is None else float(presence.max()),
        )

    def _label_values(self, mask: np.ndarray, answered: dict[str, np.ndarray]) -> np.ndarray:
        """Return uint8 labels: inside `mask`, each pixel has the value of its likeliest structure.

        Args:
            answered: the answered maps, `(*spatial)` each, by name.
        """
        structures = self.task.target.structures
        if not structures:
            return mask * np.uint8(next(iter(self.task.labels.values())))
        values = np.array(list(structures.values()), dtype=np.uint8)
        likeliest = values[np.stack([answered[name] for name in structures]).argmax(axis=0)]
        label = np.where(mask, likeliest, np.uint8(0))
        if self.task.output.keep == "largest":
            for value in values:
                label[(label == value) & ~largest(label == value)] = 0
        return label


def tile_side(size: int, longest: int, overlap: int, divisor: int = 1) -> int:
    """Return the side of equal tiles that cover `size` pixels and overlap by at least `overlap`.

    There are as few tiles as possible with sides of at most `longest`. The side is the smallest
    multiple of `divisor` with which that number of tiles suffices.
    """
    if size <= longest:
        return size
    count = math.ceil((size - overlap) / (longest - overlap))
    return min(size, math.ceil((size + (count - 1) * overlap) / count / divisor) * divisor)
