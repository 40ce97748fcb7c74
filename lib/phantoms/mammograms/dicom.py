"""Phantom mammograms as DICOM objects: Digital Mammography X-Ray Image, For Presentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lib.phantoms.mammograms.phantom import MammogramPhantom

_VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
# where rows lead to and columns: anterior or posterior, and foot (oblique) or the inner side
_ORIENTATIONS = {
    ("R", "CC"): ["P", "L"],
    ("L", "CC"): ["A", "R"],
    ("R", "MLO"): ["P", "FL"],
    ("L", "MLO"): ["A", "FR"],
}


def dataset(phantom: MammogramPhantom, number: tuple[int, int, int]) -> Any:
    """Return the dataset of a view.

    Args:
        number: seed, exam and view; patient, study, series and instance UIDs follow from them.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    seed, exam, index = number
    key = ["mammogram phantom", str(seed), str(exam)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*key, "image", str(index)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    _patient_and_study(data, key, generate_uid(entropy_srcs=[*key, "study"]))
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[*key, "series", str(index)])
    data.SeriesNumber = data.InstanceNumber = index + 1
    _acquisition(data, phantom)
    _pixels(data, phantom)
    return data


def _patient_and_study(data: Any, key: list[str], study: str) -> None:
    data.PatientName = f"Phantom^{key[1]}-{key[2]}"
    data.PatientID = f"PHANTOM-{key[1]}-{key[2]}"
    data.PatientBirthDate, data.PatientSex = "19600101", "F"
    data.StudyInstanceUID = study
    data.StudyDate = data.ContentDate = data.AcquisitionDate = "20200101"
    data.StudyTime = data.ContentTime = data.AcquisitionTime = "120000"
    data.StudyID, data.AccessionNumber = key[2], f"{key[1]}{int(key[2]):05d}"
    data.ReferringPhysicianName = ""


def _acquisition(data: Any, phantom: MammogramPhantom) -> None:
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
    data.ViewCodeSequence = [_code(code, "SCT", meaning)]
    data.ViewCodeSequence[0].ViewModifierCodeSequence = []
    data.AnatomicRegionSequence = [_code("76752008", "SCT", "Breast")]
    data.AcquisitionContextSequence = []
    data.BreastImplantPresent = "NO"
    data.DetectorType, data.DetectorID = "DIRECT", detector.name[:16]
    data.KVP, data.AnodeTargetMaterial = "28", "TUNGSTEN"
    data.ImagerPixelSpacing = [f"{phantom.spacing:.6g}"] * 2
    data.EstimatedRadiographicMagnificationFactor = "1.07"


def _pixels(data: Any, phantom: MammogramPhantom) -> None:
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


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
