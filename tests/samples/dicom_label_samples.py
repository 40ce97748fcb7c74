"""Small DICOM images of every kind that labels are stored for, complete enough for validators."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedUSVolumeStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

ROWS, COLUMNS = 9, 13  # 117 pixels: frames end within bytes
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
SPACING = (0.7, 0.9)
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"


def uid(*names: object) -> str:
    return generate_uid(entropy_srcs=["label samples", *map(str, names)])


def image(kind: str, modality: str, frames: int | None = None, name: str = "", **tags) -> Dataset:
    """Return an image of noise; `frames` of None is a class of single frames."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = uid(kind, name, "instance")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID = "Muster^Änne", "P-1"
    data.SpecificCharacterSet = "ISO_IR 100"
    data.PatientBirthDate, data.PatientSex = "19600101", "F"
    data.StudyInstanceUID, data.StudyID, data.AccessionNumber = uid("study"), "1", "A-1"
    data.StudyDate, data.StudyTime = "20200101", "120000"
    data.ReferringPhysicianName = ""
    data.SeriesInstanceUID, data.SeriesNumber = uid(kind, "series"), 3
    data.InstanceNumber, data.Modality = 1, modality
    data.ContentDate, data.ContentTime = "20200101", "120000"
    data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    count = frames or 1
    if frames is not None:
        data.NumberOfFrames = frames
    for tag, value in tags.items():
        setattr(data, tag, value)
    sides = (count, data.Rows, data.Columns)
    noise = np.random.default_rng(8).integers(0, 200, sides, dtype=np.uint8)
    data.PixelData = noise.tobytes() + b"\0" * (noise.size % 2)
    data["PixelData"].VR = "OB"
    return data


def us_frame() -> Dataset:
    return image(UltrasoundImageStorage, "US")


def us_loop(frames: int = 5) -> Dataset:
    return image(UltrasoundMultiFrameImageStorage, "US", frames, FrameTime="40")


def mammogram() -> Dataset:
    return image(
        MAMMOGRAM,
        "MG",
        ImageLaterality="L",
        ViewPosition="CC",
        PatientOrientation=["A", "R"],
        ImagerPixelSpacing=["0.1", "0.1"],
        PresentationIntentType="FOR PRESENTATION",
    )


def positions(count: int, orientation: Sequence[float] = STRAIGHT, step: float = 2.5) -> np.ndarray:
    """Places of slices one behind the other, `(count, 3)`, mm."""
    normal = np.cross(orientation[:3], orientation[3:])
    return np.array([-31.25, 12.5, 70.0]) + step * np.arange(count)[:, None] * normal


def decimals(values: Sequence[float]) -> list[str]:
    return [f"{value:.10g}"[:16] for value in values]


def series(
    count: int = 5,
    orientation: Sequence[float] = STRAIGHT,
    order: Sequence[int] | None = None,
    modality: str = "CT",
    name: str = "slice",
) -> list[Dataset]:
    """Slices of one series, listed in `order` of their places."""
    kind = CTImageStorage if modality == "CT" else MRImageStorage
    places = positions(count, orientation)
    return [
        image(
            kind,
            modality,
            name=f"{name} {index}",
            InstanceNumber=index + 1,
            FrameOfReferenceUID=uid("frame of reference"),
            PositionReferenceIndicator="",
            ImageOrientationPatient=decimals(orientation),
            ImagePositionPatient=decimals(places[index]),
            PixelSpacing=decimals(SPACING),
            SliceThickness="2.5",
        )
        for index in (range(count) if order is None else order)
    ]


def enhanced(
    count: int = 5,
    orientation: Sequence[float] = STRAIGHT,
    order: Sequence[int] | None = None,
    modality: str = "CT",
) -> Dataset:
    """A volume in one file, whose frames come in `order` of their places."""
    kind = EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage
    places = positions(count, orientation)[list(range(count) if order is None else order)]
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=decimals(SPACING), SliceThickness="2.5")],
        PlaneOrientationSequence=[item(ImageOrientationPatient=decimals(orientation))],
    )
    single = [
        item(PlanePositionSequence=[item(ImagePositionPatient=decimals(place))]) for place in places
    ]
    return image(
        kind,
        modality,
        count,
        FrameOfReferenceUID=uid("frame of reference"),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=single,
    )


def us_volume(count: int = 5) -> Dataset:
    """A 3D ultrasound volume, whose frames lie in the probe's own coordinates."""
    places = [item(ImagePositionVolume=[0.0, 0.0, 0.5 * index]) for index in range(count)]
    return image(
        EnhancedUSVolumeStorage,
        "US",
        count,
        FrameOfReferenceUID=uid("probe"),
        SharedFunctionalGroupsSequence=[
            item(PixelMeasuresSequence=[item(PixelSpacing=["0.5", "0.5"], SliceThickness="0.5")])
        ],
        PerFrameFunctionalGroupsSequence=[
            item(PlanePositionVolumeSequence=[place]) for place in places
        ],
    )


def item(**tags) -> Dataset:
    made = Dataset()
    for tag, value in tags.items():
        setattr(made, tag, value)
    return made


def label(frames: int | None, values: Sequence[int] = (1, 2), seed: int = 3) -> np.ndarray:
    """Blocks of `values` at places that tell all axes and directions apart; one frame is empty."""
    rng = np.random.default_rng(seed)
    made = np.zeros((frames or 1, ROWS, COLUMNS), np.uint8)
    for frame in made:
        for value in values:
            top, left = rng.integers(0, ROWS - 3), rng.integers(0, COLUMNS - 4)
            frame[top : top + 2, left : left + 3] = value
    if len(made) > 2:
        made[1] = 0
    return made if frames else made[0]


def dciodvfy(file: Path) -> list[str]:
    """Errors that the validator of dicom3tools finds in a file; skips where there is none."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy of the Debian package dicom3tools")
    ended = subprocess.run([program, "-new", str(file)], capture_output=True, text=True, timeout=60)
    lines = (ended.stdout + ended.stderr).splitlines()
    assert lines, f"dciodvfy said nothing of {file}"
    return [line for line in lines if line.startswith("Error") or "Abort" in line]


def write(data: Dataset, path: Path) -> Path:
    data.save_as(path, enforce_file_format=True)
    return path
