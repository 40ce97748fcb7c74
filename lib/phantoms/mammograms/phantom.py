"""A mammogram phantom, and the detectors that record it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.mammography.views import View


@dataclass(frozen=True)
class Detector:
    """A detector and what its device writes.

    Attributes:
        rows, columns: of the full image.
        spacing: mm.
        bits: stored, in 16 allocated.
        photometric: MONOCHROME1 or MONOCHROME2.
    """

    name: str
    rows: int
    columns: int
    spacing: float
    bits: int
    photometric: str


DETECTORS = (
    Detector("GIOTTO IMAGE SDL", 3584, 2816, 0.085, 14, "MONOCHROME2"),
    Detector("Selenia Dimensions", 4096, 3328, 0.07, 12, "MONOCHROME2"),
    Detector("Senograph DS", 2294, 1914, 0.1, 12, "MONOCHROME1"),
    Detector("Selenia Dimensions, 16 bit", 4096, 3328, 0.07, 16, "MONOCHROME1"),
)


@dataclass(frozen=True)
class MammogramPhantom:
    """One view.

    Attributes:
        pixels: uint16 `(rows, columns)`, larger is denser, 0 in air, as the image hangs: the chest
            wall of a right breast at the right, of a left one at the left.
        dense: bool, the same shape, the fibroglandular area.
        breast: bool, without the muscle.
        fraction: dense area of that of the breast, 0..1.
    """

    pixels: np.ndarray
    dense: np.ndarray
    breast: np.ndarray
    fraction: float
    view: View
    detector: Detector
    spacing: float
