"""The pelvis as a scanner shows it: T2-weighted MR, or CT.

The magnitude of MR has Rician noise (Gudbjartsson and Patz, Magn. Reson. Med. 34:910, 1995), and
the receiving coil shades it. Noise of CT is correlated by the reconstruction's kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lib.phantoms.pelvis.anatomy import Pelvis, paint_pelvis
from lib.phantoms.pelvis.canvas import Canvas, Modality


@dataclass(frozen=True)
class Scan:
    """A volume of the pelvis.

    Attributes:
        image: `(slices, rows, columns)`, feet first, rows to the back, columns to the left; uint16
            signal of MR, int16 Hounsfield units of CT.
        label: uint8 in the same shape: `GLAND`, `LESION`.
        spacing: in array order, mm.
    """

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]


def pelvis_scan(
    seed: int,
    modality: Modality = "MR",
    size: tuple[int, int, int] = (24, 192, 192),
    spacing: tuple[float, float, float] = (3.0, 1.0, 1.0),
    months: int = 0,
) -> Scan:
    """Return axial slices through prostate and bladder; the same for the same arguments.

    Args:
        size: slices, rows, columns; the prostate is in the middle.
        spacing: in the same order, mm.
        months: since the first examination.
    """
    rng = np.random.default_rng((seed, 83, months, modality == "CT"))
    canvas = Canvas(np.random.default_rng((seed, 84)), size, spacing, modality)
    label = paint_pelvis(canvas, Pelvis.draw(seed, months))
    image = _mr(rng, canvas) if modality == "MR" else _ct(rng, canvas)
    return Scan(image, label, spacing)


def _mr(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """Return the magnitude of the signal in a surface coil's field."""
    blurred = ndimage.gaussian_filter(canvas.image, (0.3, 0.45, 0.45))
    shade = 1 + 0.22 * np.cos(canvas.x / 70) * np.cos(canvas.y / 60) * np.float32(-1)
    shade = shade + np.float32(0.05) * canvas.noise(60.0)
    signal = blurred * shade
    real = signal + 14 * rng.standard_normal(canvas.size, dtype=np.float32)
    imaginary = 14 * rng.standard_normal(canvas.size, dtype=np.float32)
    return np.rint(np.hypot(real, imaginary)).astype(np.uint16)


def _ct(rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
    """Return Hounsfield units, with the table on which the patient lies."""
    top = canvas.y.max() * np.float32(0.86)
    table = np.abs(canvas.y - top + 0.0006 * canvas.x**2) - 2
    share = np.clip(0.5 - table / canvas.spacing[1], 0, 1) * (canvas.image < -900)
    canvas.image += share * (-60 - canvas.image)
    blurred = ndimage.gaussian_filter(canvas.image, (0.3, 0.6, 0.6))
    noise = ndimage.gaussian_filter(
        rng.standard_normal(canvas.size, dtype=np.float32), (0, 0.7, 0.7)
    )
    bright = blurred + noise * (14 / noise.std())
    return np.clip(np.rint(bright), -1024, 3071).astype(np.int16)
