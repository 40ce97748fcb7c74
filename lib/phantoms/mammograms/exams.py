"""Seeded synthetic mammography exams: four views as DICOM, of a known density class.

The class is set by the share of the breast's area that is fibroglandular, in the quarters that the
4th edition of BI-RADS names (less than 25 %, to 50 %, to 75 %, more). One exam in seven lies within
two percent of a border. Devices differ in detector, bits and photometric interpretation.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from lib.data.studies import FINAL_LABELS
from lib.files import write_atomically
from lib.mammography.density_labels import BIRADS, write_density
from lib.mammography.views import STANDARD_VIEWS, View
from lib.phantoms.mammograms.formation import GRID, Anatomy, form_view
from lib.phantoms.mammograms.phantom import DETECTORS, Detector, MammogramPhantom

BORDERS = (0.03, 0.25, 0.5, 0.75, 0.9)  # dense share of the area: A, B, C and D lie between
MARGIN, NEAR = 0.04, 0.02  # kept from the borders; and how near the others lie


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
    seed: int, number: int, scale: float = 0.125, density: str | None = None
) -> ExamPhantom:
    """Return an exam; the same for the same seed, number, scale and density.

    Args:
        number: of the exam; the class is drawn evenly over each four numbers.
        scale: of the detector: 1 is full size, 0.125 an eighth of the rows and columns.
        density: A to D; None draws it.
    """
    rng = np.random.default_rng((seed, number, 71))
    order = np.random.default_rng((seed, number // 4, 72)).permutation(4)
    kind = BIRADS.index(density) if density else int(order[number % 4])
    low, high = BORDERS[kind], BORDERS[kind + 1]
    if rng.random() < 0.15:
        inner = [border for border in (low, high) if border in BORDERS[1:-1]]
        border = inner[int(rng.integers(len(inner)))]
        away = rng.uniform(0, NEAR)
        fraction = border + away if border == low else border - away - 1e-6
    else:
        fraction = float(rng.uniform(low + MARGIN * (kind > 0), high - MARGIN * (kind < 3)))
    anatomy = Anatomy.draw(rng)
    detector = DETECTORS[int(rng.integers(len(DETECTORS)))]
    other = max(fraction - abs(rng.normal(0, 0.025)), 0.02)
    sides = {"R": fraction, "L": other} if rng.random() < 0.5 else {"R": other, "L": fraction}
    views = tuple(
        _view(seed, number, index, view, anatomy, sides[str(view.laterality)], detector, scale)
        for index, view in enumerate(STANDARD_VIEWS)
    )
    return ExamPhantom(BIRADS[kind], fraction, views)


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
    if factor < 1:  # noise of the pixels, which the grid is too coarse for
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
    true = float((dense & tissue).sum() / tissue.sum())
    return MammogramPhantom(pixels, dense, tissue, true, view, detector, spacing)


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
    place = pixels[rows // 40 : rows // 40 + letters.shape[0], left : left + wide]
    place[letters & (place == 0)] = top
    return pixels


def write_exams(
    folder: Path,
    seed: int = 0,
    exams: int = 8,
    scale: float = 0.125,
    labelled: float = 1.0,
) -> list[Path]:
    """Write exams as DICOM into a studies folder, named ``exam_000_R-CC.dcm`` and so on.

    Files that exist already are left as they are.

    Args:
        scale: of the detectors; 1 writes up to 3328 x 4096 pixels of 16 bit for each view.
        labelled: share of the exams that get their labels, 0..1; the first ones.

    Returns:
        The image files.
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


def write_mammogram(
    path: Path, phantom: MammogramPhantom, seed: int = 0, number: int = 0, index: int = 0
) -> Path:
    """Write a view as Digital Mammography X-Ray Image Storage, For Presentation.

    Args:
        seed, number, index: of the phantoms, the exam and the view: the UIDs follow from them.
    """
    content = io.BytesIO()
    mammogram_dataset(phantom, seed, number, index).save_as(content, write_like_original=False)
    return write_atomically(path, lambda file: file.write(content.getvalue()))


def mammogram_dataset(
    phantom: MammogramPhantom, seed: int = 0, number: int = 0, index: int = 0
) -> Any:
    """Return the pydicom dataset of a view, with the attributes of PS3.3 A.26 and C.8.11."""
    from lib.phantoms.mammograms.dicom import dataset

    return dataset(phantom, (seed, number, index))
