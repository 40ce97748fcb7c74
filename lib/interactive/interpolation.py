"""The shape of a structure between the slices, or frames, in which somebody drew it.

Shapes are interpolated as depths, the signed distances to their outlines (Raya and Udupa 1990,
"Shape-based interpolation of multidimensional objects", IEEE TMI 9), along cubics through the
drawn slices (Herman, Zheng and Bucholtz 1992, "Shape-based interpolation", IEEE CGA 12). Depths
are taken as ``depth * (2 * greatest depth - depth)``: of a disc that is the square of the radius
less the square of the distance to the middle, so that a sphere stays one and has no cone between
two slices. A shape that moves is carried along: the middles of the shapes are interpolated too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from lib.errors import InputError

_MARGIN = 2  # pixels around the shapes in which depths are measured
_ROUNDING = 1e-6

Box = tuple[slice, slice]


def drawn_slices(label: np.ndarray, value: int) -> list[int]:
    """Return the indices of the slices of `(slices, rows, columns)` that hold a value."""
    return [int(index) for index in np.flatnonzero((label == value).any(axis=(1, 2)))]


def fill_between(
    label: np.ndarray, values: Sequence[int] = (), keys: Sequence[int] = ()
) -> np.ndarray:
    """Return a label with its structures in the slices between those in which they are drawn.

    Drawn slices stay as they are, and so does all that other structures have: only background is
    filled. Where two interpolated structures meet, a pixel goes to the one that it lies deeper in.

    Args:
        label: integers `(slices, rows, columns)`, 0 is background; a loop has frames for slices.
        values: of the structures; empty for all that are drawn in at least two slices.
        keys: indices of the slices that count as drawn; what the structures have between them is
            made anew. Empty for all slices that hold a structure.

    Raises:
        InputError: no volume or loop, a structure that is drawn in fewer than two slices, or a key
            that holds none of them.
    """
    if label.ndim != 3:
        raise InputError(
            f"the label has {label.ndim} axes; expected the slices of a volume or the frames of a "
            f"loop; open one of them"
        )
    drawn = _drawn(label, values, keys)
    filled = label.copy()
    for value, own in drawn.items():
        between = filled[own[0] : own[-1] + 1]
        between[(between == value) & ~_is_key(own)[:, None, None]] = 0
    structures = [_Structure(label == value, value, own) for value, own in drawn.items()]
    for index in range(label.shape[0]):
        found = [one for one in structures if one.lacks(index)]
        _fill(filled[index], {one.value: (one.box, one.depth(index)) for one in found})
    return filled


def _drawn(label: np.ndarray, values: Sequence[int], keys: Sequence[int]) -> dict[int, list[int]]:
    """Return the drawn slices of each structure to fill, by its value."""
    asked = values or [int(value) for value in np.unique(label) if value]
    found = {value: drawn_slices(label, value) for value in asked}
    if keys:
        for key in keys:
            if not any(key in own for own in found.values()):
                raise InputError(
                    f"slice {key} is none of those that hold the structure "
                    f"({_listed(found)}); draw there, or leave it out"
                )
        found = {value: [key for key in own if key in set(keys)] for value, own in found.items()}
    enough = {value: own for value, own in found.items() if len(own) > 1}
    if not enough or (values and len(enough) < len(found)):
        raise InputError(
            f"there is nothing to fill between: expected a structure drawn in two slices at least, "
            f"found {_listed(found) or 'no structure'}; draw it in one more"
        )
    return enough


def _listed(found: Mapping[int, Sequence[int]]) -> str:
    return "; ".join(
        f"value {value} in {', '.join(map(str, own[:8])) or 'none'}" for value, own in found.items()
    )


def _is_key(keys: Sequence[int]) -> np.ndarray:
    """Return booleans from the first key to the last, true at keys."""
    found = np.zeros(keys[-1] - keys[0] + 1, bool)
    found[np.asarray(keys) - keys[0]] = True
    return found


class _Structure:
    """One structure in the slices in which it is drawn.

    Attributes:
        box: of a slice, in which all its shapes lie.
    """

    def __init__(self, mask: np.ndarray, value: int, keys: Sequence[int]) -> None:
        self.value, self.keys = value, list(keys)
        self._masks = {key: mask[key] for key in keys}
        self._middles = np.array([ndimage.center_of_mass(mask[key]) for key in keys])
        steps = np.abs(np.diff(self._middles, axis=0)).max(axis=0)
        anywhere = np.asarray(mask[self.keys].any(axis=0))
        self.box = _grown_box(anywhere, np.ceil(steps).astype(int) + _MARGIN)
        self._depths = {key: _depth(mask[key][self.box]) for key in keys}
        self._carried = [
            _move_helps(self._masks[below], self._masks[above], after - before)
            for below, above, before, after in zip(
                keys, keys[1:], self._middles, self._middles[1:], strict=False
            )
        ]

    def lacks(self, index: int) -> bool:
        """Tell whether a slice lies between two in which the structure is drawn."""
        return self.keys[0] < index < self.keys[-1] and index not in self._masks

    def depth(self, index: int) -> np.ndarray:
        """Return how deep the pixels of the box lie in the interpolated shape, from 0 inside."""
        above = int(np.searchsorted(self.keys, index))
        near = range(max(0, above - 2), min(len(self.keys), above + 2))
        keys, middles = [self.keys[one] for one in near], self._middles[near.start : near.stop]
        moves = np.zeros_like(middles)
        if self._carried[above - 1]:
            moves = PchipInterpolator(keys, middles)(index) - middles
        depths = np.stack(
            [_moved(*self._depths[key], move) for key, move in zip(keys, moves, strict=True)]
        )
        before, after = depths[near.index(above) - 1], depths[near.index(above)]
        depth = np.minimum(before, after)
        # the cubic between two values never leaves them: it decides where they differ in sign
        open_ = (before >= 0) != (after >= 0)
        depth[open_] = PchipInterpolator(keys, depths[:, open_])(index)
        return np.asarray(depth)


def _depth(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the signed distance of pixels to the outline, above 0 inside, and the greatest."""
    if mask.all():
        return np.full(mask.shape, float(max(mask.shape))), float(max(mask.shape))
    distance = ndimage.distance_transform_edt
    depth = np.where(mask, distance(mask) - 0.5, 0.5 - distance(~mask))
    return depth, float(depth.max())


def _moved(depth: np.ndarray, greatest: float, move: np.ndarray) -> np.ndarray:
    """Return the depths of a shape moved by `(rows, columns)`, as the module's text has them."""
    if move.any():
        depth = ndimage.shift(depth, move, order=1, mode="nearest")
    return np.asarray(depth * (2 * greatest - depth))


def _move_helps(below: np.ndarray, above: np.ndarray, move: np.ndarray) -> bool:
    """Tell whether two shapes overlap more when the one is carried to the middle of the other.

    That is so of a shape that moves. Of two of which one ends it is not: the other stays.
    """
    carried = ndimage.shift(below.astype(np.uint8), np.rint(move), order=0)
    return int((carried & above).sum()) > int((below & above).sum())


def _grown_box(mask: np.ndarray, reach: np.ndarray) -> Box:
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    return (
        slice(max(0, rows.start - reach[0]), rows.stop + reach[0]),
        slice(max(0, columns.start - reach[1]), columns.stop + reach[1]),
    )


def _fill(drawing: np.ndarray, shapes: Mapping[int, tuple[Box, np.ndarray]]) -> None:
    """Draw interpolated shapes on the background of one slice, in place."""
    free = drawing == 0
    deepest = np.full(drawing.shape, -_ROUNDING)
    for value, (box, depth) in shapes.items():
        inside = free[box] & (depth >= deepest[box])
        drawing[box][inside] = value
        deepest[box][inside] = depth[inside]
