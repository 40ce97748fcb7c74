"""Whether slices make up one volume: at even distances, straight, and each place once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

_SAME_PLACE = 0.1  # two slices this near, as a share of the distance of slices, are at one place
_EVEN = 0.1  # how far a slice may lie off even distances, as a share of the distance
_ROUNDED_MM = 0.1  # how far off positions that are rounded to 0.1 mm may lie
_MISSING = 0.4  # a slice is missing if one lies this far off, as a share of the distance
_STRAIGHT = 0.25  # how far slices may be shifted in their plane, as a share of a pixel
_UNTOLD = 0.02  # less, as a share of the distance or of a pixel, is not worth a note
_BY_VALUE = ("stack", "b-value")  # named by what the file says, other facts by their order
_Key = tuple[tuple[str, int, str], ...]  # for each fact its name, the rank of its value, its value
_SHOWN = 8  # most positions in a message


def place_numbers(offsets: np.ndarray) -> np.ndarray:
    """Return the number of each slice's place, from 0; slices at the same place have the same.

    Args:
        offsets: of each slice along the normal, mm.
    """
    order = np.argsort(offsets, kind="stable")
    steps = np.diff(offsets[order])
    apart = steps[steps > 0.01]
    new = steps > (_SAME_PLACE * float(np.median(apart)) if len(apart) else 0.01)
    numbers = np.empty(len(offsets), int)
    numbers[order] = np.concatenate(([0], np.cumsum(new)))
    return numbers


def told_apart(
    places: np.ndarray, facts: Iterable[tuple[str, Sequence[str]]]
) -> dict[str, list[int]]:
    """Part slices that share their places into volumes of one slice at each place.

    Args:
        places: number of each slice's place, from 0.
        facts: what may tell slices apart, the most telling first: its name, such as "time" or
            "echo", and its value for each slice. What would leave a volume without some place
            tells none apart.

    Returns:
        Indices of the slices of each volume, by its name, such as "time 2, echo 1". One volume with
        the name "" where no place is shared, or where nothing tells those apart that share one.
    """
    count = len(set(places))
    keys: list[_Key] = [()] * len(places)
    volumes: dict[_Key, list[int]] = {(): list(range(len(places)))}
    for name, values in facts:
        if len(volumes) * count == len(places):
            break
        distinct = sorted(set(values), key=_in_order)
        if len(distinct) * count > len(places):
            continue
        ranks = {value: rank for rank, value in enumerate(distinct)}
        refined = [
            (*key, (name, ranks[value], value)) for key, value in zip(keys, values, strict=True)
        ]
        parts: dict[_Key, list[int]] = {}
        for index, key in enumerate(refined):
            parts.setdefault(key, []).append(index)
        whole = all(len(set(places[members])) == count for members in parts.values())
        if whole and len(parts) > len(volumes):
            keys, volumes = refined, parts
    if len(volumes) * count != len(places):
        return {"": list(range(len(places)))}
    return {_name(key): volumes[key] for key in sorted(volumes)}


def even_step(positions: np.ndarray, normal: np.ndarray, pixel: float) -> tuple[float, list[str]]:
    """Return the distance of the slices of a volume, mm, and notes on small irregularities.

    Slices lie at even distances if none is farther off than a tenth of the distance, or than
    positions that are rounded to 0.1 mm.

    Args:
        positions: `(slices, 3)`, in their order along the normal, mm.
        normal: of the slices, unit vector `(3,)`.
        pixel: the shorter side of a pixel, mm.

    Raises:
        ValueError: slices are missing, at the same place, at uneven distances, or shifted against
            each other.
    """
    moved = positions - positions[0]
    offsets = positions @ normal
    along = np.abs(offsets - offsets[0]) if offsets[-1] < offsets[0] else offsets - offsets[0]
    steps, step = np.diff(along), float(along[-1]) / (len(along) - 1)
    usual = float(np.percentile(steps, 50, method="lower"))
    if not usual > 0 or (steps < _SAME_PLACE * usual).any():
        shared = int(np.argmin(steps))
        raise ValueError(
            f"two slices at the same position ({offsets[shared]:.5g} mm along their normal), and "
            f"nothing that tells them apart; expected one volume; store each time or contrast as a "
            f"series of its own"
        )
    off = float(np.abs(along - step * np.arange(len(along))).max())
    if off > max(_EVEN * step, min(_ROUNDED_MM, _MISSING * step)):
        raise ValueError(_uneven(offsets, steps, usual))
    beside = np.linalg.norm(moved - (moved @ normal)[:, None] * normal, axis=1)
    shift = float(beside.max())
    if shift > max(_STRAIGHT * pixel, _ROUNDED_MM):
        angle = math.degrees(math.atan2(float(beside[-1]), float(along[-1])))
        tilted = np.abs(beside - along / along[-1] * beside[-1]).max() <= max(pixel, 0.1 * shift)
        cause = f"tilted by {angle:.1f} degrees (gantry tilt)" if tilted else "not straight"
        raise ValueError(
            f"slices are shifted against each other by up to {shift:.3g} mm in their plane: the "
            f"volume is {cause}; expected slices right behind each other; resample it to straight "
            f"slices"
        )
    notes = []
    if off > _UNTOLD * step:
        notes.append(
            f"slices lie up to {off:.2g} mm off even distances of {step:.4g} mm; taken as even"
        )
    if shift > _UNTOLD * pixel:
        notes.append(f"slices are shifted by up to {shift:.2g} mm in their plane; not heeded")
    return step, notes


def _uneven(offsets: np.ndarray, steps: np.ndarray, usual: float) -> str:
    wrong = np.flatnonzero(np.abs(steps - usual) > _UNTOLD * usual)
    shown = ", ".join(f"{offsets[i]:.5g} to {offsets[i + 1]:.5g}" for i in wrong[:_SHOWN])
    more = ", ..." if len(wrong) > _SHOWN else ""
    holes = (np.abs(steps[wrong] / usual - np.rint(steps[wrong] / usual)) < _EVEN).all()
    cause = "slices are missing, send the series again" if holes else "resample it to even slices"
    return (
        f"{len(wrong)} of {len(steps)} slices are not {usual:.3g} mm from their neighbour (from "
        f"{shown}{more} mm along their normal); expected even distances; {cause}"
    )


def _in_order(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return math.inf, value


def _name(key: _Key) -> str:
    parts = (f"{name} {value if name in _BY_VALUE else rank + 1}" for name, rank, value in key)
    return ", ".join(parts)
