"""Answers for images that are too large for memory: read, answered and separated by rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from lib.data.diameter import DIAMETER
from lib.data.transforms import Scale, absorbs_light, as_channels, sample_step, separate
from lib.devices import give_back_memory
from lib.errors import InputError
from lib.segmentation.bands import Found, Separation, check_bands, masks
from lib.segmentation.predictor import Predictor
from lib.segmentation.windows import groups_of
from lib.threads import ahead

ROWS = 1024  # read at once for the scale


class Rows(Protocol):
    """An image that is read by rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def colour(self) -> bool:
        """Whether pixels are red, green, blue."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return pixels `(stop - start, columns)`, in colour `(..., 3)`."""


@dataclass
class _Greys:
    """What is kept of the greys of an image for its scale."""

    sample: list[np.ndarray] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(self, grey: np.ndarray, every: tuple[slice, slice]) -> None:
        """Take the pixels of some rows, all of them for the ends."""
        self.sample.append(grey[every].copy())
        self.ends += (float(grey.min()), float(grey.max()))

    def whole(self) -> tuple[float, float]:
        """Return the least and the greatest grey."""
        return min(self.ends), max(self.ends)


class LargeAnswer:
    """The objects of an image, in bands of rows; the same as `Predictor` finds in the whole image.

    Memory is that of some thousand rows, whatever the image has.

    Args:
        predictor: of a task that `lib.segmentation.bands.check_bands` accepts.
        image: the image.
        found: is given all objects, see `Separation`.
        progress: is told the share of the image that the network has seen, 0..1.
        flips: see `Predictor`; None takes the predictor's setting.

    Attributes:
        separation: counts what was found.
        strangeness: as of `lib.segmentation.predictor.Prediction`, once all is answered.

    Raises:
        InputError: the task needs the whole image, or the predictor was told a diameter of objects.
    """

    def __init__(
        self,
        predictor: Predictor,
        image: Rows,
        found: Found | None = None,
        progress: Callable[[float], object] = lambda share: None,
        flips: bool | None = None,
    ) -> None:
        task = predictor.task
        check_bands(task)
        if predictor.diameter:
            raise InputError(
                f"{DIAMETER} {predictor.diameter:g}: an image that is read by rows is not "
                f"resampled; leave it away, or make the image smaller"
            )
        self.predictor, self.image, self.progress = predictor, image, progress
        self.flips = flips
        self.separation = Separation(task.output, found)
        self.strangeness: float | None = None

    def bands(self) -> Iterator[np.ndarray]:
        """Yield objects, int32 `(rows, columns)`, 0 is background, from the first row to the last.

        The network answers the next rows while objects are separated.
        """
        task = self.predictor.task
        return self.separation(masks(ahead(self._maps()), task.target, task.output))

    def scales(self) -> list[Scale]:
        """Return the scale of the image, or those of its colours; all of it is read for them."""
        spec = self.predictor.task.input
        rows, _ = self.image.shape
        step, brightness, coloured = sample_step(self.image.shape), [], False
        kept: list[_Greys] = []  # the luminance, and then red, green and blue
        for start in range(0, rows, ROWS):
            pixels = self.image.read(start, min(start + ROWS, rows))
            every = slice(-start % step, None, step), slice(None, None, step)
            parts = separate(pixels, self.image.colour, colours=False)
            if self.image.colour:
                coloured = coloured or bool((pixels != pixels[..., :1]).any())
                brightness.append(pixels[every].max(-1))
                if spec.coloured:
                    parts += separate(pixels, self.image.colour, colours=True)
            kept = kept or [_Greys() for _ in parts]
            for one, grey in zip(kept, parts, strict=True):
                one.add(grey, every)
        stained = coloured and absorbs_light(np.concatenate(brightness))
        chosen = kept[1:] if stained and spec.coloured else kept[:1]
        return [
            Scale.of(np.concatenate(one.sample), one.whole, lambda: stained, spec) for one in chosen
        ]

    def _maps(self) -> Iterator[np.ndarray]:
        """Yield answered maps, float32 `(maps, rows, columns)`."""
        down, across = self.predictor.tiling(self.image.shape)
        at_once = self.predictor.at_once((down.side, across.side))
        scales = self.scales()
        colours = len(scales) > 1

        def read() -> Iterator[np.ndarray]:
            for start in down.starts:
                pixels = self.image.read(start, start + down.side)
                greys = separate(pixels, self.image.colour, colours)
                for grey, scale in zip(greys, scales, strict=True):
                    scale.apply(grey)
                yield as_channels(np.stack(greys), self.predictor.task.input)

        stops = [*down.starts[1:], self.image.shape[0]]
        held: np.ndarray | None = None  # rows of the tiles before that go on below
        features: list[torch.Tensor] = []
        for seen, start, stop, vertical in zip(
            ahead(read()), down.starts, stops, down.weights, strict=True
        ):
            joined: np.ndarray | None = None
            for group in groups_of(across.tiles, at_once):
                tiles = np.stack([seen[..., part] for part, _ in group])
                images = torch.from_numpy(tiles).to(self.predictor.device)
                with self.predictor.noting_features() as noted:
                    found = self.predictor.answers(images, self.flips)
                features += noted
                for answer, (part, horizontal) in zip(found.cpu().numpy(), group, strict=True):
                    answer *= vertical[:, np.newaxis]
                    answer *= horizontal
                    if joined is None:
                        joined = np.zeros((len(answer), *seen.shape[1:]), np.float32)
                        if held is not None:
                            joined[:, : held.shape[1]] = held
                    joined[:, :, part] += answer
                give_back_memory()
            assert joined is not None
            held = joined[:, stop - start :].copy()
            self.progress(stop / self.image.shape[0])
            yield joined[:, : stop - start]
        self.strangeness = self.predictor.strangeness(features)
