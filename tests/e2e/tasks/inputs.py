"""What the scripted person works on: the same seeded phantoms for each panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from lib.phantoms.dicom_studies import frame_study, mammogram_study, stills_study
from lib.phantoms.nuclei import nuclei_phantom
from lib.phantoms.ultrasound.studies import breast_frame

EXAMS = 8
SIZE = 256, 320  # rows, columns of a still


@dataclass(frozen=True)
class Studies:
    """What the archive holds.

    Attributes:
        exams: density by study, of `EXAMS` mammography exams, A and D in turn.
        stills: study of three ultrasound stills in one series.
        lesions: of each still, by its instance, bool `(rows, columns)`.
        single: study of one still, for panels that name an image by its series.
        picture: study of nuclei as one ultrasound image, which the panel before opens too.
        datasets: all of them.
    """

    exams: dict[str, str]
    stills: str
    lesions: dict[str, np.ndarray]
    single: str
    picture: str
    datasets: tuple[Dataset, ...]


def studies() -> Studies:
    """Make the studies of the archive."""
    exams = [mammogram_study(40 + number, 0.06, "AD"[number % 2]) for number in range(EXAMS)]
    frames = [breast_frame(70 + number, SIZE) for number in range(3)]
    stills = stills_study("tasks", 7, frames, "Breast phantom, three stills")
    single, picture = frame_study(11, SIZE), frame_study(9, SIZE)
    (data,) = picture.datasets
    data.PixelData = np.ascontiguousarray(_picture()).tobytes()
    data.PatientName, data.SeriesDescription = "Nuclei", "Nuclei phantom"
    return Studies(
        {study.study: str(study.density) for study in exams},
        stills.study,
        {instance: label > 0 for instance, label in stills.truth.items()},
        single.study,
        picture.study,
        tuple(data for study in (*exams, stills, single, picture) for data in study.datasets),
    )


def _picture() -> np.ndarray:
    return nuclei_phantom(5, rows=SIZE[0], columns=SIZE[1])[0]
