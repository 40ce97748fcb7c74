"""Pictures and label images that show an answer on an exam: one set of files for each view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from lib.classification.answer import ExamAnswer, ViewAnswer
    from lib.classification.predictor import ExamPredictor

WRITERS = 2  # views written at a time
SALIENCY: Mapping[
    str, tuple[str, ...]
] = {  # what may be asked for, as methods of lib.classification.saliency
    "none": (),
    "gradcam": ("gradcam",),
    "gradient": ("gradient",),
    "both": ("gradcam", "gradient"),
}

# the file of this name that is to be written for a view; raises where it may not be
Target = Callable[[str, "ViewAnswer"], Path]


def tissue_label(task: TaskSpec, answer: ExamAnswer, view: str) -> np.ndarray:
    """Return the dense tissue of a view, uint8 on the grid of its file.

    Its value is that of the exam's class in the task's labels.
    """
    seen = answer.views[view]
    if seen.tissue is None:
        raise ValueError(f"{view} was answered without its dense tissue")
    value = np.uint8(task.labels[answer.label])
    return seen.prepared.undo(seen.tissue.mask.astype(np.uint8) * value)


def write_exam_files(
    predictor: ExamPredictor,
    answer: ExamAnswer,
    target: Target,
    methods: Sequence[str] = (),
    suffix: str = ".png",
) -> dict[str, Any]:
    """Write the dense tissue of each view, and where its network looks.

    ``R-CC_dense.png`` is `tissue_label`. For each method ``R-CC_gradcam.png`` is the overlay and
    ``R-CC_gradcam.nrrd`` the scalar image, both as `lib.classification.saliency` writes them.

    Args:
        answer: of `predictor`, with tissue, and with pictures where methods are named.
        target: where a file goes.
        methods: of `lib.classification.saliency`, as in `SALIENCY`.
        suffix: file type of the label images.

    Returns:
        Names of the files: ``dense_tissue`` by view and, where methods are named, ``saliency`` by
        view, method and kind, "overlay" or "scalar".
    """
    tissue: dict[str, str] = {}
    explained: dict[str, dict[str, dict[str, str]]] = {}

    def write(name: str) -> None:
        tissue[name] = _write_tissue(predictor.task, answer, name, target, suffix)
        for method in methods:
            files = _write_saliency(predictor, answer, name, target, method)
            explained.setdefault(name, {})[method] = files

    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(write, answer.views):
            pass
    order = list(answer.views)
    told: dict[str, Any] = {"dense_tissue": {name: tissue[name] for name in order}}
    if methods:
        told["saliency"] = {name: explained[name] for name in order}
    return told


def _write_tissue(
    task: TaskSpec, answer: ExamAnswer, name: str, target: Target, suffix: str
) -> str:
    from lib.classification.saliency import view_geometry
    from lib.io.masks import write_mask

    view = answer.views[name]
    label = tissue_label(task, answer, name)
    file = target(f"{name}_dense{suffix}", view)
    return write_mask(file, label, view_geometry(view.path, label.shape)).name


def _write_saliency(
    predictor: ExamPredictor, answer: ExamAnswer, name: str, target: Target, method: str
) -> dict[str, str]:
    from lib.classification.saliency import saliency, save_overlay, save_scalar

    view = answer.views[name]
    if view.picture is None:
        raise ValueError(f"{name} was answered without its picture")
    title = f"{name}: {answer.label} {view.probabilities[answer.place]:.2f}"
    if (own := answer.names[int(view.probabilities.argmax())]) != answer.label:
        title += f" (alone: {own} {view.probabilities.max():.2f})"
    picture = target(f"{name}_{method}.png", view)
    scalar = target(f"{name}_{method}.nrrd", view)
    values = saliency(predictor, answer, name, method)
    save_overlay(picture, values, view.picture, f"{title}, {method}")
    save_scalar(scalar, values, view.path)
    return {"overlay": picture.name, "scalar": scalar.name}
