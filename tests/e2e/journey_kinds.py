"""The kinds of studies of the journeys, a row each, and their seeded samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from lib.data.studies import in_validation
from lib.mammography.views import STANDARD_VIEWS
from lib.tasks.registry import get_task

FLAT, DEEP, EXAM = (
    (64, 96),
    (12, 32, 48),
    (96, 72),
)  # no two sides alike, so that no transposed label fits
DARK, BRIGHT, NOISE = 30, 190, 8.0
GAP, SMALL = 4, 0.15  # pixels between spots; radius of a small one, of the shorter side
SAMPLES = 7  # of each kind: the first is labelled in the browser, the last stays unlabelled
# of the exams: of each class two are trained on and one is held out
CLASSES, HELD_OUT = "ADADDAA", (2, 4)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One study's image, and what is true of it.

    Attributes:
        pixels: uint8 `(rows, columns)`, `(rows, columns, 3)` or `(slices, rows, columns)`; empty
            for an exam.
        truth: bool `(slices, rows, columns)`, of a flat image one slice; empty for an exam.
        views: of an exam, uint8 `(rows, columns)` by the name of the view.
        density: class of an exam, A or D; else empty.
    """

    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0))
    truth: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    views: dict[str, np.ndarray] = field(default_factory=dict)
    density: str = ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of study.

    Attributes:
        make: a sample of a seed; the same for the same seed.
        task: row of the task table that is trained, without weights at first.
        quick: parameters of a training that takes seconds, beside `epochs`.
        epochs: that the reader asks for in the panel.
        tool: that the first label is drawn with: `brush`, `lasso`, or `box`, in which region_click
            finds the structure.
    """

    name: str
    make: Callable[[int], Sample]
    task: str
    quick: dict[str, object]
    epochs: int
    tool: str = "lasso"

    @property
    def largest_only(self) -> bool:
        """Whether the task answers the largest structure alone."""
        return get_task(self.task).output.keep == "largest"


def spots(
    seed: int, size: tuple[int, ...], spots: int = 3, larger: float = 1.0, small: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Draw bright balls on dark noise, none at the border and none beside another.

    Tasks of a nerve or gland answer the largest structure alone: their samples have one.

    Args:
        small: whether there is one more, a small one, in the corner that is farthest away.

    Returns:
        Pixels, uint8, and the truth, bool, both of `size`.
    """
    rng = np.random.default_rng((seed, *size))
    truth = np.zeros(size, bool)
    middle: list[float] = []
    for _ in range(spots):
        while True:
            radius = larger * rng.uniform(0.12, 0.2) * min(size[-2:])
            middle = [rng.uniform(r + 1, max(n - r - 1, r + 2)) for r, n in _sides(size, radius)]
            if not (_ball(size, middle, radius, GAP) & truth).any():
                break
        truth |= _ball(size, middle, radius)
    if small:
        radius = SMALL * min(size[-2:])
        corner = [
            r + 2 if place > n / 2 else n - r - 3
            for (r, n), place in zip(_sides(size, radius), middle, strict=True)
        ]
        truth |= _ball(size, corner, radius)
    grey = np.where(truth, BRIGHT, DARK) + rng.normal(0, NOISE, size)
    return np.clip(grey, 0, 255).astype(np.uint8), truth


def _sides(size: tuple[int, ...], radius: float) -> list[tuple[float, int]]:
    """Return radius and length along each axis; along slices a ball goes through most of them."""
    flat = [(radius, side) for side in size[-2:]]
    return [(size[0] / 3, size[0]), *flat] if len(size) == 3 else flat


def _ball(
    size: tuple[int, ...], middle: Sequence[float], radius: float, gap: float = 0
) -> np.ndarray:
    radii = [r + gap for r, _ in _sides(size, radius)]
    away = [
        ((axis - m) / r) ** 2 for axis, m, r in zip(np.indices(size), middle, radii, strict=True)
    ]
    return np.asarray(sum(away) <= 1)


def _flat(seed: int) -> Sample:
    pixels, truth = spots(seed, FLAT)
    return Sample(pixels=pixels, truth=truth[None])


def _lesion(seed: int) -> Sample:
    pixels, truth = spots(seed, FLAT, 1, larger=1.6, small=seed == 0)
    return Sample(pixels=pixels, truth=truth[None])


def _stained(seed: int) -> Sample:
    """Purple nuclei in pink tissue."""
    grey, truth = spots(seed, FLAT)
    share = (grey / 255.0)[..., None]
    pink, purple = np.array([236, 200, 222]), np.array([84, 50, 130])
    return Sample(pixels=(pink + share * (purple - pink)).astype(np.uint8), truth=truth[None])


def _deep(seed: int) -> Sample:
    pixels, truth = spots(seed, DEEP, 1, larger=1.6, small=seed == 0)
    return Sample(pixels=pixels, truth=truth)


def _exam(seed: int) -> Sample:
    """Half ellipses at the chest wall, nearly all of them dense (D) or hardly any (A)."""
    density = CLASSES[seed]
    rng = np.random.default_rng((seed, *EXAM))
    y, x = np.indices(EXAM) / np.reshape(EXAM, (2, 1, 1))
    views = {}
    for view in STANDARD_VIEWS:
        height, width = rng.uniform((0.30, 0.60), (0.38, 0.75))
        away = ((y - 0.5) / height) ** 2 + ((1 - x) / width) ** 2
        grey = np.where(away < (0.85 if density == "D" else 0.08), 210, 90)
        grey = np.where(away < 1, grey + rng.normal(0, 6, EXAM), 0)
        right = np.clip(grey, 0, 255).astype(np.uint8)
        views[view.name] = right if view.laterality == "R" else right[:, ::-1].copy()
    return Sample(views=views, density=density)


def patient(number: int) -> str:
    """Return the patient of an exam, so named that the split holds the exams of `HELD_OUT` out.

    Exams that all have one class on a side of the split would teach nothing, or prove nothing.
    """
    share = get_task(_EXAM_TASK).training.val_split
    names = (f"exam{number}x{again}" for again in count())
    return next(n for n in names if in_validation(n, share) == (number in HELD_OUT))


_EXAM_TASK = "density_a_vs_d"
_FLAT_QUICK = {"train_batch_size": 4, "patch_size": 64, "learning_rate": 0.01}
_DEEP_QUICK = {"train_batch_size": 2, "patch_size": 32, "learning_rate": 0.01}
_EXAM_QUICK = {"input_size": 32, "train_batch_size": 4, "learning_rate": 0.006}
_NUCLEI = Kind(name="picture", make=_flat, task="nuclei_vcr", quick=_FLAT_QUICK, epochs=10)
_LOOP = Kind(name="cine", make=_deep, task="nerve_cine", quick=_DEEP_QUICK, epochs=12)
_EXAM = Kind(name="exam_dicom", make=_exam, task=_EXAM_TASK, quick=_EXAM_QUICK, epochs=20)
_STILL_QUICK = {**_FLAT_QUICK, "train_batch_size": 2}
KINDS = [
    replace(_NUCLEI, tool="brush"),
    replace(_NUCLEI, name="histology", make=_stained),
    Kind(name="still", make=_lesion, task="busi_lesion", quick=_STILL_QUICK, epochs=15, tool="box"),
    _LOOP,
    replace(_LOOP, name="volume_us", task="ultrasound3d_vnet"),
    replace(_LOOP, name="mr", task="volume_vnet"),
    _EXAM,
    replace(_EXAM, name="exam_png"),
]
