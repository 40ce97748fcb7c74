"""Stored values of DICOM images as they are shown: larger is brighter, padding is background.

Windows are left out: networks set their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from lib.dicom.geometry import frame_numbers
from lib.dicom.header import bits_stored, is_signed, photometric, tag_value
from lib.dicom.pixels import decode_frames

_RESCALE = "PixelValueTransformationSequence"


def displayed_frames(
    path: Path, data: pydicom.Dataset, indices: Sequence[int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return frames in which larger is brighter, and notes on how they were read.

    The values are those stored, inverted for MONOCHROME1 and, since larger values mean less after
    it, for a negative RescaleSlope. They are rescaled only where frames differ in their factors.

    Args:
        indices: of the frames to take, in order.

    Returns:
        Grey `(frames, rows, columns)` or colour `(frames, rows, columns, 3)`.

    Raises:
        InputError: the frames cannot be decoded.
    """
    frames = decode_frames(path, data)
    values, padding, notes = frames.values, frames.padding, frames.notes
    if list(indices) != list(range(len(values))):
        values = values[list(indices)]
        padding = None if padding is None else padding[list(indices)]
    if values.ndim == 4:
        return values, notes
    factors = [rescale_factors(data, index) for index in indices]
    if len(set(factors)) > 1:
        shape = len(values), 1, 1
        slopes, intercepts = np.array(factors, np.float32).T.reshape(2, *shape)
        values = values * slopes + intercepts
        notes += ("frames with rescale factors of their own; their values are the rescaled ones",)
        falling = False
    else:
        falling = factors[0][0] < 0 or _falls(data)
    if falling != (photometric(data) == "MONOCHROME1"):
        values = inverted(data, values)
    return without_padding(values, padding, notes)


def rescale_factors(data: pydicom.Dataset, index: int = 0) -> tuple[float, float]:
    """Return slope and intercept of a frame; 1 and 0 where the file gives none."""
    slope = frame_numbers(data, index, _RESCALE, "RescaleSlope", 1) or (1.0,)
    intercept = frame_numbers(data, index, _RESCALE, "RescaleIntercept", 1) or (0.0,)
    return slope[0] or 1.0, intercept[0]


def inverted(data: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    """Return grey values with bright and dark exchanged, within the range of the stored bits."""
    if values.dtype.kind == "f":
        return -values
    return ~values if is_signed(data) else (2 ** bits_stored(data) - 1) - values


def without_padding(
    values: np.ndarray, padding: np.ndarray | None, notes: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return `values` with the darkest of the image in place of padding, and the notes on it."""
    if padding is None:
        return values, notes
    values = np.where(padding, values[~padding].min(), values)
    share = f"{padding.mean():.1%} of the pixels are padding (PixelPaddingValue)"
    return values, (*notes, f"{share}; taken as background")


def _falls(data: pydicom.Dataset) -> bool:
    """Tell whether the modality LUT of a file makes larger values smaller."""
    for item in tag_value(data, "ModalityLUTSequence") or []:
        content = tag_value(item, "LUTData")
        table = np.frombuffer(content, "<u2") if isinstance(content, bytes) else np.array(content)
        return table.size > 1 and bool(table.flat[0] > table.flat[-1])
    return False
