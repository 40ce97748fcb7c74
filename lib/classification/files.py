"""Label images, saliency images and pictures that explain an answer, one set for each view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lib.classification.answer import ExamAnswer, ViewAnswer
from lib.classification.overlays import overlay
from lib.classification.predictor import ExamPredictor
from lib.classification.saliency import saliency
from lib.files import write_atomically
from lib.image import Geometry
from lib.io.masks import write_mask, write_probabilities
from lib.io.read import extension, image_geometry
from lib.mammography.mammogram import is_dicom
from lib.tasks.spec import TaskSpec

WRITERS = 2  # views written at a time

# returns the path for a file of this name and view; raises if it may not be written
Target = Callable[[str, ViewAnswer], Path]


def tissue_label(task: TaskSpec, answer: ExamAnswer, view: str) -> np.ndarray:
    """Return the dense tissue of a view, uint8 `(rows, columns)` of its file.

    Dense pixels have the value of the exam's class in the task's labels, other pixels 0.
    """
    of_view = answer.views[view]
    if of_view.tissue is None:
        raise ValueError(f"{view} was answered without its dense tissue")
    value = np.uint8(task.labels[answer.label])
    return of_view.prepared.undo(of_view.tissue.mask.astype(np.uint8) * value)


def write_exam_files(
    predictor: ExamPredictor,
    answer: ExamAnswer,
    target: Target,
    methods: Sequence[str] = (),
    suffix: str = ".png",
) -> dict[str, Any]:
    """Write the dense tissue and the saliency of each view.

    For the view R-CC and the method gradcam, the files are ``R-CC_dense.png`` (`tissue_label`),
    ``R-CC_gradcam.png`` (`save_overlay`) and ``R-CC_gradcam.nrrd`` (`save_scalar`).

    Args:
        answer: the answer of `predictor`, with tissue; with pictures if there are methods.
        target: where to write each file.
        methods: names in `lib.classification.saliency.METHODS`.
        suffix: file type of the label images.

    Returns:
        Names of the files: ``dense_tissue`` by view; if there are methods, ``saliency`` by view,
        method and "overlay" or "scalar".
    """

    def write(name: str) -> tuple[str, dict[str, dict[str, str]]]:
        view, label = answer.views[name], tissue_label(predictor.task, answer, name)
        file = target(f"{name}_dense{suffix}", view)
        tissue = write_mask(file, label, view_geometry(view.path, label.shape))
        return tissue.name, {
            m: _write_saliency(predictor, answer, name, target, m) for m in methods
        }

    with ThreadPoolExecutor(WRITERS) as pool:
        written = dict(zip(answer.views, pool.map(write, answer.views), strict=True))
    names: dict[str, Any] = {
        "dense_tissue": {name: tissue for name, (tissue, _) in written.items()}
    }
    if methods:
        names["saliency"] = {name: files for name, (_, files) in written.items()}
    return names


def _write_saliency(
    predictor: ExamPredictor, answer: ExamAnswer, name: str, target: Target, method: str
) -> dict[str, str]:
    view = answer.views[name]
    if view.picture is None:
        raise ValueError(f"{name} was answered without its picture")
    title = f"{name}: {answer.label} {view.probabilities[answer.class_index]:.2f}"
    if (alone := answer.names[int(view.probabilities.argmax())]) != answer.label:
        title += f" (alone: {alone} {view.probabilities.max():.2f})"
    picture = target(f"{name}_{method}.png", view)
    scalar = target(f"{name}_{method}.nrrd", view)
    values = saliency(predictor, answer, name, method)
    save_overlay(picture, values, view.picture, f"{title}, {method}")
    save_scalar(scalar, values, view.path)
    return {"overlay": picture.name, "scalar": scalar.name}


def view_geometry(path: Path, shape: tuple[int, ...]) -> Geometry:
    """Return the geometry that viewers read from a view's file.

    Args:
        shape: rows and columns of the image, for files that only mammography reads, such as PGM.
    """
    return image_geometry(path) if extension(path) or is_dicom(path) else Geometry.flat(*shape)


def save_scalar(path: Path, values: np.ndarray, image: Path) -> Path:
    """Write the saliency of a view as NRRD, NIfTI or MetaImage with the geometry of its file.

    Args:
        values: float32 `(rows, columns)` of the view's image, 0..1.
        image: the view's file.
    """
    return write_probabilities(path, values, view_geometry(image, values.shape))


def save_overlay(path: Path, values: np.ndarray, picture: np.ndarray, title: str) -> Path:
    """Write what `lib.classification.overlays.overlay` returns as PNG."""
    image = overlay(picture, values, title)
    return write_atomically(path, lambda file: image.save(file, "PNG", compress_level=1))
