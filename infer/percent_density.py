"""Percent density of mammography exams by image processing as a MONAI Label InferTask."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from infer.base import InferSettings, first, write_label
from infer.exam_views import exam_and_view, keep_files, require_answered
from lib.classification.files import view_geometry
from lib.io.masks import result_extension, write_mask
from lib.mammography.tissue_map import DENSE, METHOD, TISSUES, ExamTissue, estimate_tissue

PERCENT_DENSITY = "percent_density"  # the name that viewers show
DENSE_TISSUE = "dense tissue"


class PercentDensityInfer(InferTask):
    """Estimates the dense tissue of the exam that an image is a view of; it needs no weights.

    The label image is 1 where the view asked for is dense. The answer is an estimate of tissue, no
    BI-RADS class. Request parameters: ``result_extension``, ``result_dtype``.
    """

    by_exam = True  # answers on all views of an exam

    def __init__(self, settings: InferSettings) -> None:
        super().__init__(
            type=InferType.OTHERS,
            labels={},  # 3D Slicer would offer them for every image
            dimension=2,
            description="Percent density of mammograms: an estimate of tissue, no BI-RADS class",
        )
        self.settings = settings

    def info(self) -> dict[str, Any]:
        """Return what clients are told, with the modalities and dimensions that it answers."""
        return {**super().info(), "modalities": ["MG"], "dimensions": ["mammogram"]}

    def is_valid(self) -> bool:
        """Return true: there are no weights that could be missing."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Estimate the tissue of the exam of ``request["image"]``, the file path of one view.

        Returns:
            The label file, which the caller deletes, and the answer: ``percent_density`` of the
            exam, of each of the ``breasts`` and of each of the ``views``, with notes and doubts;
            ``left_out``, the reason for each view without one; ``view``, the one asked for;
            ``method``; ``tissues``, the values of the files that are the paths on the server in
            ``tissue``, by view; ``label_names`` and ``latencies`` in seconds.

        Raises:
            InputError: no view of an exam, one that cannot be read, or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        suffix = result_extension(first(request.get("result_extension")), path)
        exam, asked = exam_and_view(path, self.settings.find_exam)
        tissue = estimate_tissue(exam)
        require_answered(path, exam.id, asked, tissue.views, tissue.left_out)
        done = time.perf_counter()
        dense = (tissue.views[asked].tissues == DENSE).astype(np.uint8)
        dtype = first(request.get("result_dtype"))
        file = write_label(dense, view_geometry(path, dense.shape), suffix, dtype)
        try:
            files = keep_files(
                self.settings.result_files(), lambda folder: _write(tissue, folder, suffix)
            )
        except BaseException:
            os.unlink(file)
            raise
        end = time.perf_counter()
        seconds = {"infer": done - start, "write": end - done, "total": end - start}
        return file, {
            "exam": exam.id,
            "view": asked,
            "percent_density": round(tissue.percent, 1),
            "breasts": {side: round(value, 1) for side, value in tissue.breasts.items()},
            "views": {
                name: {
                    "file": one.path.name,
                    "percent_density": round(one.percent, 1),
                    "notes": list(one.notes),
                    "doubts": list(one.doubts),
                }
                for name, one in tissue.views.items()
            },
            "left_out": dict(tissue.left_out),
            "notes": list(exam.notes),
            "method": METHOD,
            "tissues": TISSUES,
            "label_names": {DENSE_TISSUE: DENSE},
            "latencies": {name: round(value, 4) for name, value in seconds.items()},
            **files,
        }


def _write(tissue: ExamTissue, folder: Path, suffix: str) -> dict[str, Any]:
    """Write the tissues of each view, and return the names of the files."""
    names = {}
    for name, one in tissue.views.items():
        grid = view_geometry(one.path, one.tissues.shape)
        names[name] = write_mask(folder / f"{name}_tissue{suffix}", one.tissues, grid).name
    return {"tissue": names}
