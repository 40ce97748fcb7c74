"""Synthetic mammography exams from a seed: four views as DICOM, of a known density class.

The class follows from the share of the breast's area that is fibroglandular, in the quarters of the
4th edition of BI-RADS (less than 25 %, to 50 %, to 75 %, more). One exam in seven lies within two
percent of a border. Devices differ in detector, bits and photometric interpretation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from lib.data.studies import FINAL_LABELS
from lib.mammography.density_labels import BIRADS, write_density
from lib.mammography.views import STANDARD_VIEWS, View
from lib.phantoms.mammograms.dicom import (
    DETECTORS,
    Detector,
    MammogramPhantom,
    write_mammogram,
)
from lib.phantoms.mammograms.formation import GRID, Anatomy, form_view

BORDERS = (0.03, 0.25, 0.5, 0.75, 0.9)  # of the dense share of the area: A, B, C, D lie between
MARGIN = 0.04  # smallest distance of most exams from the borders between classes
NEAR = 0.02  # largest distance of the others from such a border


@dataclass(frozen=True)
class ExamPhantom:
    """Four views of one patient.

    Attributes:
        density: A to D, of the denser breast.
        fraction: dense share of the area of the denser breast, 0..1.
        views: in the order of `STANDARD_VIEWS`.
    """

    density: str
    fraction: float
    views: tuple[MammogramPhantom, ...]


def exam_phantom(
    seed: int,
    number: int,
    scale: float = 0.125,
    density: str | None = None,
    years_before: int = 0,
) -> ExamPhantom:
    """Return an exam; the same for the same arguments.

    Args:
        number: of the exam; four consecutive numbers have the four classes.
        scale: of the detector: 1 is full size, 0.125 an eighth of the rows and columns.
        density: A to D; None draws it.
        years_before: of a prior exam of the same breasts: compressed otherwise, and a hundredth of
            their area denser for each year, within the class.
    """
    rng = np.random.default_rng((seed, number, 71))
    order = np.random.default_rng((seed, number // 4, 72)).permutation(4)
    class_index = BIRADS.index(density) if density else int(order[number % 4])
    low, high = BORDERS[class_index], BORDERS[class_index + 1]
    if rng.random() < 0.15:
        inner = [border for border in (low, high) if border in BORDERS[1:-1]]
        border = inner[int(rng.integers(len(inner)))]
        distance = rng.uniform(0, NEAR)
        fraction = border + distance if border == low else border - distance - 1e-6
    else:
        low, high = low + MARGIN * (class_index > 0), high - MARGIN * (class_index < 3)
        fraction = float(rng.uniform(low, high))
    anatomy = Anatomy.draw(rng)
    if years_before:
        ceiling = BORDERS[class_index + 1] - 1e-6
        fraction = max(fraction, min(fraction + 0.01 * years_before, ceiling))
        anatomy = replace(anatomy, thickness=anatomy.thickness * 1.06, depth=anatomy.depth * 0.98)
    detector = DETECTORS[int(rng.integers(len(DETECTORS)))]
    other = max(fraction - abs(rng.normal(0, 0.025)), 0.02)
    sides = {"R": fraction, "L": other} if rng.random() < 0.5 else {"R": other, "L": fraction}
    views = tuple(
        _view(seed, number, index, view, anatomy, sides[str(view.laterality)], detector, scale)
        for index, view in enumerate(STANDARD_VIEWS)
    )
    return ExamPhantom(BIRADS[class_index], fraction, views)


def _view(
    seed: int,
    number: int,
    index: int,
    view: View,
    anatomy: Anatomy,
    fraction: float,
    detector: Detector,
    scale: float,
) -> MammogramPhantom:
    rng = np.random.default_rng((seed, number, index, 73))
    rows, columns = max(round(detector.rows * scale), 64), max(round(detector.columns * scale), 48)
    factor = min(GRID / rows, 1.0)
    grid = round(rows * factor), round(columns * factor)
    spacing = detector.spacing * detector.rows / rows
    formed = form_view(rng, anatomy, fraction, view.projection == "MLO", grid, spacing / factor)
    size = columns, rows
    grey = np.array(PillowImage.fromarray(formed.grey).resize(size, PillowImage.Resampling.BICUBIC))
    breast = _enlarged(formed.breast, size)
    if factor < 1:  # noise of single pixels, for which the grid is too coarse
        grey += 0.012 * rng.standard_normal((rows, columns), dtype=np.float32) * breast
    grey = np.clip(grey, 0, 1)
    grey[~breast & (grey < 0.02)] = 0
    top = 2**detector.bits - 1
    pixels = np.rint(grey * top * 0.95).astype(np.uint16)
    dense = _enlarged(formed.dense, size)
    tissue = breast & ~_enlarged(formed.muscle, size)
    if view.laterality == "L":
        pixels, dense, tissue = pixels[:, ::-1], dense[:, ::-1], tissue[:, ::-1]
    pixels = _marked(np.ascontiguousarray(pixels), view, top)
    return MammogramPhantom(
        pixels=pixels,
        dense=dense,
        breast=tissue,
        fraction=float((dense & tissue).sum() / tissue.sum()),
        view=view,
        detector=detector,
        spacing=spacing,
    )


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = PillowImage.fromarray(mask.astype(np.float32))
    return np.asarray(picture.resize(size, PillowImage.Resampling.BILINEAR)) > 0.5


def _marked(pixels: np.ndarray, view: View, top: int) -> np.ndarray:
    """Return `pixels` with the lead letters of the view in the free upper corner."""
    rows, columns = pixels.shape
    text = f"{view.laterality}{view.projection}"
    picture = PillowImage.new("L", (36, 12))
    drawing = ImageDraw.Draw(picture)
    drawing.text((1, 0), text, fill=255)
    picture = picture.crop((0, 0, int(drawing.textlength(text)) + 3, 12))
    high = max(columns // 18, 8)
    wide = high * picture.width // picture.height
    letters = np.asarray(picture.resize((wide, high))) > 110
    left = columns // 40 if view.laterality == "R" else columns - columns // 40 - wide
    corner = pixels[rows // 40 : rows // 40 + letters.shape[0], left : left + wide]
    corner[letters & (corner == 0)] = top
    return pixels


def write_exams(
    folder: Path,
    seed: int = 0,
    exams: int = 8,
    *,
    scale: float = 0.125,
    labelled: float = 1.0,
) -> list[Path]:
    """Write exams as DICOM, ``exam_000_R-CC.dcm`` ..., and return the image files.

    Files that exist already are left as they are.

    Args:
        scale: of the detectors; 1 writes up to 3328 x 4096 pixels of 16 bit for each view.
        labelled: share of the exams that get their labels, 0..1: the first ones do.
    """
    (folder / FINAL_LABELS).mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(exams):
        id = f"exam_{number:03d}"
        files = [folder / f"{id}_{view.name}.dcm" for view in STANDARD_VIEWS]
        paths += files
        if all(file.exists() for file in files):
            continue
        exam = exam_phantom(seed, number, scale)
        for index, (file, view) in enumerate(zip(files, exam.views, strict=True)):
            if number < round(labelled * exams):
                label = folder / FINAL_LABELS / f"{file.stem}.json"
                if not label.exists():
                    write_density(label, exam.density, percent=round(100 * view.fraction, 1))
            if not file.exists():
                write_mammogram(file, view, seed, number, index)
    return paths
