"""The only forward path: from an image to probabilities, mask and instances."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from lib.checkpoints import Checkpoint, load_network
from lib.devices import autocast, resolve_device, resolve_precision
from lib.images import Image
from lib.instances import foreground_mask, separate
from lib.networks import place_network
from lib.tasks import TaskSpec
from lib.transforms import mirrored, prepare_image

WHOLE_PIXELS = {2: 1536 * 1536, 3: 96**3}  # by spatial dimensions
TILE = {2: 1024, 3: 96}
TILE_OVERLAP = {2: 0.125, 3: 0.25}


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        probabilities: float32 `(maps, *spatial)` in 0..1, the maps that the task answers with.
        mask: uint8 `(*spatial)`, 1 is foreground.
        instances: int32 `(*spatial)`, objects numbered from 1; None where the task has none.
        seconds: wall time by phase: "pre", "infer", "post".
    """

    probabilities: np.ndarray
    mask: np.ndarray
    instances: np.ndarray | None
    seconds: dict[str, float] = field(default_factory=dict)


class Predictor:
    """Runs one task's network on images, whole where they fit and in tiles where not.

    Calls from several threads are served one after the other; the network is shared.

    Args:
        task: the row.
        network: module with the task's weights; see `from_checkpoint`.
        device: name of the device, None for the best there is.
        precision: "auto", "fp32", "bf16" or "fp16"; see `lib.devices.resolve_precision`.
        flips: average the answers over mirrored copies (four in 2D), slower and a little better.
    """

    def __init__(
        self,
        task: TaskSpec,
        network: nn.Module,
        device: str | torch.device | None = None,
        precision: str = "auto",
        flips: bool = False,
    ) -> None:
        self.task = task
        self.device = device if isinstance(device, torch.device) else resolve_device(device)
        self.dtype = resolve_precision(self.device, precision, task.network.spatial_dims)
        self.flips = flips
        self.network = place_network(network, self.device, self.dtype)
        self._lock = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls,
        task: TaskSpec,
        checkpoint: Checkpoint,
        device: str | torch.device | None = None,
        precision: str = "auto",
        flips: bool = False,
    ) -> Predictor:
        """Return a predictor with the checkpoint's weights; they must fit the task's network."""
        return cls(task, load_network(task, checkpoint), device, precision, flips)

    def __call__(
        self, image: Image, instances: bool = True, flips: bool | None = None
    ) -> Prediction:
        """Segment `image`; the answer has its size.

        Args:
            image: as `lib.images.read_image` returns it.
            instances: whether to separate objects, for tasks that can.
            flips: whether to average over mirrored copies; None as the predictor was made.

        Raises:
            InputError: the image is too small or too large for the task.
        """
        start = time.perf_counter()
        prepared = prepare_image(image, self.task.input)
        ready = time.perf_counter()
        probabilities = self.probabilities(prepared, flips)
        done = time.perf_counter()
        mask, objects = self._objects(probabilities, instances)
        return Prediction(
            probabilities,
            mask,
            objects,
            {"pre": ready - start, "infer": done - ready, "post": time.perf_counter() - done},
        )

    def probabilities(self, prepared: np.ndarray, flips: bool | None = None) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, for input `(channels, *spatial)`."""
        batch = torch.from_numpy(prepared)[np.newaxis].to(self.device)
        axes = range(2, batch.ndim)
        mirrored = [
            subset
            for count in range(batch.ndim - 1 if (self.flips if flips is None else flips) else 1)
            for subset in itertools.combinations(axes, count)
        ]
        with self._lock, torch.inference_mode():
            total: Tensor | None = None
            for subset in mirrored:
                answer = self._forward(batch.flip(subset) if subset else batch)
                answer = answer.flip(subset) if subset else answer
                total = answer if total is None else total.add_(answer)
            assert total is not None
            mean = total.div_(len(mirrored)) if len(mirrored) > 1 else total
        return mean.cpu().numpy()[0]

    def _forward(self, batch: Tensor) -> Tensor:
        """Return probabilities of one image `(1, channels, *spatial)`, tiled if large."""
        axes = batch.ndim - 2
        if math.prod(batch.shape[2:]) <= WHOLE_PIXELS[axes]:
            return self._window(batch)
        result = sliding_window_inference(
            batch,
            roi_size=[min(TILE[axes], size) for size in batch.shape[2:]],
            sw_batch_size=1,
            predictor=self._window,
            overlap=TILE_OVERLAP[axes],
            mode="gaussian",
            padding_mode="reflect",
        )
        assert isinstance(result, Tensor)
        return result

    def _window(self, window: Tensor) -> Tensor:
        """Return probabilities of a window, mirrored at its borders to a size the network takes."""
        spec, inside = self.task.network, [slice(None), slice(None)]
        for axis, size in enumerate(window.shape[2:], start=2):
            wanted = spec.input_size(size)
            answered = spec.output_size(wanted) or wanted
            before = (wanted - answered) // 2  # of a network without padding; else 0
            inside.append(slice(0, size))
            if wanted != size:
                index = mirrored(np.arange(-before, wanted - before), size)
                window = window.index_select(axis, torch.from_numpy(index).to(window.device))
        was_training = self.network.training
        self.network.eval()
        try:
            with autocast(self.device, self.dtype):
                logits = self.network(window)
            return torch.sigmoid(logits[tuple(inside)].float())
        finally:
            self.network.train(was_training)

    def _objects(
        self, probabilities: np.ndarray, instances: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the mask, uint8, and the separated objects where asked for and possible."""
        task, spec = self.task, self.task.output
        mask = foreground_mask(probabilities[0], spec)
        if not ((instances and spec.instances) or spec.gap):
            return mask.astype(np.uint8), None
        answered = dict(zip(task.target.answered, probabilities, strict=True))
        objects = separate(mask, spec, answered.get("distance"))
        return (objects > 0).astype(np.uint8), objects if instances and spec.instances else None
