"""A mammogram phantom, and the detectors that record it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib.mammography.views import View


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector and what its device writes.

    Attributes:
        name: model name of the device.
        rows: of the full image.
        columns: of the full image.
        spacing: of its pixels, mm.
        bits: stored per pixel, of 16 allocated.
        photometric: MONOCHROME1 or MONOCHROME2.
    """

    name: str
    rows: int
    columns: int
    spacing: float
    bits: int
    photometric: str = "MONOCHROME2"


_SELENIA = Detector(name="Selenia Dimensions", rows=4096, columns=3328, spacing=0.07, bits=12)
_SENOGRAPH = Detector(name="Senograph DS", rows=2294, columns=1914, spacing=0.1, bits=12)
DETECTORS = (
    Detector(name="GIOTTO IMAGE SDL", rows=3584, columns=2816, spacing=0.085, bits=14),
    _SELENIA,
    replace(_SENOGRAPH, photometric="MONOCHROME1"),
    replace(_SELENIA, name="Selenia Dimensions, 16 bit", bits=16, photometric="MONOCHROME1"),
)


@dataclass(frozen=True, kw_only=True)
class MammogramPhantom:
    """One view of an exam.

    Attributes:
        pixels: uint16 `(rows, columns)`, larger is denser, 0 in air, as the image hangs: the chest
            wall of a right breast at the right, of a left one at the left.
        dense: bool, the same shape, the fibroglandular area.
        breast: bool, the same shape, the breast without the muscle.
        fraction: dense area over the area of the breast, 0..1.
        spacing: of the pixels, mm.
    """

    pixels: np.ndarray
    dense: np.ndarray
    breast: np.ndarray
    fraction: float
    view: View
    detector: Detector
    spacing: float
