"""Clicks of a user on an image, and the maps that show them to a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Clicks:
    """Points that a user clicked on an image.

    Attributes:
        positive: int `(points, axes)`, in the order of the image's axes: on what the answer shall
            contain.
        negative: the same for what it shall not contain.
    """

    positive: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    negative: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.positive) + len(self.negative)

    def with_one(self, point: Sequence[int], positive: bool) -> Clicks:
        """Return these clicks and one more."""
        row = np.asarray(point, dtype=np.int64)[np.newaxis]
        if positive:
            return Clicks(_joined(self.positive, row), self.negative)
        return Clicks(self.positive, _joined(self.negative, row))

    def scaled(
        self, start: Sequence[int], factors: Sequence[float], shape: Sequence[int]
    ) -> Clicks:
        """Return the clicks on another grid; those outside it move to its nearest pixel.

        Args:
            start: where the other grid's first pixel lies on this grid.
            factors: pixels of the other grid per pixel of this one, along each axis.
            shape: size of the other grid.
        """

        def scale(points: np.ndarray) -> np.ndarray:
            if not len(points):
                return np.zeros((0, len(shape)), dtype=np.int64)
            scaled = np.floor((points - np.asarray(start) + 0.5) * np.asarray(factors))
            return np.clip(scaled.astype(np.int64), 0, np.asarray(shape) - 1)

        return self._each(scale)

    def of_frame(self, frame: int) -> Clicks:
        """Return the clicks with index `frame` on the first axis, without that axis."""
        return self._each(
            lambda points: points[points[:, 0] == frame][:, 1:] if len(points) else points
        )

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Clicks:
        return Clicks(change(self.positive), change(self.negative))


def click_maps(clicks: Clicks, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Return the network's click maps, float32 `(2, *shape)`: positive, then negative clicks.

    A click is a disc (in 3D a ball) of ones. Its edge falls to 0 within one pixel and is 0.5 at the
    radius.
    """
    maps = np.zeros((2, *shape), dtype=np.float32)
    reach = int(np.ceil(radius + 0.5))
    for channel, points in zip(maps, (clicks.positive, clicks.negative), strict=True):
        for point in points.tolist():
            box = tuple(
                slice(max(0, index - reach), min(side, index + reach + 1))
                for index, side in zip(point, shape, strict=True)
            )
            offsets = (at - index for at, index in zip(np.ogrid[box], point, strict=True))
            away = np.sqrt(sum(axis.astype(np.float32) ** 2 for axis in offsets))
            disc = np.clip(radius + 0.5 - away, 0, 1)
            np.maximum(channel[box], disc, out=channel[box])
    return maps


def _joined(points: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.concatenate((points, row)) if len(points) else row
