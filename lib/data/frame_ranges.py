"""Ranges of frames, or slices, that hold a structure, outlined there or not.

They are kept with a label as ``{"nerve": [[3, 9]]}``, with frames from 1 in the order of the label,
the last one included. A frame that is said to hold a structure which nobody outlined there is no
background: what has no other structure in it is `lib.data.ignore.IGNORE`, so training, figures and
simulated users leave it out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from lib.data.ignore import IGNORE
from lib.errors import InputError, shown

FRAMES = "frames"  # in the information on a label
_NAME_LENGTH = 64
_FORM = 'expected frames such as {"nerve": [[3, 9]]}, counted from 1'

Ranges = dict[str, list[list[int]]]


def read_frame_ranges(value: Any, count: int | None = None) -> Ranges:
    """Return the ranges of each structure, sorted and joined where they touch.

    Args:
        value: as it was sent.
        count: number of frames; None if it is not known.

    Raises:
        InputError: another form, or frames that the image does not have.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"frames '{shown(str(value))}': {_FORM}")
    found = {}
    for name, ranges in value.items():
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _NAME_LENGTH:
            raise InputError(f"frames of '{shown(str(name))}': expected the name of a structure")
        if not isinstance(ranges, Sequence) or not all(map(_is_range, ranges)):
            raise InputError(f"frames of '{name}' are {shown(str(ranges))}: {_FORM}")
        if count is not None and (last := max((end for _, end in ranges), default=0)) > count:
            raise InputError(f"frames of '{name}' end at {last}, the image has {count}")
        if ranges:
            found[name.strip()] = _joined(ranges)
    return found


def leave_unoutlined(
    label: np.ndarray, values: Mapping[str, Collection[int]], ranges: Ranges
) -> np.ndarray:
    """Return a label that ignores background where a structure is said to be and not outlined.

    Args:
        label: `(frames, rows, columns)` integers, 0 is background; it is left as it is.
        values: that each structure has in the label, by its name.
        ranges: as `read_frame_ranges` returns them.
    """
    marked = label.astype(np.int32)
    for name, own in ranges.items():
        for first, last in own:
            for number in range(first - 1, last):
                frame = label[number]
                if not np.isin(frame, list(values.get(name, ()))).any():
                    marked[number][frame == 0] = IGNORE
    return marked


def _is_range(value: Any) -> bool:
    whole = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    return whole and all(type(end) is int for end in value) and 1 <= value[0] <= value[1] <= 2**31


def _joined(ranges: Sequence[Sequence[int]]) -> list[list[int]]:
    joined: list[list[int]] = []
    for first, last in sorted(map(tuple, ranges)):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return joined
