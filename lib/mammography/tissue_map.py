"""The tissue of a breast on the grid of its image, and the percent density of an exam.

The figure is an estimate of area by image processing, as `lib.mammography.dense_tissue` says. It is
no BI-RADS class, which a reader gives by pattern, nor a volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.mammography.breast import PreparedBreast, prepare_breast
from lib.mammography.dense_tissue import DenseTissue, dense_mask
from lib.mammography.exams import Exam, read_views
from lib.mammography.mammogram import read_mammogram
from lib.mammography.views import View

DENSE, OTHER, MUSCLE = 1, 2, 3
TISSUES = {"dense tissue": DENSE, "other breast tissue": OTHER, "pectoral muscle": MUSCLE}
SIDE = 650  # rows and columns at which a breast is looked at, as those of the density tasks
METHOD = (
    "dense tissue by its contrast to the fat at the same depth, threshold by Otsu; percent of the "
    "breast's area without the pectoral muscle"
)


@dataclass(frozen=True, kw_only=True)
class ViewTissue:
    """The tissue of one view.

    Attributes:
        path: the view's file.
        tissues: uint8 `(rows, columns)` of the file, values of `TISSUES`, 0 outside the breast.
        percent: area of dense tissue in percent of the breast without muscle.
        notes, doubts: see `PreparedBreast`.
    """

    path: Path
    tissues: np.ndarray
    percent: float
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExamTissue:
    """The tissue of an exam.

    Attributes:
        views: by name, in the order of the exam.
        left_out: the reason for each standard view without an estimate, by name.
    """

    views: Mapping[str, ViewTissue]
    left_out: Mapping[str, str]

    @property
    def breasts(self) -> dict[str, float]:
        """Percent density of each breast, "R" and "L", that has a view: the mean of its views."""
        sides = dict.fromkeys(name[0] for name in self.views)
        return {
            side: float(
                np.mean([one.percent for name, one in self.views.items() if name[0] == side])
            )
            for side in sides
        }

    @property
    def percent(self) -> float:
        """Percent density of the exam: the mean of its breasts."""
        return float(np.mean(list(self.breasts.values())))


def tissue_map(prepared: PreparedBreast, tissue: DenseTissue) -> np.ndarray:
    """Return the tissues of a view, uint8 `(rows, columns)` of its file, with values of `TISSUES`.

    Args:
        tissue: of `prepared`.
    """
    tissues = np.where(prepared.breast, np.uint8(OTHER), np.uint8(0))
    tissues[tissue.muscle] = MUSCLE
    tissues[tissue.mask] = DENSE
    return prepared.undo(tissues)


def percent_density(tissues: np.ndarray) -> float:
    """Return the dense area in percent of the breast without muscle; 0 without any breast.

    Args:
        tissues: values of `TISSUES`.
    """
    areas = np.bincount(tissues.ravel(), minlength=MUSCLE + 1)
    breast = int(areas[DENSE] + areas[OTHER])
    return 100 * int(areas[DENSE]) / breast if breast else 0.0


def estimate_tissue(exam: Exam) -> ExamTissue:
    """Return the tissue of all views of an exam that can be read.

    Raises:
        InputError: no view can be read; the message names the reasons.
    """
    views, left_out = read_views(exam, _estimate)
    return ExamTissue(
        views={view.name: tissue for view, tissue in views.items()}, left_out=left_out
    )


def _estimate(view: View, path: Path) -> ViewTissue:
    prepared = prepare_breast(read_mammogram(path), SIDE)
    tissues = tissue_map(prepared, dense_mask(prepared))
    return ViewTissue(
        path=path,
        tissues=tissues,
        percent=percent_density(tissues),
        notes=prepared.notes,
        doubts=prepared.doubts,
    )
