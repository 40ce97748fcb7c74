"""The objects of an image that is too large for memory, band of rows by band of rows.

A band is an array whose first row follows the last row of the band before it. What is found does
not depend on where bands end: filters see as many rows beyond a band as they reach, and an object
is split once all of its rows are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import ndimage

from lib.errors import InputError
from lib.segmentation.instances import (
    components,
    depth_inside,
    foreground_mask,
    split,
    surface,
)
from lib.tasks.image_spec import PRESENCE, OutputSpec, TargetSpec
from lib.tasks.spec import TaskSpec

DEEPEST = 256  # pixels; objects of which more lies inside are as deep
MOST_ROWS = 1024  # of an object that is not all there yet, before it is cut
COLUMNS = 2048  # objects of so many columns are split at once
_TRUNCATE = 4.0  # standard deviations that a Gaussian of scipy reaches


class Found(Protocol):
    """Takes objects, int32 `(rows, columns)`, with the row and column at which they begin."""

    def __call__(self, objects: np.ndarray, row: int, column: int) -> object: ...  # noqa: D102


@dataclass(frozen=True)
class Band:
    """A mask and heights, see `lib.segmentation.instances.surface`, both `(rows, columns)`."""

    mask: np.ndarray
    height: np.ndarray | None


def check_bands(task: TaskSpec) -> None:
    """Refuse a task whose answer needs the whole image.

    Raises:
        InputError: it does.
    """
    spec = task.output
    whole = task.target.structures or spec.gap or spec.keep != "all" or not spec.instances
    if whole or task.input.longest_side or task.network.spatial_dims != 2:
        raise InputError(
            f"'{task.name}' does not answer images larger than memory holds: that is for "
            f"tasks that separate objects of one structure; crop the image, or choose another task"
        )


def masks(bands: Iterable[np.ndarray], target: TargetSpec, spec: OutputSpec) -> Iterator[Band]:
    """Yield mask and heights for bands of answered maps, `(maps, rows, columns)`."""

    def of(maps: np.ndarray) -> Band:
        answered = dict(zip(target.answered, maps, strict=True))
        mask = foreground_mask(maps[0], spec, answered.get(PRESENCE))
        if spec.separation != "shape":
            return Band(mask, surface(mask, spec, answered.get("distance")))
        depth = capped_depth(mask)
        return Band(mask, surface(mask, replace(spec, separation="distance"), depth))

    reach = sum(int(_TRUNCATE * sigma + 0.5) for sigma in (spec.blur, spec.smoothing))
    reach += spec.min_area + 1 + (DEEPEST + 1 if spec.separation == "shape" else 0)
    for maps, before, rows in with_rows_around(bands, reach):
        band, inner = of(maps), slice(before, before + rows)
        yield Band(band.mask[inner], None if band.height is None else band.height[inner])


def capped_depth(mask: np.ndarray) -> np.ndarray:
    """Return `lib.segmentation.instances.depth_inside`, at most `DEEPEST`, float32.

    It is computed for some columns at once: distances take forty bytes for each pixel on the way.

    Args:
        mask: boolean `(rows, columns)`.
    """
    depth = np.empty(mask.shape, np.float32)
    for start in range(0, mask.shape[1], COLUMNS):
        left = max(start - DEEPEST - 1, 0)
        part = depth_inside(mask[:, left : start + COLUMNS + DEEPEST + 1])
        inner = part[:, start - left : start - left + COLUMNS]
        np.minimum(inner, DEEPEST, out=depth[:, start : start + COLUMNS], casting="same_kind")
    return depth


def with_rows_around(
    bands: Iterable[np.ndarray], reach: int
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield bands `(maps, rows, columns)` with up to `reach` rows of those before and after.

    Yields:
        The rows, how many of them lie before the band, and how many are the band's.
    """
    held: np.ndarray | None = None
    done = 0  # rows of `held` that were yielded as a band's
    for band in bands:
        held = band if held is None else np.concatenate((held, band), axis=1)
        ready = held.shape[1] - reach - done
        if ready > 0:
            yield held, done, ready
            keep = max(done + ready - reach, 0)
            done, held = done + ready - keep, held[:, keep:]
    if held is not None and held.shape[1] > done:
        yield held, done, held.shape[1] - done


class Separation:
    """Separates the objects of an image, band by band.

    Args:
        spec: how.
        found: is given all objects, each once, as soon as they are separated.
        most_rows: an object with more rows is cut.

    Attributes:
        count: objects found so far; they are numbered from 1 without gaps.
        cut: objects that were cut.
        foreground: pixels found so far.
    """

    def __init__(
        self, spec: OutputSpec, found: Found | None = None, most_rows: int = MOST_ROWS
    ) -> None:
        self.spec, self.found, self.most_rows = spec, found, most_rows
        self.count = self.cut = self.foreground = 0

    def __call__(self, bands: Iterable[Band]) -> Iterator[np.ndarray]:
        """Yield objects, int32 `(rows, columns)`, in bands of their own."""
        first = 0  # row of the image at which what is held begins
        mask = height = objects = None
        for band, last in _with_last(bands):
            mask = band.mask if mask is None else np.concatenate((mask, band.mask))
            if band.height is not None:
                height = band.height if height is None else np.concatenate((height, band.height))
            added = np.zeros(band.mask.shape, np.int32)
            objects = added if objects is None else np.concatenate((objects, added))
            ready = self._separate(mask, height, objects, first, last)
            self.foreground += int(np.count_nonzero(objects[:ready]))
            yield objects[:ready].copy()
            first += ready
            mask, objects = mask[ready:].copy(), objects[ready:].copy()
            height = None if height is None else height[ready:].copy()

    def _separate(
        self,
        mask: np.ndarray,
        height: np.ndarray | None,
        objects: np.ndarray,
        first: int,
        last: bool,
    ) -> int:
        """Number the objects all of whose rows are there; return the rows that are finished."""
        labels, count = components(mask & (objects == 0), self.spec)
        boxes = ndimage.find_objects(labels)
        unfinished = np.zeros(count + 1, dtype=bool)
        if not last:
            unfinished[labels[-1]] = True
            unfinished[0] = False
        tops = np.array([box[0].start for box in boxes], dtype=np.int64)
        if unfinished.any() and len(mask) - tops[unfinished[1:]].min() > self.most_rows:
            long = unfinished[1:] & (len(mask) - tops > self.most_rows)
            self.cut += int(np.count_nonzero(long))
            unfinished[1:][long] = False
        groups: dict[int, list[int]] = {}
        for number, box in enumerate(boxes, start=1):
            if not unfinished[number]:
                groups.setdefault(box[1].start // COLUMNS, []).append(number)
        for _, numbers in sorted(groups.items()):
            self._number(numbers, boxes, (labels, height, objects), first)
        left = tops[unfinished[1:]]
        return int(left.min()) if len(left) else len(mask)

    def _number(
        self,
        numbers: list[int],
        boxes: list[tuple[slice, slice]],
        arrays: tuple[np.ndarray, np.ndarray | None, np.ndarray],
        first: int,
    ) -> None:
        """Split objects that are there whole, and write their numbers into the last array."""
        window = tuple(
            slice(
                min(boxes[number - 1][axis].start for number in numbers),
                max(boxes[number - 1][axis].stop for number in numbers),
            )
            for axis in (0, 1)
        )
        labels, height, objects = (None if array is None else array[window] for array in arrays)
        assert labels is not None and objects is not None
        new = np.zeros(int(numbers[-1]) + 1, np.int32)
        new[numbers] = np.arange(1, len(numbers) + 1)
        parts = np.where(labels <= numbers[-1], new[np.minimum(labels, numbers[-1])], 0)
        parts = parts.astype(np.int32, copy=False)
        count = len(numbers)
        if height is not None:
            count = split(parts, count, np.where(parts > 0, height, 0), self.spec)
        parts[parts > 0] += self.count
        self.count += count
        np.copyto(objects, parts, where=parts > 0)
        if self.found is not None:
            self.found(parts, first + window[0].start, window[1].start)


def _with_last(bands: Iterable[Band]) -> Iterator[tuple[Band, bool]]:
    """Yield each band, and whether it is the last."""
    held: Band | None = None
    for band in bands:
        if held is not None:
            yield held, False
        held = band
    if held is not None:
        yield held, True


def _bands_of(mask: np.ndarray, height: np.ndarray | None, rows: int) -> Iterator[Band]:
    for start in range(0, len(mask), rows):
        part = slice(start, start + rows)
        yield Band(mask[part], None if height is None else height[part])


def separate_in_bands(
    mask: np.ndarray, spec: OutputSpec, distance: np.ndarray | None, rows: int = MOST_ROWS
) -> np.ndarray:
    """Return what `lib.segmentation.instances.separate` does, numbered in another order.

    It takes less memory for what is made on the way. Objects of more than `MOST_ROWS` rows are not
    cut.

    Args:
        mask: boolean `(rows, columns)`.
        rows: of a band.
    """
    separation = Separation(spec, most_rows=len(mask))
    return np.concatenate(list(separation(_bands_of(mask, surface(mask, spec, distance), rows))))
