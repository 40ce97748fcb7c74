"""Anatomy of the 2D ultrasound phantoms.

Lengths are shares of the depth of the image.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from lib.phantoms.ultrasound.canvas import (
    BONE,
    FLUID,
    SOFT,
    Canvas,
    inside,
    lines,
)
from lib.phantoms.ultrasound.formation import Tissue
from lib.segmentation.instances import largest


class Frame(Canvas):
    """A 2D canvas; `down` and `right` are the positions of its pixels."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        super().__init__(rng, size, (size[0], size[0]))
        self.down, self.right = np.mgrid[: size[0], : size[1]].astype(np.float32) / np.float32(
            size[0]
        )
        self.width = float(self.right.max())

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], angle: float
    ) -> np.ndarray:
        """Return roughly the distance from an ellipse, negative inside it."""
        tall, wide = map(float, radii)  # numbers of NumPy would widen what is in 32 bit
        y, x = self.down - float(centre[0]), self.right - float(centre[1])
        along = (x * math.cos(angle) + y * math.sin(angle)) / wide
        across = (y * math.cos(angle) - x * math.sin(angle)) / tall
        return (np.hypot(along, across) - 1) * min(tall, wide)


def _muscle(canvas: Frame, share: np.ndarray, slope: float) -> None:
    """Paint muscle: dark, with bright fibres in one direction."""
    rng = canvas.rng
    fibres = lines(canvas.noise(0.006, 0.09, slope=slope), rng.uniform(0.2, 0.35))
    patches = canvas.noise(0.06, 0.12)
    echo = -7 + 3 * patches + rng.uniform(9, 16) * fibres
    canvas.blend(share, echo)
    canvas.mirror += share * fibres**4 * np.float32(rng.uniform(0.5, 2.0))


def _fat(canvas: Frame, share: np.ndarray, slope: float) -> None:
    """Paint fat: dark lobules between bright septa."""
    septa = lines(canvas.noise(0.02, 0.07, slope=slope), 0.18)
    canvas.blend(share, -9 + 2 * canvas.noise(0.05, 0.08) + 14 * septa, SOFT * 0.9)
    canvas.mirror += share * septa**3 * np.float32(2.0)


def _fascia(canvas: Frame, distance: np.ndarray, strength: float) -> None:
    """Paint a bright sheet where `distance` is 0; it has gaps: it shows only across the beam."""
    sheet = np.exp(-((distance / np.float32(0.006)) ** 2))
    broken = np.clip(0.7 + 0.5 * canvas.noise(0.1, 0.06), 0, 1.5)
    canvas.echo += sheet * broken * np.float32(strength)
    canvas.mirror += np.exp(-((distance / np.float32(0.003)) ** 2)) * broken * np.float32(1.5)


def _skin(canvas: Frame) -> None:
    thickness = canvas.rng.uniform(0.02, 0.045)
    canvas.blend(inside(canvas.down - thickness, 0.004), 8.0 + 3 * canvas.noise(0.004, 0.05))


def _vessel(canvas: Frame, radius: float) -> None:
    """Paint a look-alike: round, without echo, bright above, below and behind."""
    rng = canvas.rng
    centre = rng.uniform(0.2, 0.75), rng.uniform(0.05, canvas.width - 0.05)
    radii = radius * rng.uniform(0.6, 1.0), radius
    distance = canvas.ellipse(centre, radii, rng.uniform(-0.4, 0.4))
    distance += 0.08 * radius * canvas.noise(0.03, 0.03)
    canvas.blend(inside(distance, 0.004), rng.uniform(-24, -14), FLUID)
    wall = np.exp(-((distance / np.float32(0.006)) ** 2))
    facing = np.clip(np.abs(canvas.down - centre[0]) / radii[0], 0, 1) ** 2
    canvas.echo += wall * facing * 8
    canvas.mirror += wall * facing


def _bone(canvas: Frame) -> None:
    """Paint the surface of a rib or process: bright, round, with shadow behind."""
    rng = canvas.rng
    centre, half = rng.uniform(0, canvas.width), rng.uniform(0.1, 0.22)
    top = rng.uniform(0.62, 0.85) + rng.uniform(0.5, 1.5) * (canvas.right - centre) ** 2
    top += 0.008 * canvas.noise(0.5, 0.03)
    within = inside(np.abs(canvas.right - centre) - half, 0.02)
    canvas.echo += within * np.exp(-(((canvas.down - top) / 0.012) ** 2)) * 16
    canvas.mirror += within * np.exp(-(((canvas.down - top) / 0.004) ** 2)) * 4
    deep = within * inside(top - canvas.down, 0.004)
    canvas.blend(deep, -15.0, None)
    canvas.loss += deep * np.float32(BONE / 8)


def _contact(canvas: Frame) -> None:
    """Paint poor contact of the probe at one side: a dark strip from the skin down."""
    rng = canvas.rng
    if rng.random() < 0.35:
        edge, deep = rng.uniform(0.0, 0.15), canvas.size[0] // 30
        away = canvas.right if rng.random() < 0.5 else canvas.width - canvas.right
        loss = np.float32(rng.uniform(3, 14) / (deep * 40 / canvas.size[0]))
        canvas.loss[:deep] += inside(away - edge, 0.04)[:deep] * loss


def nerve_tissue(rng: np.random.Generator, size: tuple[int, int], present: bool) -> Tissue:
    """Return skin, fat and two muscles with vessels and bone, and a nerve where `present`."""
    canvas = Frame(rng, size)
    down, right = canvas.down, canvas.right
    slope = rng.uniform(-0.25, 0.25)
    bent = down - slope * 0.3 * (right - right.mean()) + 0.02 * canvas.noise(0.3, 0.25)
    floor_fat, floor_muscle = rng.uniform(0.1, 0.22), rng.uniform(0.42, 0.68)
    _muscle(canvas, inside(bent - floor_muscle, 0.01), slope)
    _muscle(canvas, inside(floor_muscle - bent, 0.01), rng.uniform(-0.4, 0.4))
    _fat(canvas, inside(bent - floor_fat, 0.008), slope)
    for depth in (floor_fat, floor_muscle):
        _fascia(canvas, bent - depth, rng.uniform(6, 13))
    _skin(canvas)
    if rng.random() < 0.5:
        _bone(canvas)
    for _ in range(rng.integers(0, 3)):
        _bundle(canvas, epineurium=False)
    if rng.random() < 0.4:
        _bright_patch(canvas)
    for _ in range(rng.integers(0, 3)):
        _vessel(canvas, rng.uniform(0.03, 0.09))
    if present:
        canvas.label[_bundle(canvas, epineurium=True)] = 1
    _contact(canvas)
    return canvas.done()


def _bundle(canvas: Frame, epineurium: bool) -> np.ndarray:
    """Paint a nerve, or a few dark rounds that look alike without `epineurium`; return its mask."""
    rng = canvas.rng
    short = rng.uniform(0.08, 0.14)
    long = short * rng.uniform(1.1, 1.8)
    margin = canvas.width * 0.5 - long - 0.02
    centre = rng.uniform(0.32, 0.68), canvas.width / 2 + rng.uniform(-1, 1) * margin
    angle = rng.uniform(-0.5, 0.5)
    distance = canvas.ellipse(centre, (short, long), angle)
    distance += 0.12 * short * canvas.noise(0.06, 0.06)
    if epineurium:
        patchy = 1 + 0.35 * canvas.noise(0.04, 0.06)
        share = inside(distance, short * rng.uniform(0.06, 0.14))
        canvas.blend(share, rng.uniform(1.5, 5.5) + 2 * patchy, SOFT)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed: list[tuple[float, float, float]] = []
    count = rng.integers(4, 11) if epineurium else rng.integers(2, 5)
    for _ in range(60):
        if len(placed) >= count:
            break
        radius = short * rng.uniform(0.2, 0.42)
        reach, direction = np.sqrt(rng.random()) * (1 - radius / short), rng.uniform(0, 2 * np.pi)
        x, y = reach * long * np.cos(direction), reach * short * np.sin(direction)
        if all(np.hypot(x - a, y - b) > radius + c + 0.006 for a, b, c in placed):
            placed.append((x, y, radius))
    depth = rng.uniform(-14, -8)
    wobble = canvas.noise(0.02, 0.02)
    for x, y, radius in placed:
        offset = turn.T @ (x, y)
        middle = centre[0] + offset[1], centre[1] + offset[0]
        radii = radius * rng.uniform(0.75, 1.0), radius
        fascicle = canvas.ellipse(middle, radii, rng.uniform(0, np.pi))
        fascicle += 0.1 * radius * wobble
        canvas.blend(inside(fascicle, radius * 0.12), depth + rng.normal(0, 1.5))
    return distance < 0


def _bright_patch(canvas: Frame) -> None:
    """Paint a look-alike: fat between muscles, as bright as epineurium, without fascicles."""
    rng = canvas.rng
    radius = rng.uniform(0.06, 0.12)
    centre = rng.uniform(0.25, 0.75), rng.uniform(0, canvas.width)
    distance = canvas.ellipse(centre, (radius * rng.uniform(0.5, 1), radius), 0.0)
    distance += 0.25 * radius * canvas.noise(0.05, 0.07)
    canvas.blend(inside(distance, 0.15 * radius), rng.uniform(2, 7) + 2 * canvas.noise(0.03, 0.05))


def breast_tissue(rng: np.random.Generator, size: tuple[int, int], present: bool) -> Tissue:
    """Return fat, glandular tissue and pectoral muscle, and a lesion where `present`."""
    canvas = Frame(rng, size)
    down, right = canvas.down, canvas.right
    slope = rng.uniform(-0.15, 0.15)
    bent = down + slope * 0.3 * (right - right.mean())
    floor_fat, floor_gland = rng.uniform(0.12, 0.32), rng.uniform(0.55, 0.8)
    top = bent - floor_fat + 0.025 * canvas.noise(0.15, 0.12)
    bottom = bent - floor_gland + 0.03 * canvas.noise(0.2, 0.2)
    fibrous = lines(canvas.noise(0.012, 0.06, slope=rng.uniform(-0.3, 0.3)), 0.5)
    canvas.blend(1.0, -1 + 3 * canvas.noise(0.06, 0.1) + rng.uniform(3, 9) * fibrous)
    canvas.mirror += fibrous**6 * np.float32(rng.uniform(0, 0.8))
    for _ in range(rng.integers(1, 6)):
        _lobule(canvas, floor_fat, floor_gland)
    _muscle(canvas, inside(-bottom, 0.008), slope)
    _fascia(canvas, bottom, rng.uniform(5, 12))
    _fat(canvas, inside(top, 0.008), -slope)
    _fascia(canvas, top, rng.uniform(2, 7))
    _skin(canvas)
    if rng.random() < 0.25:
        _bone(canvas)
    if rng.random() < 0.4:  # shadow behind fibrous strands, without a lesion
        _shadow(canvas, (rng.uniform(0.2, 0.5), rng.uniform(0, right.max())), 0.05)
    if present:
        _lesion(canvas, rng.random() < 0.5)
    _contact(canvas)
    return canvas.done()


def _lobule(canvas: Frame, shallow: float, deep: float) -> None:
    """Paint a look-alike: an oval lobule of fat in the gland, with a thin bright rim all round."""
    rng = canvas.rng
    radius = rng.uniform(0.03, 0.09)
    centre = rng.uniform(shallow, deep), rng.uniform(0, canvas.width)
    radii = radius * rng.uniform(0.35, 0.6), radius
    distance = canvas.ellipse(centre, radii, rng.uniform(-0.3, 0.3))
    distance += 0.15 * radius * canvas.noise(0.04, 0.05)
    canvas.blend(inside(distance, 0.008), rng.uniform(-15, -7) + 2 * canvas.noise(0.02, 0.04))
    canvas.echo += np.exp(-((distance / np.float32(0.008)) ** 2)) * np.float32(rng.uniform(0, 6))


def _shadow(canvas: Frame, at: tuple[float, float], half: float) -> None:
    """Raise the attenuation in a thin layer at `at` (down, right): all behind it gets dark."""
    row = int(at[0] * canvas.size[0])
    deep = max(2, canvas.size[0] // 40)
    loss = canvas.rng.uniform(4, 14) / (deep * 40 / canvas.size[0])
    layer = inside(np.abs(canvas.right[row : row + deep] - at[1]) - half, 0.25 * half)
    canvas.loss[row : row + deep] += layer * np.float32(loss)


def _lesion(canvas: Frame, malignant: bool) -> None:
    rng = canvas.rng
    radius = rng.uniform(0.06, 0.17)
    aspect = rng.uniform(0.8, 1.3) if malignant else rng.uniform(0.45, 0.8)
    margin = max(canvas.width * 0.5 - radius - 0.03, 0.0)
    centre = rng.uniform(0.28, 0.58), canvas.width / 2 + rng.uniform(-1, 1) * margin
    distance = canvas.ellipse(centre, (radius * aspect, radius), rng.uniform(-0.4, 0.4))
    if malignant:
        distance += radius * (0.2 * canvas.noise(0.06, 0.06) + 0.1 * canvas.noise(0.02, 0.02))
    else:
        distance += radius * 0.1 * canvas.noise(0.1, 0.1)
    loss = SOFT + rng.uniform(0.3, 1.6) if malignant else rng.uniform(0.1, 0.6)
    echo = rng.uniform(-22, -9) + rng.uniform(0.5, 2.5) * canvas.noise(0.03, 0.04)
    softness = rng.uniform(0.012, 0.03) if malignant else rng.uniform(0.005, 0.012)
    if malignant:  # a bright halo, and spots of calcium
        canvas.echo += np.exp(-(((distance - 0.03) / 0.03) ** 2)) * np.float32(rng.uniform(0, 4))
    canvas.blend(inside(distance, softness), echo, loss)
    if malignant:
        spots = canvas.noise(0.004, 0.004) > 3.0
        canvas.echo += spots * (distance < -0.01) * np.float32(14)
    else:
        rim = np.exp(-((distance / np.float32(0.006)) ** 2))
        facing = np.clip(np.abs(canvas.down - centre[0]) / (radius * aspect), 0, 1) ** 2
        canvas.mirror += rim * facing * np.float32(rng.uniform(0, 1.2))
        for side in (-1, 1) if rng.random() < 0.5 else ():  # refraction at the edges
            _shadow(canvas, (centre[0], centre[1] + side * radius), 0.012)
    solid = ndimage.binary_fill_holes(ndimage.binary_opening(distance < 0, iterations=2))
    canvas.label[largest(solid, corners=False)] = 1
