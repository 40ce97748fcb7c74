"""Label images, saliency images and pictures that explain an answer, one set for each view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from lib.classification.answer import ExamAnswer, ViewAnswer
from lib.classification.overlays import layer, overlay
from lib.classification.predictor import ExamPredictor
from lib.classification.saliency import saliency
from lib.files import write_atomically
from lib.image import Geometry
from lib.io.masks import write_mask, write_probabilities
from lib.io.read import extension, image_geometry
from lib.mammography.mammogram import is_dicom
from lib.mammography.tissue_map import tissue_map
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
    ``R-CC_tissue.png`` (`tissue_map`), ``R-CC_gradcam.png`` (`save_overlay`),
    ``R-CC_gradcam.nrrd`` (`save_scalar`) and ``R-CC_gradcam_layer.png`` (`save_layer`).

    Args:
        answer: the answer of `predictor`, with tissue; with pictures if there are methods.
        target: where to write each file.
        methods: names in `lib.classification.saliency.METHODS`.
        suffix: file type of the label images.

    Returns:
        Names of the files: ``dense_tissue`` and ``tissue`` by view; if there are methods,
        ``saliency`` by view, method and "overlay", "scalar" or "layer".
    """

    def write(name: str) -> tuple[str, str, dict[str, dict[str, str]]]:
        view, label = answer.views[name], tissue_label(predictor.task, answer, name)
        assert view.tissue is not None
        tissues = tissue_map(view.prepared, view.tissue)
        grid = view_geometry(view.path, label.shape)
        return (
            write_mask(target(f"{name}_dense{suffix}", view), label, grid).name,
            write_mask(target(f"{name}_tissue{suffix}", view), tissues, grid).name,
            {m: _write_saliency(predictor, answer, name, target, m) for m in methods},
        )

    with ThreadPoolExecutor(WRITERS) as pool:
        written = dict(zip(answer.views, pool.map(write, answer.views), strict=True))
    names: dict[str, Any] = {
        "dense_tissue": {name: dense for name, (dense, _, _) in written.items()},
        "tissue": {name: tissue for name, (_, tissue, _) in written.items()},
    }
    if methods:
        names["saliency"] = {name: files for name, (_, _, files) in written.items()}
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
    coloured = save_layer(target(f"{name}_{method}_layer.png", view), values)
    return {"overlay": picture.name, "scalar": scalar.name, "layer": coloured.name}


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
    return _save_png(path, overlay(picture, values, title))


def save_layer(path: Path, values: np.ndarray) -> Path:
    """Write what `lib.classification.overlays.layer` returns as PNG, on the grid of the image."""
    return _save_png(path, layer(values))


def _save_png(path: Path, picture: Image) -> Path:
    return write_atomically(path, lambda file: picture.save(file, "PNG", compress_level=1))
