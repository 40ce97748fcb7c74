"""Palettes of DICOM images: indexes shown as the colours that their tables give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut

from lib.errors import InputError

PALETTE_TAGS = (  # OHIF looks for tables where it finds the UID of a palette
    "PaletteColorLookupTableUID",
    *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
)


def apply_palette(path: Path, data: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray:
    """Return `(frames, rows, columns, 3)`, uint8, for indexes `(frames, rows, columns)`.

    Raises:
        InputError: a table is missing or too short.
    """
    try:
        first, table = _palette(data)
    except Exception as error:  # pydicom raises many types for a missing or odd table
        raise InputError(
            f"{path.name}: its palette cannot be applied ({error}); export it as RGB"
        ) from None
    colours = np.empty((*pixels.shape, 3), np.uint8)
    for frame, out in zip(pixels, colours, strict=True):
        out[...] = table[np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)]
    return colours


def _palette(data: pydicom.Dataset) -> tuple[int, np.ndarray]:
    """Return the first index that the palette maps, and its colours: `(entries, 3)`, uint8.

    By hand but for segmented palettes: pydicom 3.0 reads 16-bit tables of big-endian files wrongly,
    and those of an odd number of 8-bit entries not at all.
    """
    entries, first, _ = (int(value) for value in data.RedPaletteColorLookupTableDescriptor)
    entries = entries or 1 << 16
    if not 0 < entries <= 1 << 16:
        raise ValueError(f"tables of {entries} entries, expected up to {1 << 16}")
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    if names[0] not in data and f"Segmented{names[0]}" in data:
        table = apply_color_lut(np.arange(first, first + entries), data)[:, :3]
    else:
        order = "<u2" if data.file_meta.TransferSyntaxUID.is_little_endian else ">u2"
        words = [np.frombuffer(data[name].value, order) for name in names]
        if len(words[0]) < entries:  # 8-bit entries: two in each word
            words = [column.astype("<u2").view(np.uint8) for column in words]
        table = np.stack([column[:entries] for column in words], axis=1)
    if len(table) < entries:
        raise ValueError(f"its tables hold {len(table)} of {entries} entries")
    # some tables hold 8-bit values in 16-bit entries
    return first, (table >> 8 if table.max() > 255 else table).astype(np.uint8)
