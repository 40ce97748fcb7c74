"""The only forward path: from an image to probabilities, mask and instances."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

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
from lib.transforms import prepare_image

WHOLE_IMAGE_PIXELS = 1536 * 1536
TILE = 1024
TILE_OVERLAP = 0.125


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        probabilities: float32 `(maps, rows, columns)` in 0..1.
        mask: uint8 `(rows, columns)`, 1 is foreground.
        instances: int32 `(rows, columns)`, objects numbered from 1; None where the task has none.
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
        self.dtype = resolve_precision(self.device, precision)
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
        mask = foreground_mask(probabilities[0], self.task.output)
        objects = separate(mask, self.task.output) if self._separates(instances) else None
        return Prediction(
            probabilities,
            mask.astype(np.uint8),
            objects,
            {"pre": ready - start, "infer": done - ready, "post": time.perf_counter() - done},
        )

    def probabilities(self, prepared: np.ndarray, flips: bool | None = None) -> np.ndarray:
        """Return probabilities, float32 `(maps, *spatial)`, for input `(channels, *spatial)`.

        The input is mirrored at its far borders up to a multiple the network accepts.
        """
        spatial = prepared.shape[1:]
        divisor = self.task.network.divisor
        padding = [(0, 0)] + [(0, -size % divisor) for size in spatial]
        padded = np.pad(prepared, padding, mode="reflect")
        batch = torch.from_numpy(padded)[np.newaxis].to(self.device)
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
        inside: tuple[Any, ...] = (0, slice(None), *(slice(0, size) for size in spatial))
        return mean.cpu().numpy()[inside]

    def _forward(self, batch: Tensor) -> Tensor:
        """Return probabilities of one padded image `(1, channels, *spatial)`, tiled if large."""
        if math.prod(batch.shape[2:]) <= WHOLE_IMAGE_PIXELS:
            return self._window(batch)
        divisor = self.task.network.divisor
        tile = [min(TILE, size) // divisor * divisor for size in batch.shape[2:]]
        result = sliding_window_inference(
            batch,
            roi_size=tile,
            sw_batch_size=1,
            predictor=self._window,
            overlap=TILE_OVERLAP,
            mode="gaussian",
            padding_mode="reflect",
        )
        assert isinstance(result, Tensor)
        return result

    def _window(self, window: Tensor) -> Tensor:
        was_training = self.network.training
        self.network.eval()
        try:
            with autocast(self.device, self.dtype):
                logits = self.network(window)
            return torch.sigmoid(logits.float())
        finally:
            self.network.train(was_training)

    def _separates(self, wanted: bool) -> bool:
        return wanted and self.task.output.instances
