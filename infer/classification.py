"""Breast density of mammography exams as a MONAI Label InferTask."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.base import LiveInfer, first, write_label
from infer.live import LivePredictors
from lib.classification import ExamPredictor, ViewAnswer
from lib.dicom import dicom_grid
from lib.errors import InputError
from lib.exams import Exam, exam_of, group_exams, same_file
from lib.images import Geometry, read_image
from lib.mammography import is_dicom
from lib.masks import result_extension
from lib.model_store import ModelStore
from lib.tasks import TaskSpec

Find = Callable[[Path], Exam | None]


class ClassificationInfer(LiveInfer):
    """Answers on the exam that an image is a view of.

    The label image is the dense tissue of the view asked for, on its grid; its value is the
    answered class of the exam. Request parameters: ``device``, ``result_extension``,
    ``result_dtype``.

    Args:
        find_exam: the exam that a file is a view of; by default it stands alone.
    """

    def __init__(
        self,
        task: TaskSpec,
        store: ModelStore,
        device: str = "auto",
        precision: str = "auto",
        find_exam: Find | None = None,
    ) -> None:
        self.live: LivePredictors[ExamPredictor] = LivePredictors(task, store, precision)
        super().__init__(task, store, InferType.CLASSIFICATION, device, {})
        self.find_exam = find_exam or (lambda path: exam_of(path, group_exams([path])))

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer on the exam of ``request["image"]``, the file path of one of its views.

        Returns:
            The label file, which the caller deletes, and the answer as
            `lib.classification.ExamAnswer.as_dict` has it, with ``view`` (the one asked for),
            ``notes`` on the exam's files, ``label_names`` (the answered class and its value),
            ``latencies`` in seconds and ``model_version``.

        Raises:
            InputError: no view of an exam, one that cannot be answered, or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        suffix = result_extension(request.get("result_extension"), path)
        predictor, version = self.live.get(first(request.get("device")) or self.device)
        exam = self.find_exam(path)
        if exam is None:
            raise InputError(
                f"{path.name}: no view of a mammography exam by its tags or name; expected a "
                f"mammogram as DICOM, or a name as EXAM_R-CC.png; rename it or choose another model"
            )
        asked = next((view.name for view, file in exam.views.items() if same_file(file, path)), "")
        if not asked:
            why = next((why for file, why in exam.others if same_file(file, path)), "no plain view")
            raise InputError(
                f"{path.name}: left out of exam '{exam.id}' ({why}); ask by one of its views "
                f"{', '.join(sorted(file.name for file in exam.views.values())) or '(it has none)'}"
            )
        answer = predictor(exam)
        if asked not in answer.views:
            raise InputError(
                f"{path.name}: view {asked} of exam '{exam.id}' cannot be answered: "
                f"{answer.left_out[asked]}; ask by one of {', '.join(answer.views)}"
            )
        value = self.task.labels[answer.label]
        writing = time.perf_counter()
        label = _tissue(answer.views[asked], value)
        file = write_label(label, _grid(path), suffix, request.get("result_dtype"))
        end = time.perf_counter()
        seconds = {**answer.seconds, "write": end - writing, "total": end - start}
        summary = answer.as_dict()
        del summary["seconds"]
        summary |= {
            "view": asked,
            "notes": list(exam.notes),
            "label_names": {answer.label: value},
            "latencies": {name: round(spent, 4) for name, spent in seconds.items()},
            "model_version": version,
        }
        return file, summary


def _tissue(answer: ViewAnswer, value: int) -> np.ndarray:
    """Return the dense tissue of a view on the grid of its file, as a label of this value."""
    assert answer.tissue is not None
    return answer.prepared.undo(answer.tissue.mask.astype(np.uint8) * np.uint8(value))


def _grid(path: Path) -> Geometry:
    return dicom_grid(path) if is_dicom(path) else read_image(path).geometry
