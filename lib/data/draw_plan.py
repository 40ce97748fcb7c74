"""All that is random in a training patch, drawn from the random generator of its own.

A plan is made on the host by the sizes of a case alone; `lib.data.draw` carries it out on whatever
device holds the case. The numbers are drawn in a fixed order, so that a seed stands for a patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.data.case import HeldCase, Places
from lib.tasks.image_spec import AugmentSpec

BEND, ENDS = 0.5, 0.15  # of the curve of greys at a contrast of 1
BENDS = 4  # points along each axis of the coarse grid of an elastic deformation


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Where the pixels of a result lie in the part of the image that it is cut from.

    Both the result and the part reach from -1 to 1 along each axis, from the middle of the first
    pixel to that of the last.

    Attributes:
        matrix: float32 `(axes, axes + 1)`, from places in the result to places in the part; the
            last column is the place of the middle of the result.
        bend: float32 `(axes, *(4,) * axes)`, displacements at a coarse grid over the result, in the
            units of the part; None for none.
    """

    matrix: np.ndarray
    bend: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Shading:
    """How a result is changed in grey, in this order; None leaves a change out.

    Attributes:
        blur: standard deviation of a Gaussian, pixels.
        gamma: exponents, one for all channels or one for each.
        curve: bend of an S (below 0 its inverse), and the greys that 0 and 1 become.
        noise: float32 `(channels, *sides)`, which is added.
    """

    blur: float | None
    gamma: tuple[float, ...] | None
    curve: tuple[float, float, float] | None
    noise: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class DrawPlan:
    """How one patch, or one whole image, is drawn.

    Attributes:
        frame: which slice of a volume or loop; None where the network has as many axes.
        start, size: of the part that is cut out, pixels along each axis; beyond the borders it is
            mirrored.
        warp: how the part is sampled; None where it is taken as it is, with `flips` and `turns`.
        flips: axes that are mirrored, counted from the first of the image's own.
        turns: quarter turns in the plane of the last two axes, after the flips.
        dilate: whether it is dilated by one pixel.
    """

    frame: int | None
    start: tuple[int, ...]
    size: tuple[int, ...]
    warp: Warp | None
    flips: tuple[int, ...]
    turns: int
    dilate: bool
    shading: Shading


def plan_patch(
    case: HeldCase,
    sides: tuple[int, ...],
    spec: AugmentSpec,
    rng: np.random.Generator,
    foreground_share: float = 0.0,
) -> DrawPlan:
    """Plan a patch of a case whose target is a map.

    If there are fewer `sides` than axes of the image, the patch is drawn in one slice. Of a partly
    labelled image the patch is centred on a labelled pixel.

    Args:
        foreground_share: probability that the patch is centred on a foreground pixel.
    """
    channels, *shape = case.parts[0].shape
    zoom = _zoom(spec, rng)
    spans = [max(min(8, side), round(side / zoom)) for side in sides]
    centre = _chosen(case.foreground, rng) if rng.random() < foreground_share else None
    if centre is None:
        centre = _chosen(case.known, rng)
    frame = None
    if len(shape) > len(sides):
        frame = int(rng.integers(shape[0])) if centre is None else centre[0]
        centre, shape = centre and centre[1:], shape[1:]
    # a rotated or bent patch reaches beyond its own square
    margin = 0
    if spec.rotate > 0 or spec.elastic > 0:
        rotated = math.hypot(*spans[-2:]) - min(spans[-2:]) if spec.rotate > 0 else 0.0
        margin = math.ceil(rotated / 2 + 2 * spec.elastic)
    starts = []
    for axis, (span, length) in enumerate(zip(spans, shape, strict=True)):
        start = int(rng.integers(0, max(1, length - span + 1)))
        if centre is not None:
            start = min(max(0, centre[axis] - span // 2), max(0, length - span))
        starts.append(start - margin)
    size = tuple(span + 2 * margin for span in spans)
    warped = margin > 0 or spans != list(sides)
    turn, bend = _bends(len(sides), spec, rng) if warped else (0.0, None)
    flips: tuple[int, ...] = ()
    if spec.flips:
        allowed = spec.flipped_axes(len(sides))
        flips = tuple(axis for axis in range(len(sides)) if rng.random() < 0.5 and axis in allowed)
    square = spec.rotate90 and sides[-1] == sides[-2]
    turns = int(rng.integers(4)) if square else 0
    dilate = bool(spec.dilate > 0 and rng.random() < spec.dilate)
    return DrawPlan(
        frame=frame,
        start=tuple(starts),
        size=size,
        warp=_warp(sides, spans, size, turn, bend, flips, turns) if warped else None,
        flips=flips,
        turns=turns,
        dilate=dilate,
        shading=_shading((channels, *sides), spec, rng),
    )


def plan_image(case: HeldCase, spec: AugmentSpec, rng: np.random.Generator) -> DrawPlan:
    """Plan a whole mammogram, rotated about its centre and magnified about the chest wall.

    The chest wall is at the right edge, see `lib.mammography.breast`.
    """
    channels, *shape = case.parts[0].shape
    sides, zoom = tuple(shape), _zoom(spec, rng)
    spans = [side / zoom for side in sides]
    warped = spec.rotate > 0 or spec.elastic > 0 or zoom != 1
    turn, bend = _bends(len(sides), spec, rng) if warped else (0.0, None)
    flips = tuple(axis for axis in spec.flipped_axes(2) if rng.random() < 0.5)
    shift = (0.0, (sides[1] - spans[1]) / 2)
    return DrawPlan(
        frame=None,
        start=(0,) * len(sides),
        size=sides,
        warp=_warp(sides, spans, sides, turn, bend, flips, 0, shift) if warped else None,
        flips=flips,
        turns=0,
        dilate=False,
        shading=_shading((channels, *sides), spec, rng),
    )


def _zoom(spec: AugmentSpec, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(spec.zoom[0]), math.log(spec.zoom[1])))


def _chosen(places: Places | None, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Return the position of a random one of `places`; None if there is none."""
    return places[int(rng.integers(len(places)))] if places else None


def _bends(
    axes: int, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[float, np.ndarray | None]:
    """Return the angle in radians, and displacements in pixels at a coarse grid."""
    turn = math.radians(rng.uniform(-spec.rotate, spec.rotate)) if spec.rotate > 0 else 0.0
    if spec.elastic <= 0:
        return turn, None
    coarse = rng.standard_normal((axes, *(BENDS,) * axes), dtype=np.float32)
    return turn, coarse * spec.elastic


def _warp(
    sides: Sequence[int],
    spans: Sequence[float],
    size: Sequence[int],
    turn: float,
    bend: np.ndarray | None,
    flips: tuple[int, ...],
    turns: int,
    shift: Sequence[float] = (),
) -> Warp:
    """Return one map for flips and quarter turns, magnification, rotation and bending.

    Args:
        sides: of the result, pixels.
        spans: how many pixels of the source the result covers along each axis.
        size: of the part that it is sampled from, pixels.
        turn: angle in radians, in the plane of the last two axes.
        bend: displacements in pixels of the result before flips and quarter turns.
        shift: from the part's centre to the result's, pixels along each axis.
    """
    axes = len(sides)
    result = np.diag([(side - 1) / 2 for side in sides])  # to pixels from the middle
    mirror = np.diag([-1.0 if axis in flips else 1.0 for axis in range(axes)])
    scale = np.diag([span / side for span, side in zip(spans, sides, strict=True)])
    quarter, rotation = np.eye(axes), np.eye(axes)
    quarter[-2:, -2:] = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), turns)
    cosine, sine = math.cos(turn), math.sin(turn)
    rotation[-2:, -2:] = [[cosine, -sine], [sine, cosine]]
    part = np.array([2 / max(1, length - 1) for length in size])
    matrix = np.diag(part) @ rotation @ scale @ mirror @ quarter @ result
    if bend is not None:
        bend = np.flip(bend, tuple(axis + 1 for axis in flips))
        bend = np.rot90(bend, turns, (axes - 1, axes))
        bend = bend * part.astype(np.float32).reshape(-1, *(1,) * axes)
    middle = part * (shift or np.zeros(axes))
    return Warp(matrix=np.column_stack((matrix, middle)).astype(np.float32), bend=bend)


def _shading(shape: tuple[int, ...], spec: AugmentSpec, rng: np.random.Generator) -> Shading:
    """Plan the greys of a result of `shape`, `(channels, *sides)`."""
    blur = curve = noise = None
    gamma: tuple[float, ...] | None = None
    if spec.blur > 0:
        blur = rng.uniform(0, spec.blur)
    if spec.gamma > 1:
        gamma = (math.exp(rng.uniform(-math.log(spec.gamma), math.log(spec.gamma))),)
    if spec.stain > 1:
        each = np.exp(rng.uniform(-1, 1, shape[0]) * math.log(spec.stain))
        gamma = tuple(float(one) * (gamma or (1.0,))[0] for one in each)
    if spec.contrast > 0:
        bend, low, high = rng.uniform((-BEND, 0, 0), (BEND, ENDS, ENDS)) * spec.contrast
        curve = (bend, low, 1 - high)
    if spec.noise > 0:
        noise = rng.standard_normal(shape, dtype=np.float32)
        noise *= rng.uniform(0, spec.noise)
    return Shading(blur=blur, gamma=gamma, curve=curve, noise=noise)
