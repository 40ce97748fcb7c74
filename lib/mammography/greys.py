"""A mammogram as it is read: grey in which dense tissue is bright, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.image import LUMINANCE
from lib.mammography.views import View, ViewFound

COLOURED = 0.02  # share of coloured pixels from which they are more than marks and letters


@dataclass(frozen=True, kw_only=True)
class Mammogram:
    """One view as read from a file.

    Attributes:
        pixels: float32 `(rows, columns)`, 0..1; dense tissue is bright.
        view: from the tags, or else from the file name.
        modifiers: why the view is not a plain one, see `lib.mammography.views`.
        spacing: millimetres between rows and between columns at the detector; None if not given.
        orientation: PatientOrientation, such as ("P", "F"): the directions of rows, from left to
            right, and of columns, downwards (PS3.3 C.7.6.1.1.1); None if not given.
        path: the file.
        notes: what was odd, and how it was interpreted, one sentence each.
        doubts: why an answer on this image should not be trusted, one sentence each.
    """

    pixels: np.ndarray
    view: View
    modifiers: tuple[str, ...]
    spacing: tuple[float, float] | None
    orientation: tuple[str, str] | None
    path: Path
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def of_picture(
    pixels: np.ndarray, path: Path, named: ViewFound | None = None, colour: bool = False
) -> Mammogram:
    """Return the mammogram that the pixels of a picture show; a negative is inverted.

    Args:
        pixels: of any type, `(rows, columns)`, in colour `(rows, columns, 3)`.
        path: of the picture.
        named: the view that its name tells.
    """
    notes: list[str] = []
    doubts: tuple[str, ...] = ()
    if colour:
        spread = int((pixels.max(-1).astype(np.int32) - pixels.min(-1)).max())
        top = int(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 255
        if spread > 0.15 * top:
            notes.append("coloured pixels are taken as luminance")
            share = float((np.ptp(pixels[::4, ::4], axis=-1) > 0.15 * top).mean())
            if share > COLOURED:
                doubts = (f"{share:.0%} of it is coloured: it may be no mammogram",)
        pixels = pixels @ LUMINANCE / np.float32(top)
    elif pixels.dtype.kind == "b":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype.kind in "iu":
        low, high = int(pixels.min()), int(pixels.max())
        bits = max(8, (high - min(low, 0)).bit_length())  # 12 bits often lie in 16
        pixels = (pixels.astype(np.float32) - min(low, 0)) / np.float32(2**bits - 1)
    else:
        least, most = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - least) / max(most - least, 1e-12)).astype(np.float32)
    if negative(pixels):
        pixels = np.float32(1) - pixels
        notes.append("the background is bright: taken as a negative and inverted")
    return Mammogram(
        pixels=np.ascontiguousarray(pixels, np.float32),
        view=named.view if named else View(),
        modifiers=named.modifiers if named else (),
        spacing=None,
        orientation=None,
        path=path,
        notes=tuple(notes),
        doubts=doubts,
    )


def negative(pixels: np.ndarray) -> bool:
    """Return whether the background of `pixels`, 0..1, is bright, so that most of the rim is."""
    rim = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    low, high = (float(v) for v in np.percentile(pixels[::8, ::8], (0.5, 99.5)))
    span = max(high - low, 1e-6)
    return bool((rim > high - 0.08 * span).mean() > 0.4 and (rim < low + 0.15 * span).mean() < 0.1)
