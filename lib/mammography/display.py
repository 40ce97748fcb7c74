"""The grey that a viewer shows for each stored value of a mammogram, as one table (PS3.3 C.11)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.errors import InputError

STEPS = 65535  # largest output; 16 bits hold the range of a detector
_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"  # Digital Mammography X-Ray, For Processing


def display_table(name: str, data: Any, stored: np.ndarray) -> tuple[np.ndarray, int, list[str]]:
    """Return the table of displayed greys, the stored value of its first entry, and notes.

    Args:
        name: of the file, for errors.
        data: the pydicom dataset; its VOILUTFunction is filled in if it is empty.
        stored: the stored values `(rows, columns)`.

    Returns:
        uint16 `(stored values)`, 0 (black) to `STEPS` (white); the least stored value; notes, one
        sentence each.

    Raises:
        InputError: an unsupported number of bits.
    """
    bits = int(data.BitsStored)
    signed = int(data.get("PixelRepresentation", 0) or 0)
    if not 6 <= bits <= 16:
        raise InputError(f"{name}: {bits} bits stored, expected 8 to 16; export it again")
    first = -(2 ** (bits - 1)) if signed else 0
    values = np.arange(first, first + 2**bits, dtype=np.int32)
    notes: list[str] = []
    intent = str(data.get("PresentationIntentType") or "").upper()
    if intent == "FOR PROCESSING" or str(data.get("SOPClassUID", "")) == _FOR_PROCESSING:
        shown, note = _logarithm(data, values, stored)
        notes.append(note)
    else:
        try:
            shown = _displayed(data, values)
        except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            notes.append(f"its window cannot be applied ({error}); the whole range is taken")
            shown = (values - first) / (2**bits - 1)
        if data.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
    table = np.rint(np.clip(shown, 0, 1) * STEPS).astype(np.uint16)
    return table, first, notes


def _displayed(data: Any, values: np.ndarray) -> np.ndarray:
    """Return the displayed grey of stored `values`, 0..1, before MONOCHROME1 is inverted."""
    if data.get("ModalityLUTSequence"):
        values, depth = _looked_up(data.ModalityLUTSequence[0], values)
        low, high = 0.0, float(2**depth - 1)
    else:
        slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
        if slope is not None and intercept is not None and (slope != 1 or intercept != 0):
            values = values * float(slope) + float(intercept)
        low, high = float(values[0]), float(values[-1])
    if data.get("VOILUTSequence"):
        values, depth = _looked_up(data.VOILUTSequence[0], np.rint(values).astype(np.int64))
        return values / (2**depth - 1)
    if data.get("WindowCenter") is not None and data.get("WindowWidth") is not None:
        if not data.get("VOILUTFunction", "LINEAR"):
            data.VOILUTFunction = "LINEAR"
        from pydicom.pixels import apply_windowing

        # of a falling rescale it returns what rises again, from `low` to `high`
        return (apply_windowing(values, data) - low) / (high - low)
    return (values - min(low, high)) / abs(high - low)


def _looked_up(item: Any, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return `values` looked up in a LUT item (PS3.3 C.11.1, C.11.2), and the bits of its entries.

    pydicom 3.0 lets indices of tables with 8-bit entries wrap around, so the look-up is done here.
    """
    count, start, depth = (int(v) for v in item.LUTDescriptor)
    content = item.LUTData
    table = np.frombuffer(content, "<u2") if isinstance(content, bytes) else np.array(content)
    table = table[: count or 2**16].astype(np.int64)
    start = start - 2**16 if start >= 2**15 and values[0] < 0 else start  # read as unsigned
    # many files declare 16 bits for entries of fewer
    bits = min(depth, max(8, int(table.max()).bit_length()))
    return table[np.clip(values - start, 0, len(table) - 1)], bits


def _logarithm(data: Any, values: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the attenuation of raw `values`, scaled to 0 (air) .. 1, and a note on the conversion.

    Raw values are proportional to the detector's exposure (PixelIntensityRelationship LIN) or to
    its logarithm (LOG). With PixelIntensityRelationshipSign 1 larger values mean more exposure
    (PS3.3 C.8.11.3.1.2). By Beer's law, thickness times attenuation of the tissue above a pixel is
    -log(exposure / exposure in air).
    """
    relation = str(data.get("PixelIntensityRelationship") or "LIN").upper()
    sign = data.get("PixelIntensityRelationshipSign")
    if sign not in (1, -1):  # MONOCHROME1 shows the least value as white: the least exposure
        sign = 1 if data.PhotometricInterpretation == "MONOCHROME1" else -1
        counts = np.bincount((stored[::8, ::8].ravel() - int(values[0])).astype(np.int64))
        if sign == -1 and len(counts) and np.argmax(counts) > 0.5 * len(counts):
            sign = 1  # most pixels are background, which is air: large values are exposure
    exposure = (values - values[0]) if sign == 1 else (values[-1] - values)
    if relation == "LOG":
        attenuation = -exposure.astype(np.float64)
    else:
        attenuation = -np.log(exposure + 1.0)
    index = np.clip(stored[::4, ::4].ravel().astype(np.int64) - int(values[0]), 0, len(values) - 1)
    low, high = np.percentile(attenuation[index], (0.1, 99.9))
    how = "already logarithmic" if relation == "LOG" else "its logarithm is taken"
    return (attenuation - low) / max(high - low, 1e-9), f"an image For Processing, {how}"
