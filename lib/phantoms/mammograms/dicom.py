"""Phantom mammograms, their detectors, and what these write: Digital Mammography X-Ray Images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from lib.dicom.objects import code_item, save
from lib.mammography.views import View
from lib.phantoms.dicom_objects import new_instance, uid

_VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
# direction of the rows (anterior or posterior) and of the columns (foot in oblique views, or side)
_ORIENTATIONS = {
    ("R", "CC"): ["P", "L"],
    ("L", "CC"): ["A", "R"],
    ("R", "MLO"): ["P", "FL"],
    ("L", "MLO"): ["A", "FR"],
}


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector and what its device writes.

    Attributes:
        name: model name of the device.
        rows, columns: of the full image.
        spacing: of its pixels, mm.
        bits: stored per pixel, of 16 allocated.
        photometric: MONOCHROME1 or MONOCHROME2.
    """

    name: str
    rows: int
    columns: int
    spacing: float
    bits: int
    photometric: str = "MONOCHROME2"


_SELENIA = Detector(name="Selenia Dimensions", rows=4096, columns=3328, spacing=0.07, bits=12)
_SENOGRAPH = Detector(name="Senograph DS", rows=2294, columns=1914, spacing=0.1, bits=12)
DETECTORS = (
    Detector(name="GIOTTO IMAGE SDL", rows=3584, columns=2816, spacing=0.085, bits=14),
    _SELENIA,
    replace(_SENOGRAPH, photometric="MONOCHROME1"),
    replace(_SELENIA, name="Selenia Dimensions, 16 bit", bits=16, photometric="MONOCHROME1"),
)


@dataclass(frozen=True, kw_only=True)
class MammogramPhantom:
    """One view of an exam.

    Attributes:
        pixels: uint16 `(rows, columns)`, larger is denser, 0 in air, as the image hangs: the chest
            wall of a right breast at the right, of a left one at the left.
        dense: bool, the same shape, the fibroglandular area.
        breast: bool, the same shape, the breast without the muscle.
        fraction: dense area over the area of the breast, 0..1.
        spacing: of the pixels, mm.
    """

    pixels: np.ndarray
    dense: np.ndarray
    breast: np.ndarray
    fraction: float
    view: View
    detector: Detector
    spacing: float


def write_mammogram(
    path: Path, phantom: MammogramPhantom, seed: int = 0, number: int = 0, index: int = 0
) -> Path:
    """Write a view as a DICOM file; see `mammogram_dataset`."""
    return save(mammogram_dataset(phantom, seed, number, index), path)


def mammogram_dataset(
    phantom: MammogramPhantom, seed: int = 0, number: int = 0, index: int = 0
) -> Any:
    """Return the dataset of a view, with the attributes of PS3.3 A.26 and C.8.11.

    Args:
        seed: of the phantoms; patient, study, series and instance UIDs follow from it, from
            `number` and from `index`.
        number: of the exam.
        index: of the view.
    """
    key = ("mammogram phantom", seed, number)
    data = new_instance(
        DigitalMammographyXRayImageStorageForPresentation, uid(*key, "image", index)
    )
    data.PatientName, data.PatientID = f"Phantom^{seed}-{number}", f"PHANTOM-{seed}-{number}"
    data.PatientBirthDate, data.PatientSex = "19600101", "F"
    data.StudyInstanceUID = uid(*key, "study")
    data.StudyDate = data.ContentDate = data.AcquisitionDate = "20200101"
    data.StudyTime = data.ContentTime = data.AcquisitionTime = "120000"
    data.StudyID, data.AccessionNumber = str(number), f"{seed}{number:05d}"
    data.ReferringPhysicianName = ""
    data.SeriesInstanceUID = uid(*key, "series", index)
    data.SeriesNumber = data.InstanceNumber = index + 1
    data.SeriesDescription = f"{phantom.view.laterality} {phantom.view.projection}"
    _set_acquisition(data, phantom)
    _set_pixels(data, phantom)
    return data


def _set_acquisition(data: Any, phantom: MammogramPhantom) -> None:
    view, detector = phantom.view, phantom.detector
    assert view.laterality and view.projection
    data.Modality = "MG"
    data.PresentationIntentType = "FOR PRESENTATION"
    data.Manufacturer, data.ManufacturerModelName = "Phantom", detector.name
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.PositionerType = "MAMMOGRAPHIC"
    data.BodyPartExamined = data.OrganExposed = "BREAST"
    data.ImageLaterality, data.ViewPosition = view.laterality, view.projection
    data.PatientOrientation = _ORIENTATIONS[view.laterality, view.projection]
    code, meaning = _VIEW_CODES[view.projection]
    data.ViewCodeSequence = [code_item((code, "SCT", meaning))]
    data.ViewCodeSequence[0].ViewModifierCodeSequence = []
    data.AnatomicRegionSequence = [code_item(("76752008", "SCT", "Breast"))]
    data.AcquisitionContextSequence = []
    data.BreastImplantPresent = "NO"
    data.DetectorType, data.DetectorID = "DIRECT", detector.name[:16]
    data.KVP, data.AnodeTargetMaterial = "28", "TUNGSTEN"
    data.ImagerPixelSpacing = [f"{phantom.spacing:.6g}"] * 2
    data.EstimatedRadiographicMagnificationFactor = "1.07"


def _set_pixels(data: Any, phantom: MammogramPhantom) -> None:
    bits, top = phantom.detector.bits, 2**phantom.detector.bits - 1
    inverse = phantom.detector.photometric == "MONOCHROME1"
    pixels = phantom.pixels
    stored = (top - pixels.astype(np.int32)).astype("<u2") if inverse else pixels.astype("<u2")
    center = 2 ** (bits - 1) - round(0.025 * top)
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, phantom.detector.photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = 0
    data.PixelIntensityRelationship = "LOG"
    data.PixelIntensityRelationshipSign = 1 if inverse else -1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "US"
    data.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    data.WindowCenter = str(top + 1 - center if inverse else center)
    data.WindowWidth = str(round(0.95 * top))
    data.LossyImageCompression, data.BurnedInAnnotation = "00", "NO"
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
