"""Phantom studies as DICOM, one function for each kind of study, with their true labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedUSVolumeStorage,
    MRImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from lib.dicom.objects import item
from lib.phantoms.dicom_objects import decimals, image_instance, study_uid
from lib.phantoms.dicom_study import DemoStudy, one_series, slices_study
from lib.phantoms.mammograms.dicom import mammogram_dataset
from lib.phantoms.mammograms.exams import exam_phantom
from lib.phantoms.ultrasound.formation import Scanner
from lib.phantoms.ultrasound.look import USUAL, Look
from lib.phantoms.ultrasound.studies import Phantom, breast_frame, cine, gland_volume

_MS_PER_FRAME = 40
_AIR = -1024  # Hounsfield units of a stored 0


def demo_studies(seed: int = 0, count: int = 1, scale: float = 0.125) -> list[DemoStudy]:
    """Return `count` studies of each kind; the same for the same arguments.

    Args:
        scale: of the mammograms, 1 is full size; ultrasound has four times that scale, at most 1.
    """
    studies = []
    for number in range(count):
        key = seed * 1009 + number
        side = max(int(min(4 * scale, 1) * 256), 32)
        size = max(side // 4, 16), max(side * 3 // 8, 24), max(side * 3 // 8, 24)
        studies += [
            volume_study(key, size),
            ultrasound_volume_study(key, size),
            frame_study(key, (side, side + side // 4)),
            cine_study(key, max(side // 16, 6), (side, side)),
            mammogram_study(key, scale),
        ]
    return studies


def volume_study(seed: int, size: tuple[int, int, int] = (64, 96, 96)) -> DemoStudy:
    """Return a gland as oblique MR slices: one instance each, with its position, in mixed order."""
    phantom = gland_volume(seed, size)
    return slices_study(
        MRImageStorage,
        ("volume", "MR", seed),
        phantom.image,
        phantom,
        ((0.96, 0.28, 0.0), (0.0, 0.0, -1.0)),
        ImageType=["DERIVED", "SECONDARY", "OTHER"],
        ScanningSequence="RM",
        SequenceVariant="NONE",
        ScanOptions="",
        MRAcquisitionType="3D",
        EchoTime="90",
        EchoTrainLength="1",
        RepetitionTime="2000",
        SeriesDescription="Gland phantom, MR slices",
        WindowCenter="100",
        WindowWidth="200",
    )


def ct_study(seed: int, size: tuple[int, int, int] = (64, 96, 96)) -> DemoStudy:
    """Return a gland as axial CT slices in mixed order; `pixels` are in Hounsfield units."""
    phantom = gland_volume(seed + 700_001, size)
    stored = phantom.image.astype(np.uint16) * 8
    study = slices_study(
        CTImageStorage,
        ("ct", "CT", seed),
        stored,
        phantom,
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        PatientPosition="HFS",
        KVP="120",
        AcquisitionNumber="1",
        RescaleIntercept=str(_AIR),
        RescaleSlope="1",
        RescaleType="HU",
        SeriesDescription="Gland phantom, CT slices",
        WindowCenter="0",
        WindowWidth="2048",
    )
    return replace(study, pixels={study.series[0]: stored.astype(np.int16) + np.int16(_AIR)})


def ultrasound_volume_study(
    seed: int,
    size: tuple[int, int, int] = (64, 96, 96),
    spacing: tuple[float, float, float] = (1.0, 0.6, 0.6),
    look: Look = USUAL,
) -> DemoStudy:
    """Return a gland as Enhanced US Volume: frames in the probe's own coordinates.

    Args:
        size, spacing, look: see `gland_volume`.
    """
    phantom = gland_volume(seed + 500_009, size, spacing, look)
    step = phantom.spacing[0]
    frames = [
        item(
            PlanePositionVolumeSequence=[item(ImagePositionVolume=[0.0, 0.0, index * step])],
            FrameContentSequence=[
                item(StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[index + 1])
            ],
        )
        for index in range(len(phantom.image))
    ]
    measures = item(PixelSpacing=decimals(phantom.spacing[1:]), SliceThickness=f"{step:g}")
    data = image_instance(
        EnhancedUSVolumeStorage,
        "US",
        ("volume_us", seed, 1, 0),
        phantom.image,
        FrameOfReferenceUID=study_uid("volume_us", seed, "frame of reference"),
        SharedFunctionalGroupsSequence=[item(PixelMeasuresSequence=[measures])],
        PerFrameFunctionalGroupsSequence=frames,
        SeriesDescription="Gland, 3D",
        ImageType=["DERIVED", "PRIMARY", "VOLUME", "NONE"],
    )
    return one_series("volume_us", [data], phantom)


def frame_study(seed: int, size: tuple[int, int] = (256, 320)) -> DemoStudy:
    """Return one ultrasound frame of a breast with a lesion, without a position in the patient."""
    return stills_study("frame", seed, [breast_frame(seed, size)], "Breast phantom, one frame")


def stills_study(
    kind: str, seed: int, phantoms: Sequence[Phantom], description: str, **tags: Any
) -> DemoStudy:
    """Return ultrasound frames as the stills of one series.

    Args:
        tags: further attributes of each instance, by keyword.
    """
    datasets = [
        image_instance(
            UltrasoundImageStorage,
            "US",
            (kind, seed, 1, number),
            phantom.image[None],
            ImageType=["ORIGINAL", "PRIMARY", "", "0001"],
            SequenceOfUltrasoundRegions=[_region(phantom)],
            SeriesDescription=description,
            **tags,
        )
        for number, phantom in enumerate(phantoms)
    ]
    if len(datasets) == 1:
        return one_series(kind, datasets, phantoms[0])
    by_uid = {str(d.SOPInstanceUID): p for d, p in zip(datasets, phantoms, strict=True)}
    return DemoStudy(
        kind=kind,
        datasets=tuple(datasets),
        truth={uid: phantom.label for uid, phantom in by_uid.items()},
        pixels={uid: phantom.image for uid, phantom in by_uid.items()},
    )


def cine_study(
    seed: int,
    frames: int = 16,
    size: tuple[int, int] = (256, 256),
    scanner: Scanner | None = None,
) -> DemoStudy:
    """Return an ultrasound loop of a nerve over time; see `cine`."""
    phantom = cine(seed, frames, size, scanner=scanner)
    data = image_instance(
        UltrasoundMultiFrameImageStorage,
        "US",
        ("cine", seed, 1, 0),
        phantom.image,
        FrameTime=str(_MS_PER_FRAME),
        FrameIncrementPointer=0x00181063,
        ImageType=["ORIGINAL", "PRIMARY", "", "0001"],
        SequenceOfUltrasoundRegions=[_region(phantom)],
        SeriesDescription="Nerve, a loop",
    )
    return one_series("cine", [data], phantom)


def mammogram_study(
    seed: int, scale: float = 0.125, density: str | None = None, years_before: int = 0
) -> DemoStudy:
    """Return an exam of four views, each a series; `years_before` an exam, the prior one."""
    exam = exam_phantom(seed, 0, scale, density, years_before)
    views = enumerate(exam.views)
    datasets = tuple(mammogram_dataset(view, seed, years_before, i) for i, view in views)
    by_series = {str(d.SeriesInstanceUID): v for d, v in zip(datasets, exam.views, strict=True)}
    return DemoStudy(
        kind="mammograms",
        datasets=datasets,
        truth={series: view.dense.astype(np.uint8) for series, view in by_series.items()},
        pixels={series: view.pixels for series, view in by_series.items()},
        density=exam.density,
    )


def _region(phantom: Phantom) -> Dataset:
    """Return an ultrasound region that is the whole image, with its spacing in cm."""
    rows, columns = phantom.image.shape[-2:]
    return item(
        RegionSpatialFormat=1,
        RegionDataType=1,
        RegionFlags=0,
        RegionLocationMinX0=0,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=columns - 1,
        RegionLocationMaxY1=rows - 1,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        PhysicalDeltaX=phantom.spacing[-1] / 10,
        PhysicalDeltaY=phantom.spacing[-2] / 10,
    )
