"""Breast density of mammography exams as a MONAI Label InferTask."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.base import InferSettings, ModelInfer, first, write_label
from infer.exam_views import exam_and_view, keep_files, require_answered
from lib.classification.files import tissue_label, view_geometry, write_exam_files
from lib.classification.predictor import ExamPredictor
from lib.errors import InputError, choose
from lib.io.masks import result_extension
from lib.mammography.density_labels import DENSITIES
from lib.tasks.exam_spec import SALIENCY
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore


class ClassificationInfer(ModelInfer[ExamPredictor]):
    """Answers on the exam that an image is a view of.

    The label image is the dense tissue of the view asked for, on its grid; its value is the
    answered class of the exam. Request parameters: ``saliency`` ("none", "gradcam", "gradient" or
    "both"; true is "gradcam"), ``device``, ``result_extension``, ``result_dtype``.
    """

    infer_type = InferType.CLASSIFICATION
    by_exam = True

    def __init__(self, task: TaskSpec, store: ModelStore, settings: InferSettings) -> None:
        super().__init__(task, store, settings, {"saliency": list(SALIENCY)})

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer on the exam of ``request["image"]``, the file path of one of its views.

        Returns:
            The label file, which the caller deletes, and the answer as
            `lib.classification.answer.ExamAnswer.as_dict` has it, with ``view`` (the one asked
            for), ``notes`` on the exam's files, ``label_names`` (the values of all classes of the
            scale, as viewers draw the n-th name as value n), ``latencies`` in seconds,
            ``model_version``, and ``figure`` and ``card`` of its weights (see
            `lib.weights.figures`); and, as `lib.classification.files` names them but as paths on
            the server, ``dense_tissue``, ``tissue`` and ``saliency`` of each view.

        Raises:
            InputError: no view of an exam, one that cannot be answered, or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        suffix = result_extension(request.get("result_extension"), path)
        methods = _methods(request.get("saliency"))
        kept = self.settings.result_files()
        if methods and kept is None:
            raise InputError(
                "saliency is for single requests, a batch keeps nothing but label images; leave it "
                "away, or ask with POST /infer/<model> for each image"
            )
        predictor, version = self.predictor(request)
        exam, asked = exam_and_view(path, self.settings.find_exam)
        answer = predictor(exam, pictures=bool(methods))
        require_answered(path, exam.id, asked, answer.views, answer.left_out)
        writing = time.perf_counter()
        label = tissue_label(self.task, answer, asked)
        grid = view_geometry(path, label.shape)
        file = write_label(label, grid, suffix, request.get("result_dtype"))
        try:
            files = keep_files(
                kept,
                lambda folder: write_exam_files(
                    predictor, answer, lambda name, view: folder / name, methods, suffix
                ),
            )
        except BaseException:
            os.unlink(file)
            raise
        end = time.perf_counter()
        seconds = {**answer.seconds, "write": end - writing, "total": end - start}
        summary = answer.as_dict()
        del summary["seconds"]
        summary |= {
            "view": asked,
            "notes": list(exam.notes),
            "label_names": _names_up_to(max(self.task.labels.values())),
            "latencies": {name: round(spent, 4) for name, spent in seconds.items()},
            "model_version": version,
            **self.predictors.evidence(version),
            **files,
        }
        return file, summary


def _names_up_to(value: int) -> dict[str, int]:
    """Return the classes of density, and their values in label images, from 1 to `value`."""
    return dict(zip(DENSITIES, range(1, value + 1), strict=False))


def _methods(saliency: Any) -> tuple[str, ...]:
    """Return the methods that a request names.

    A list is that of the choices, as the viewer got it: its first is "none".
    """
    asked = first(saliency)
    name = {True: "gradcam", False: "none", None: "none", "": "none"}.get(asked, str(asked))
    return choose("saliency", name, SALIENCY)
