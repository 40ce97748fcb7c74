"""DICOM instances that the phantoms share: their UIDs follow from what is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    VLMicroscopicImageStorage,
    VLPhotographicImageStorage,
    VLSlideCoordinatesMicroscopicImageStorage,
    generate_uid,
)

_SINGLE_FRAME = (
    *(CTImageStorage, MRImageStorage, UltrasoundImageStorage, SecondaryCaptureImageStorage),
    *(VLMicroscopicImageStorage, VLPhotographicImageStorage),
    VLSlideCoordinatesMicroscopicImageStorage,
)


def uid(*names: object) -> str:
    """Return a UID that is the same for the same names."""
    return str(generate_uid(entropy_srcs=list(map(str, names))))


def decimals(values: Iterable[float]) -> list[str]:
    """Return numbers as decimal strings, which DICOM limits to 16 characters."""
    return [f"{value:.10g}"[:16] for value in values]


def new_instance(sop_class: str, instance_uid: str) -> Any:
    """Return an instance in explicit little endian that has its SOP class and UID only."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data: Any = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = sop_class, instance_uid
    return data


def study_uid(name: str, seed: int, *names: object) -> str:
    """Return a UID within the phantom study of that kind and seed."""
    return uid("archive phantom", name, seed, *names)


def image_instance(
    sop_class: str,
    modality: str,
    key: tuple[str, int, int, int],
    pixels: np.ndarray,
    **tags: Any,
) -> Any:
    """Return grey `(frames, rows, columns)` or RGB `(frames, rows, columns, 3)` as an instance.

    Args:
        key: kind of study, seed, series and instance; the UIDs follow from them.
        pixels: of 8 or 16 bit.
        tags: further attributes, by keyword.
    """
    name, seed, series, number = key
    data = new_instance(sop_class, study_uid(name, seed, "series", series, "image", number))
    data.PatientName, data.PatientID = f"Phantom^{name}-{seed}", f"PHANTOM-{name}-{seed}"
    data.PatientBirthDate, data.PatientSex = "19700101", "O"
    data.StudyInstanceUID = study_uid(name, seed, "study")
    data.StudyID, data.AccessionNumber = str(seed), f"{name[:6]}{seed}"
    data.StudyDate = data.SeriesDate = data.ContentDate = data.AcquisitionDate = "20200102"
    data.StudyTime = data.SeriesTime = data.ContentTime = data.AcquisitionTime = "120000"
    data.StudyDescription = f"Phantom: {name}"
    data.ReferringPhysicianName = ""
    data.Manufacturer, data.ManufacturerModelName = "Phantom", "Phantom"
    data.SeriesInstanceUID, data.SeriesNumber = study_uid(name, seed, "series", series), series
    data.InstanceNumber, data.Modality = number + 1, modality
    data.PatientOrientation = ""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 4:
        data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = 0
    data.LossyImageCompression, data.BurnedInAnnotation = "00", "NO"
    if sop_class not in _SINGLE_FRAME:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[1:3]
    for tag, value in tags.items():
        setattr(data, tag, value)
    content = np.ascontiguousarray(pixels).tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    return data
