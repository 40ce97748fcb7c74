"""Synthetic ultrasound from a seed: frames of nerves, breasts and fetal heads, volumes and loops.

The anatomy has look-alikes (vessels, fat lobules, muscle bundles) with the grey of the structure
but not its shape; `lib.phantoms.ultrasound.formation` makes the image of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from lib.data.studies import FINAL_LABELS
from lib.errors import choose
from lib.io.pictures import save_picture
from lib.io.volumes import save_volume
from lib.phantoms.ultrasound.anatomy import breast_tissue, nerve_tissue
from lib.phantoms.ultrasound.fetal import fetal_tissue
from lib.phantoms.ultrasound.formation import (
    Scanner,
    Tissue,
    draw_scanner,
    form_image,
    scatterers,
)
from lib.phantoms.ultrasound.gland import gland_tissue
from lib.phantoms.ultrasound.look import USUAL, Look, draw_poor_look, form_look
from lib.phantoms.ultrasound.sector import Sector

DEPTH = 40.0  # mm, of the 2D frames


@dataclass(frozen=True)
class Phantom:
    """An image and its true label.

    Attributes:
        image: uint8 `(rows, columns)`, `(slices, rows, columns)` or `(frames, rows, columns)`;
            rows are depth.
        label: uint8 in the same shape, 0 background, 1 the structure, 2 a cyst inside a gland.
        spacing: in array order, mm; 1 along the frames of a loop.
    """

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, ...]


def nerve_frame(
    seed: int,
    size: tuple[int, int] = (420, 580),
    present: bool = True,
    scanner: Scanner | None = None,
) -> Phantom:
    """Return a cross-section of a nerve in muscle; the nerve is missing if not `present`.

    The nerve is a bundle of hypo-echoic fascicles in a hyper-echoic epineurium. The image is 40 mm
    deep. `scanner` None draws a machine.
    """
    rng = np.random.default_rng((seed, 1, *size, present))
    return _frame(rng, nerve_tissue(rng, size, present), size, scanner)


def breast_frame(
    seed: int,
    size: tuple[int, int] = (256, 256),
    present: bool = True,
    scanner: Scanner | None = None,
) -> Phantom:
    """Return breast tissue with a lesion; the lesion is missing if not `present`.

    Half of the lesions are smooth ovals with enhancement behind them, half are irregular with
    shadow. The image is 40 mm deep. `scanner` None draws a machine.
    """
    rng = np.random.default_rng((seed, 2, *size, present))
    return _frame(rng, breast_tissue(rng, size, present), size, scanner)


def fetal_frame(
    seed: int, size: tuple[int, int] = (400, 540), scanner: Scanner | None = None
) -> Phantom:
    """Return a fetal head in the uterus as the fan of a curved array; the label is the whole head.

    The image is 120 mm deep. Lower frequencies reach farther and are blurred as much more, so the
    image is formed as one of a third of the depth at three times the frequency.
    """
    rng = np.random.default_rng((seed, 5, *size))
    tissue, drawn = fetal_tissue(rng, size), draw_scanner(rng)
    near = _spacing(size)
    fan = Look(sector=Sector(radius=18.0, half_angle=rng.uniform(33, 39)))
    image, label = form_look(rng, tissue, near, scanner or drawn, fan)
    return Phantom(image, label, (3 * near[0], 3 * near[1]))


def gland_volume(
    seed: int,
    size: tuple[int, int, int] = (64, 96, 96),
    spacing: tuple[float, float, float] = (1.0, 0.6, 0.6),
    look: Look = USUAL,
) -> Phantom:
    """Return a volume with one gland (1), half of the time with a cyst in it (2).

    Muscle bundles of the gland's grey run through all slices: in one slice they look like the
    gland, in the volume they do not.

    Args:
        size: slices, rows (depth), columns.
        spacing: in the same order, mm.
        look: of volumes of another kind: blurred, of low contrast, with drop-outs, a fan.
    """
    rng = np.random.default_rng((seed, 3, *size))
    tissue = gland_tissue(rng, size, spacing)
    image, label = form_look(rng, tissue, spacing, draw_scanner(rng).coarser(2.5), look)
    return Phantom(image, label, spacing)


def poor_volume(
    seed: int,
    size: tuple[int, int, int] = (50, 60, 45),
    spacing: tuple[float, float, float] = (0.8, 0.8, 0.8),
) -> Phantom:
    """Return a `gland_volume` that is small and of a look of its own, see `draw_poor_look`."""
    look = draw_poor_look(np.random.default_rng((seed, 6)))
    return gland_volume(seed + 900_001, size, spacing, look)


def cine(
    seed: int,
    frames: int = 24,
    size: tuple[int, int] = (256, 256),
    kind: Literal["nerve", "breast"] = "nerve",
    present: bool = True,
    scanner: Scanner | None = None,
) -> Phantom:
    """Return a loop of one anatomy that moves as with breathing and an unsteady hand.

    Scatterers move with the tissue and are slowly replaced, since the plane drifts: neighbouring
    frames share most of their speckle, distant ones little.
    """
    draw = choose("kind", kind, {"nerve": nerve_tissue, "breast": breast_tissue})
    rng = np.random.default_rng((seed, 4, frames, *size, present))
    still, drawn, spacing = draw(rng, size, present), draw_scanner(rng), _spacing(size)
    scanner = scanner or drawn
    strength = scatterers(rng, size, scanner.density)
    grid = np.mgrid[: size[0], : size[1]].astype(np.float32)
    push = _push(rng, size)
    phase, kept = rng.uniform(0, 2 * np.pi, 2).tolist(), rng.uniform(0.95, 0.985)
    images, labels = [], []
    for frame in range(frames):
        turn = 2 * np.pi * frame / max(frames, 12)
        positions = (
            grid + push[0] * math.sin(turn + phase[0]) + push[1] * math.sin(2 * turn + phase[1])
        )
        moved = Tissue(
            _moved(still.echo, positions, 1),
            _moved(still.loss, positions, 1),
            _moved(still.mirror, positions, 1),
            _moved(still.label, positions, 0),
        )
        images.append(form_image(rng, moved, spacing, scanner, _moved(strength, positions, 3)))
        labels.append(moved.label)
        fresh = scatterers(rng, size, scanner.density)
        strength = kept * strength + np.float32(np.sqrt(1 - kept**2)) * fresh
    return Phantom(np.stack(images), np.stack(labels), (1.0, *spacing))


def write_ultrasound_studies(
    folder: Path,
    seed: int = 0,
    *,
    nerves: int = 6,
    breasts: int = 6,
    volumes: int = 2,
    loops: int = 1,
    poor_volumes: int = 0,
    labelled: float = 0.5,
    absent: float = 0.3,
) -> list[Path]:
    """Write phantoms into a studies folder, frames as PNG, and return the image files.

    Volumes and loops are NRRD. Files that exist already are left as they are.

    Args:
        labelled: share of the images of each kind that get their label in ``labels/final``, 0..1.
        absent: share of the frames without the structure, 0..1; their labels are empty.
    """
    frame_kinds: dict[str, tuple[int, Callable[..., Phantom]]] = {
        "nerve": (nerves, nerve_frame),
        "breast": (breasts, breast_frame),
    }
    volume_kinds: dict[str, tuple[int, Callable[..., Phantom]]] = {
        "gland": (volumes, gland_volume),
        "cine": (loops, cine),
        "poor": (poor_volumes, poor_volume),
    }
    (folder / FINAL_LABELS).mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, (count, make) in {**frame_kinds, **volume_kinds}.items():
        flat = kind in frame_kinds
        for index in range(count):
            path = folder / f"{kind}_{index:03d}{'.png' if flat else '.nrrd'}"
            paths.append(path)
            if path.exists():
                continue
            number = seed * 100_003 + index
            # spread evenly: there are such frames among the labelled ones and among the others
            present = int((index + 1) * absent + 0.5) == int(index * absent + 0.5)
            phantom = make(number, present=present) if flat else make(number)
            if index < round(labelled * count):
                _write(folder / FINAL_LABELS / path.name, phantom.label, phantom.spacing)
            _write(path, phantom.image, phantom.spacing)
    return paths


def write_nerve_phantoms(
    folder: Path,
    seed: int = 0,
    subjects: int = 4,
    frames: int = 6,
    size: tuple[int, int] = (420, 580),
    contradictions: int = 1,
) -> int:
    """Write phantoms in the layout of Kaggle's nerve set, and return how many images these are.

    About half of a subject's frames are of a loop with a nerve, the others of one without; their
    masks are empty.

    Args:
        frames: how many each subject has.
        contradictions: how many subjects get one more frame: nearly a copy of a frame with a nerve,
            but with an empty mask.
    """
    train = folder / "train"
    train.mkdir(parents=True, exist_ok=True)
    written = 0
    for subject in range(1, subjects + 1):
        number = seed * 100_003 + subject
        with_nerve = (frames + subject % 2) // 2
        twice = subject <= contradictions and with_nerve > 0
        loops = (
            (cine(number, 3 * with_nerve + 1, size, present=True), with_nerve),
            (cine(number, 3 * (frames - with_nerve) + 1, size, present=False), frames - with_nerve),
        )
        moments = [
            (loop.image[3 * k], loop.label[3 * k]) for loop, count in loops for k in range(count)
        ]
        if twice:
            first, label = moments[0]
            moments.append(((np.roll(first, 1, axis=1) * 0.93).astype(np.uint8), label * 0))
        for index, (image, label) in enumerate(moments, start=1):
            save_picture(train / f"{subject}_{index}.tif", image)
            save_picture(train / f"{subject}_{index}_mask.tif", label * np.uint8(255))
        written += len(moments)
    return written


def _write(path: Path, pixels: np.ndarray, spacing: tuple[float, ...]) -> None:
    if pixels.ndim == 3:
        save_volume(path, pixels, spacing)
    else:
        save_picture(path, pixels)


def _frame(
    rng: np.random.Generator, tissue: Tissue, size: tuple[int, int], scanner: Scanner | None
) -> Phantom:
    spacing = _spacing(size)
    drawn = draw_scanner(rng)
    return Phantom(form_image(rng, tissue, spacing, scanner or drawn), tissue.label, spacing)


def _spacing(size: tuple[int, int]) -> tuple[float, float]:
    return DEPTH / size[0], DEPTH / size[0]


def _push(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return two displacement fields in pixels, `(2, 2, rows, columns)`: breathing and tremor."""
    fields = np.empty((2, 2, *size), np.float32)
    for strength, field in zip((0.02, 0.006), fields, strict=True):
        for axis in range(2):
            coarse = rng.normal(0.0, 0.6, (4, 4)) + rng.normal()
            zoom = [side / 4 for side in size]
            field[axis] = ndimage.zoom(coarse, zoom, order=3, mode="nearest", grid_mode=True)
        field *= strength * size[0]
    return fields


def _moved(tissue: np.ndarray, positions: np.ndarray, order: int) -> np.ndarray:
    """Return one map of a tissue, sampled at `positions`, `(2, rows, columns)`."""
    return ndimage.map_coordinates(tissue, positions, order=order, mode="mirror")
