"""Anatomy of the 3D ultrasound phantoms: a gland among look-alikes.

Lengths are shares of the volume's shortest side; `axes` are the positions of the voxels along each
axis, from the middle, in shapes that broadcast to the volume.
"""

from __future__ import annotations

import numpy as np

from lib.phantoms.ultrasound.canvas import FLUID, Canvas, inside, lines
from lib.phantoms.ultrasound.formation import Tissue
from lib.segmentation.instances import largest


def gland_tissue(
    rng: np.random.Generator, size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Tissue:
    """Return a gland among muscle bundles of the same grey; half of the time it has a cyst.

    Its radii are 0.24 to 0.36 of the volume's shortest side.
    """
    sides = np.multiply(size, spacing)
    unit = float(sides.min())
    canvas = Canvas(rng, size, [unit / step for step in spacing])
    axes = np.ix_(
        *(
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step / unit)
            for n, step in zip(size, spacing, strict=True)
        )
    )
    coarse = canvas.noise(0.09, 0.09, 0.09)
    fine = canvas.noise(0.03, 0.015, 0.04)
    fibres = lines(canvas.noise(0.05, 0.02, 0.07), 0.3)
    canvas.blend(1.0, 1.3 * coarse + rng.uniform(0, 6) * fibres)
    canvas.mirror += fibres**4 * np.float32(rng.uniform(0, 0.8))
    contrast = -rng.uniform(6, 11) if rng.random() < 0.75 else rng.uniform(5, 8)
    radii = rng.uniform(0.24, 0.36, 3)
    room = np.maximum(sides / unit / 2 - radii - 0.05, 0.0)
    centre = rng.uniform(-1, 1, 3) * np.minimum(room, 0.15)
    gland = _ball(axes, centre, radii) + 0.12 * float(radii.min()) * canvas.noise(0.1, 0.1, 0.1)
    for _ in range(rng.integers(2, 5)):
        _tube(canvas, axes, gland, contrast, fine)
    share = inside(gland, 0.015)
    canvas.blend(share, contrast + 1.5 * fine)
    _capsule(canvas, gland, rng.uniform(4, 9))
    for _ in range(rng.integers(0, 3)):
        _stone(canvas, axes)
    solid = largest(gland < 0, corners=False)
    canvas.label[solid] = 1
    if rng.random() < 0.5:
        small = radii.min() * rng.uniform(0.3, 0.5, 3)
        off = centre + rng.uniform(-0.35, 0.35, 3) * radii
        cyst = _ball(axes, off, small) + 0.01 * fine
        canvas.blend(inside(cyst, 0.008), contrast + rng.uniform(-20, -12), FLUID)
        canvas.label[solid & (cyst < 0)] = 2
    return canvas.done()


def _ball(axes: tuple[np.ndarray, ...], centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the distance from an ellipsoid, about 0 on it, negative inside."""
    squares = [
        ((x - c) / r) ** 2 for x, c, r in zip(axes, centre.tolist(), radii.tolist(), strict=True)
    ]
    return ((np.sqrt(sum(squares)) - 1) * float(radii.min())).astype(np.float32)


def _tube(
    canvas: Canvas,
    axes: tuple[np.ndarray, ...],
    gland: np.ndarray,
    contrast: float,
    fine: np.ndarray,
) -> None:
    """Paint a look-alike: a bundle of the gland's grey and width that runs through all slices."""
    rng = canvas.rng
    reach = axes[1].max(), axes[2].max()
    at, lean = rng.uniform(-0.9, 0.9, 2) * reach, rng.uniform(-0.35, 0.35, 2)
    radii = rng.uniform(0.1, 0.22, 2).tolist()
    down, right = (
        axis - a - b * axes[0]
        for axis, a, b in zip(axes[1:], at.tolist(), lean.tolist(), strict=True)
    )
    y, x = down / radii[0], right / radii[1]
    distance = ((np.sqrt(y * y + x * x) - 1) * min(radii)).astype(np.float32) + 0.015 * fine
    distance = np.maximum(distance, 0.03 - gland)  # beside the gland, not in it
    canvas.blend(inside(distance, 0.015), contrast + rng.normal(0, 1) + 1.5 * fine)
    _capsule(canvas, distance, rng.uniform(0, 6))


def _capsule(canvas: Canvas, distance: np.ndarray, strength: float) -> None:
    """Paint a thin bright sheath; it is visible where it lies across the beam."""
    sheath = np.exp(-((distance / np.float32(0.015)) ** 2))
    slope = np.gradient(distance, axis=1) * canvas.unit[1]
    canvas.echo += sheath * np.clip(slope * slope, 0, 1) * np.float32(strength)


def _stone(canvas: Canvas, axes: tuple[np.ndarray, ...]) -> None:
    """Paint a small bright reflector anywhere, with shadow behind it."""
    rng = canvas.rng
    centre = np.array([rng.uniform(-0.8, 0.8) * float(p.max()) for p in axes])
    share = inside(_ball(axes, centre, rng.uniform(0.02, 0.05, 3)), 0.006)
    canvas.echo += 20 * share
    canvas.loss += share * np.float32(rng.uniform(2, 8))
