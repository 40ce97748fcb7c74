"""The studies of the demo archive: a few patients, with what real archives hold.

Several stills in a series, stills and loops in one study, two time points of one patient, and a
mammography exam with the prior exam. Every image is synthetic, and its patient is made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.uid import CTImageStorage, MRImageStorage

from lib.phantoms.dicom_objects import decimals
from lib.phantoms.dicom_studies import (
    cine_study,
    mammogram_study,
    stills_study,
    ultrasound_volume_study,
)
from lib.phantoms.dicom_study import DemoStudy, slices_study
from lib.phantoms.pelvis.scan import Scan, pelvis_scan
from lib.phantoms.picture_study import pictures_study
from lib.phantoms.ultrasound.formation import LOOKS, Scanner
from lib.phantoms.ultrasound.look import Look
from lib.phantoms.ultrasound.sector import Sector
from lib.phantoms.ultrasound.studies import breast_frame, fetal_frame, nerve_frame

TISSUE_WINDOW = (40, 400)  # centre and width of CT, Hounsfield units
_AIR = -1024  # Hounsfield units of a stored 0
_SHOWN = (1, 99)  # percentiles of MR between which its window lies
# machines that are set well: high frequency, compounding over five looks
_LINEAR_ARRAY = Scanner(
    frequency=12.0,
    axial=0.09,
    lateral=0.17,
    focus=0.4,
    density=0.7,
    gain_errors=(0.0, 1.0, 0.0, -1.0, -2.0),
    noise=-58.0,
    dynamic_range=58.0,
    white=0.001,
    curve=2.3,
    looks=(-2.4, -1.2, 0.0, 1.2, 2.4),
)
_CURVED_ARRAY = replace(_LINEAR_ARRAY, axial=0.12, lateral=0.22, looks=LOOKS)
_ENDOCAVITY = Look(blur=0.6, contrast=1.5, sector=Sector(radius=14, half_angle=52, swept=62))
_WOMEN = ("Albers^Maria", "Fischer^Hanna", "Moreau^Claire", "Olsen^Ingrid", "Rossi^Elena")
_MEN = ("Becker^Thomas", "Garcia^Luis", "Keller^Martin", "Novak^Jan", "Silva^Andre")


@dataclass(frozen=True, kw_only=True)
class _Patient:
    name: str
    id: str
    born: str
    sex: str


def demo_archive(seed: int = 0, count: int = 1) -> list[DemoStudy]:
    """Return the studies of `count` times four patients; the same for the same arguments.

    The first study is the mammography exam; its prior exam follows.
    """
    return [study for number in range(count) for study in _patients(seed * 1009 + number, number)]


def _patients(seed: int, number: int) -> Iterator[DemoStudy]:
    """Yield the studies of four patients."""

    def patient(place: int, names: Sequence[str], year: int) -> _Patient:
        born = f"{year + number % 7}{1 + (3 * place + number) % 12:02d}{5 + 4 * place:02d}"
        name = names[(2 * number + place // 2) % len(names)]
        sex = "F" if names is _WOMEN else "M"
        return _Patient(name=name, id=f"DEMO-{4 * number + place + 1:03d}", born=born, sex=sex)

    density = "BCAD"[number % 4]
    woman, man = patient(0, _WOMEN, 1966), patient(1, _MEN, 1954)
    yield _exam(
        "mammograms",
        woman,
        "20250312",
        "Mammography, screening",
        mammogram_study(seed, 0.25, density),
    )
    yield _exam(
        "prior exam",
        woman,
        "20230308",
        "Mammography, screening",
        mammogram_study(seed, 0.25, density, years_before=2),
    )
    frames = [
        breast_frame(seed * 11 + own, (384, 512), own != 5, _LINEAR_ARRAY) for own in (8, 2, 5)
    ]
    yield _exam(
        "stills",
        woman,
        "20250226",
        "Ultrasound, left breast",
        stills_study("stills", seed, frames, "Left breast, B-mode"),
    )
    for months, date in ((8, "20250224"), (0, "20240621")):
        yield _exam("MR" if months else "prior MR", man, date, "MR, prostate", _mr(seed, months))
    yield _exam("CT", man, "20240605", "CT, pelvis", _ct(seed))
    yield _exam(
        "3D ultrasound",
        man,
        "20240618",
        "Ultrasound, transrectal",
        ultrasound_volume_study(seed + 2, (56, 128, 168), (1.0, 0.45, 0.45), _ENDOCAVITY),
    )
    yield _exam(
        "microscopy", man, "20240702", "Microscopy, biopsy", pictures_study("microscopy", seed)
    )
    limb = patient(2, _MEN, 1985)
    nerves = [nerve_frame(seed * 5 + i, (420, 580), i == 0, _LINEAR_ARRAY) for i in range(2)]
    yield _exam(
        "stills + loop",
        limb,
        "20250117",
        "Ultrasound, median nerve",
        stills_study("nerve", seed, nerves, "Forearm, transverse"),
        cine_study(seed, 24, (320, 400), _LINEAR_ARRAY),
    )
    mother = patient(3, _WOMEN, 1993)
    heads = [fetal_frame(seed * 7 + i, scanner=_CURVED_ARRAY) for i in range(2)]
    yield _exam(
        "fetal heads",
        mother,
        "20241204",
        "Ultrasound, obstetric",
        stills_study("fetal", seed, heads, "Fetal head, biometry"),
    )


def _exam(
    kind: str, patient: _Patient, date: str, description: str, *parts: DemoStudy
) -> DemoStudy:
    """Return what one patient was examined with on one day, as one study."""
    study = parts[0].study
    series = [uid for part in parts for uid in part.series]
    for data in (data for part in parts for data in part.datasets):
        data.PatientName, data.PatientID = patient.name, patient.id
        data.PatientBirthDate, data.PatientSex = patient.born, patient.sex
        data.PatientComments = "Synthetic images; this person does not exist"
        data.StudyInstanceUID, data.StudyDescription = study, description
        data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = date
        data.StudyID = data.AccessionNumber = f"{patient.id[5:]}{date[2:6]}{data.Modality}"
        data.SeriesNumber = series.index(str(data.SeriesInstanceUID)) + 1
        data.InstitutionName = "Demo archive"
    return replace(
        parts[0],
        kind=kind,
        datasets=tuple(data for part in parts for data in part.datasets),
        truth={uid: label for part in parts for uid, label in part.truth.items()},
        pixels={uid: pixels for part in parts for uid, pixels in part.pixels.items()},
    )


def _mr(seed: int, months: int) -> DemoStudy:
    """Return T2-weighted slices through the prostate, tilted as along the rectum."""
    scan = pelvis_scan(seed, "MR", months=months)
    low, high = np.percentile(scan.image, _SHOWN)
    tilt = np.radians(8)
    return slices_study(
        MRImageStorage,
        (f"mr {months}", "MR", seed),
        scan.image,
        scan,
        ((1.0, 0.0, 0.0), (0.0, float(np.cos(tilt)), float(np.sin(tilt)))),
        _corner(scan),
        ImageType=["ORIGINAL", "PRIMARY", "M", "SE"],
        ScanningSequence="SE",
        SequenceVariant="SK",
        ScanOptions="",
        MRAcquisitionType="2D",
        EchoTime="101",
        EchoTrainLength="16",
        RepetitionTime="4200",
        MagneticFieldStrength="3",
        BodyPartExamined="PROSTATE",
        PatientPosition="HFS",
        SeriesDescription="T2 TSE axial",
        WindowCenter=decimals([(low + high) / 2]),
        WindowWidth=decimals([high - low]),
    )


def _ct(seed: int) -> DemoStudy:
    """Return axial slices through the pelvis; `pixels` are in Hounsfield units."""
    scan = pelvis_scan(seed, "CT", (32, 256, 288), (3.0, 1.4, 1.4))
    stored = (scan.image - np.int16(_AIR)).astype(np.uint16)
    return slices_study(
        CTImageStorage,
        ("ct pelvis", "CT", seed),
        stored,
        scan,
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        _corner(scan),
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        PatientPosition="HFS",
        KVP="120",
        AcquisitionNumber="1",
        BodyPartExamined="PELVIS",
        RescaleIntercept=str(_AIR),
        RescaleSlope="1",
        RescaleType="HU",
        SeriesDescription="Pelvis, soft tissue",
        WindowCenter=str(TISSUE_WINDOW[0]),
        WindowWidth=str(TISSUE_WINDOW[1]),
    )


def _corner(scan: Scan) -> tuple[float, float, float]:
    """Return where the first pixel lies for the middle of the grid to be at 0, mm: x, y, z."""
    z, y, x = (-(n - 1) / 2 * step for n, step in zip(scan.image.shape, scan.spacing, strict=True))
    return x, y, z
