"""Label images and volumes, read for training and review."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.io.layers import read_label_file

_AXES = ("slices", "rows", "columns")


def read_label(path: str | os.PathLike[str], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a label as int32 `(rows, columns)` or `(slices, rows, columns)`, 0 is background.

    Args:
        shape: of its image, without colour; the label must have it. None accepts any 2D size.

    Raises:
        InputError: of another size, or what `lib.io.layers.read_label_file` refuses.
    """
    path = Path(path)
    pixels = read_label_file(path, 3 if shape is not None and len(shape) == 3 else 2).pixels
    if shape is not None and pixels.shape != shape:
        sides = [f"{n} {axis}" for n, axis in zip(pixels.shape, _AXES[-len(shape) :], strict=True)]
        raise InputError(
            f"{path.name}: label has {_listed(sides)}, its image has {_listed(shape)}; label the "
            f"image at its own size"
        )
    return pixels


def _listed(items: Sequence[object]) -> str:
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}"
