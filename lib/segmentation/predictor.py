"""The forward path of segmentation: from an image to probabilities, mask and instances."""

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

WHOLE_PIXELS = {2: 1536 * 1536, 3: 128**3}  # by spatial dimensions
TILE = {2: 1024, 3: 128}  # longest side of a tile
TILE_OVERLAP = {2: 0.125, 3: 0.125}  # of that side, which neighbouring tiles share at least
FRAMES = 4  # of a loop or volume, that a 2D network answers at once


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        probabilities: float32 `(maps, *spatial)` in 0..1, the maps that the task answers with.
        mask: uint8 `(*spatial)`, 0 background, else the value of a label of the task.
        instances: int32 `(*spatial)`, objects numbered from 1; None where the task has none.
        presence: how sure the network is that there is any structure, 0..1; of a loop or volume
            answered slice by slice, the surest slice. None where the task does not answer that.
        seconds: wall time by phase: "pre", "infer", "post".
    """

    probabilities: np.ndarray
    mask: np.ndarray
    instances: np.ndarray | None
    presence: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Predictor(NetworkRunner):
    """Runs one segmentation network on images, whole where they fit and in tiles where not.

    Args:
        task, network, device, precision: see `NetworkRunner`.
        flips: average the answers over mirrored copies (four in 2D; two where rows are depth),
            slower and a little better.
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
        """Segment `image`; the answer has its size.

        A task in 2D answers a volume or a loop slice by slice.

        Args:
            image: as `lib.io.read.read_image` returns it.
            instances: whether to separate objects, for tasks that can.
            flips: whether to average over mirrored copies; None as the predictor was made.

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
        """Return what probabilities `(maps, *spatial)` on the grid of `image` amount to."""
        by_frame = image.over_time and self.task.network.spatial_dims == 2
        answer = self._frames if by_frame else self.objects
        return Prediction(probabilities, *answer(probabilities, instances))

    def probabilities(self, prepared: np.ndarray, flips: bool | None = None) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, for input `(channels, *spatial)`."""
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
        wanted = self.flips if flips is None else flips
        mirrored = self.mirrorings(batch.ndim) if wanted else [()]
        with self._lock, torch.inference_mode():
            total: Tensor | None = None
            for subset in mirrored:
                answer = self._forward(batch.flip(subset) if subset else batch)
                answer = answer.flip(subset) if subset else answer
                total = answer if total is None else total.add_(answer)
            assert total is not None
            mean = total.div_(len(mirrored)) if len(mirrored) > 1 else total
        return mean.cpu().numpy()

    def mirrorings(self, ndim: int) -> list[tuple[int, ...]]:
        """Return the sets of axes that training mirrored, the empty one first.

        Args:
            ndim: of the array, whose last axes are those of the network.
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
        """Return probabilities of images `(N, channels, *spatial)`, tiled if large."""
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
            # half a pixel less: MONAI rounds the step down, which must not cost another tile
            overlap=[min(0.5, max(0.0, shared - 0.5) / side) for side in tiles],
            mode="gaussian",
            padding_mode="reflect",
        )
        assert isinstance(result, Tensor)
        return result

    def _window(self, window: Tensor) -> Tensor:
        """Return probabilities of a window, mirrored at its borders to a size the network takes."""
        spec, inside = self.task.encoder_decoder, [slice(None), slice(None)]
        for axis, size in enumerate(window.shape[2:], start=2):
            wanted = spec.input_size(size)
            answered = spec.output_size(wanted) or wanted
            before = (wanted - answered) // 2  # of a network without padding; else 0
            inside.append(slice(0, size))
            if wanted != size:
                index = mirrored(np.arange(-before, wanted - before), size)
                window = window.index_select(axis, torch.from_numpy(index).to(window.device))
        return torch.sigmoid(self._logits(window)[tuple(inside)])

    def _frames(
        self, probabilities: np.ndarray, instances: bool
    ) -> tuple[np.ndarray, np.ndarray | None, float | None]:
        """Return what `objects` does, of each frame of a loop by itself; numbers go on."""
        frames = [self.objects(maps, instances) for maps in np.moveaxis(probabilities, 1, 0)]
        masks, numbered, sure = zip(*frames, strict=True)
        count = 0
        for objects in numbered:
            if objects is not None:
                objects[objects > 0] += count
                count = max(count, int(objects.max(initial=0)))
        return (
            np.stack(masks),
            None if numbered[0] is None else np.stack(numbered),
            None if sure[0] is None else max(sure),
        )

    def objects(
        self, probabilities: np.ndarray, instances: bool = True
    ) -> tuple[np.ndarray, np.ndarray | None, float | None]:
        """Return what probabilities `(maps, *spatial)` of one image or frame amount to.

        Returns:
            Mask, separated objects where asked for and possible, and presence where answered.
        """
        task, spec = self.task, self.task.output
        answered = dict(zip(task.target.answered, probabilities, strict=True))
        presence = answered.get(PRESENCE)
        sure = None if presence is None else float(presence.max())
        several = bool(task.target.structures)  # of which each keeps its own largest object
        kept = replace(spec, keep="all") if several else spec
        mask = foreground_mask(probabilities[0], kept, presence)
        objects = None
        if (instances and spec.instances) or spec.gap:
            objects = separate(mask, spec, answered.get("distance"))
            mask = objects > 0
        return self._valued(mask, answered), objects if instances and spec.instances else None, sure

    def _valued(self, mask: np.ndarray, answered: dict[str, np.ndarray]) -> np.ndarray:
        """Return `mask` with each pixel's likeliest structure as its value, uint8."""
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
    """Return the side of equal tiles that cover `size` pixels and share at least `overlap`.

    As few tiles of at most `longest` as do it, and no larger than they must be but for being
    multiples of `divisor`.
    """
    if size <= longest:
        return size
    count = math.ceil((size - overlap) / (longest - overlap))
    return min(size, math.ceil((size + (count - 1) * overlap) / count / divisor) * divisor)
