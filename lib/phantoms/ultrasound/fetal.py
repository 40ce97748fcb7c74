"""Anatomy of a fetal head in the uterus; lengths are shares of the depth of the image."""

from __future__ import annotations

import numpy as np

from lib.phantoms.ultrasound.anatomy import Frame
from lib.phantoms.ultrasound.canvas import FLUID, SOFT, inside, lines
from lib.phantoms.ultrasound.formation import Tissue


def fetal_tissue(rng: np.random.Generator, size: tuple[int, int]) -> Tissue:
    """Return abdominal wall, uterus, placenta and amniotic fluid, and a head with its skull.

    The head is cut through the thalami, as it is measured: falx, lateral ventricles and choroid
    plexus. The label is 1 in all of it, skull included.
    """
    canvas = Frame(rng, size)
    middle = float(canvas.right.mean())
    _wall(canvas)
    short = rng.uniform(0.15, 0.2)
    long = short * rng.uniform(1.2, 1.35)
    centre = rng.uniform(0.5, 0.58), middle + rng.uniform(-0.06, 0.06)
    _fluid(canvas, centre, (short, long))
    angle = rng.uniform(-0.5, 0.5)
    head = canvas.ellipse(centre, (short, long), angle) + 0.012 * short * canvas.noise(0.1, 0.1)
    _brain(canvas, head, centre, (short, long), angle)
    _skull(canvas, head, centre)
    canvas.label[head < 0] = 1
    return canvas.done()


def _wall(canvas: Frame) -> None:
    """Paint skin, fat and muscle of the abdomen, and the uterus below them."""
    rng = canvas.rng
    bent = canvas.down + 0.015 * canvas.noise(0.3, 0.3)
    canvas.blend(1.0, 0.0 + 2 * canvas.noise(0.04, 0.08))
    fat, muscle = rng.uniform(0.07, 0.11), rng.uniform(0.14, 0.18)
    septa = lines(canvas.noise(0.015, 0.1), 0.2)
    canvas.blend(inside(bent - muscle, 0.006), -6 + 6 * septa)
    canvas.blend(inside(bent - fat, 0.006), -8 + 10 * septa)
    for depth in (fat, muscle):
        sheet = np.exp(-(((bent - depth) / np.float32(0.006)) ** 2))
        canvas.echo += sheet * np.float32(rng.uniform(6, 10))


def _fluid(canvas: Frame, centre: tuple[float, float], radii: tuple[float, float]) -> None:
    """Paint the amniotic fluid around the head, and the placenta at the front."""
    rng = canvas.rng
    sac = canvas.ellipse(
        (centre[0] + rng.uniform(-0.02, 0.03), centre[1] + rng.uniform(-0.05, 0.05)),
        (radii[0] + rng.uniform(0.08, 0.12), radii[1] + rng.uniform(0.08, 0.16)),
        rng.uniform(-0.2, 0.2),
    )
    sac += 0.02 * canvas.noise(0.15, 0.15)
    side = -1 if rng.random() < 0.5 else 1
    placenta = canvas.ellipse(
        (centre[0] - 0.16, centre[1] + side * 0.28), (0.12, 0.24), side * rng.uniform(0.3, 0.7)
    )
    placenta += 0.015 * canvas.noise(0.05, 0.05)
    canvas.blend(inside(placenta, 0.008), 4 + 1.5 * canvas.noise(0.02, 0.03))
    canvas.blend(inside(sac, 0.006), -34.0, FLUID)
    rim = np.exp(-((sac / np.float32(0.008)) ** 2))
    canvas.echo += rim * np.float32(5)


def _brain(
    canvas: Frame,
    head: np.ndarray,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float,
) -> None:
    """Paint what lies within the skull, along its long axis."""
    rng = canvas.rng
    short, long = radii
    y, x = canvas.down - centre[0], canvas.right - centre[1]
    along = (x * np.cos(angle) + y * np.sin(angle)) / long
    across = (y * np.cos(angle) - x * np.sin(angle)) / short
    gyri = lines(canvas.noise(0.015, 0.02), 0.3) * (np.abs(across) > 0.55)
    canvas.blend(inside(head, 0.004), -15 + 2 * canvas.noise(0.02, 0.03) + 6 * gyri, SOFT * 0.5)
    for side in (-1, 1):  # ventricles with their plexus
        ventricle = np.hypot((along + 0.3) / 0.34, (across - side * 0.3) / 0.14) - 1
        canvas.blend(inside(ventricle * 0.1, 0.006), -26.0)
        plexus = np.hypot((along + 0.34) / 0.22, (across - side * 0.3) / 0.1) - 1
        canvas.blend(inside(plexus * 0.1, 0.008), rng.uniform(0, 3))
        thalamus = np.hypot((along - 0.22) / 0.2, (across - side * 0.14) / 0.13) - 1
        canvas.blend(inside(thalamus * 0.1, 0.012), -19.0)
    septum = (np.abs(along - 0.52) < 0.13) & (np.abs(across) < 0.09)
    falx = np.exp(-((across / np.float32(0.02)) ** 2)) * (np.abs(along) < 0.93) * ~septum
    canvas.echo += falx * (16 + 3 * canvas.noise(0.02, 0.02))
    box = np.exp(-(((np.abs(across) - 0.09) / 0.02) ** 2)) * (np.abs(along - 0.52) < 0.13)
    canvas.echo += box * np.float32(14)


def _skull(canvas: Frame, head: np.ndarray, centre: tuple[float, float]) -> None:
    """Paint the skull: bright where it lies across the beam, with some shadow at its sides."""
    slope = np.abs(np.gradient(head, axis=0)) * canvas.size[0]
    facing = np.clip(slope, 0, 1) ** 1.5
    bone = np.exp(-(((head + 0.008) / np.float32(0.008)) ** 2))
    canvas.echo += bone * (12 + 22 * facing)
    canvas.mirror += np.exp(-(((head + 0.008) / np.float32(0.004)) ** 2)) * facing * np.float32(3)
    canvas.loss += bone * np.float32(1.2)
