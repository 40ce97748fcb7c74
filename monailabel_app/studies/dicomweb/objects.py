"""DICOM objects of the images of a folder: their attributes as JSON, and whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from lib.dicom.objects import MANUFACTURER
from lib.dicom.web import dicom_json
from lib.io.shown_frames import ShownFrames
from monailabel_app.studies.dicomweb.images import ListedImage

_LONGEST = 64  # signs of a name or a description
_TEXTS = str.maketrans({"\\": "/", "^": " ", "=": "-", "\n": " ", "\r": " "})
_STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("AccessionNumber", "StudyID", "ReferringPhysicianName"),
)
# of a DICOM file: what it may lack, or be told otherwise
_SET = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientName"),
    *("StudyDescription", "Modality", "SeriesNumber", "InstanceNumber"),
)


def as_text(value: str) -> str:
    """Return a text as a name or description of DICOM: without separators, not too long."""
    return value.translate(_TEXTS)[:_LONGEST].strip()


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes by keyword in the JSON of DICOMweb."""
    told: dict[str, Any] = {}
    for keyword, value in values.items():
        tag, element = _element(keyword, tuple(value) if isinstance(value, list) else value)
        told[tag] = element
    return dict(sorted(told.items()))


@lru_cache(maxsize=1 << 16)  # thousands of rows of a list have most of their values in common
def _element(keyword: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Return the tag and the JSON of an attribute, which nobody changes."""
    data = pydicom.Dataset()
    setattr(data, keyword, list(value) if isinstance(value, tuple) else value)
    [(tag, element)] = data.to_json_dict().items()
    return tag, element


def study_values(image: ListedImage, description: str) -> dict[str, Any]:
    """Return the attributes of patient and study by keyword."""
    values = {tag: as_text(image.facts.get(tag, "")) for tag in _STUDY}
    if image.is_dicom:
        values["PatientName"] = image.facts["PatientName"]
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        **values,
        "StudyInstanceUID": image.study,
        "StudyDescription": as_text(description),
    }


def series_values(image: ListedImage) -> dict[str, Any]:
    """Return the attributes of a series by keyword."""
    return {
        "Modality": image.facts.get("Modality", ""),
        "SeriesInstanceUID": image.series,
        "SeriesNumber": image.facts.get("SeriesNumber") or None,
        "SeriesDescription": as_text(image.facts.get("SeriesDescription", "")),
    }


def instance_values(image: ListedImage, number: int) -> dict[str, Any]:
    """Return the attributes of an instance by keyword.

    Args:
        number: of the instance in its image, from 0.
    """
    own = int(image.facts.get("InstanceNumber") or 0) if image.is_dicom else 0
    return {
        "SOPClassUID": image.facts.get("SOPClassUID") or None,
        "SOPInstanceUID": image.instances[number],
        "InstanceNumber": own or number + 1,
        "NumberOfFrames": image.frames,
        "Columns": image.size[0],
        "Rows": image.size[1],
    }


def metadata(image: ListedImage, description: str, frames: ShownFrames | None) -> Iterator[Any]:
    """Yield the attributes of each instance of an image, without pixels, as JSON of DICOMweb.

    Args:
        frames: of the image; DICOM files need none.
    """
    if image.is_dicom:
        told = {
            **study_values(image, description),
            **series_values(image),
            **instance_values(image, 0),
        }
        found = json.loads(dicom_json(image.path))
        yield {**found, **as_json({key: told[key] for key in _SET})}
        return
    assert frames is not None
    common = as_json(_common_values(image, description, frames))
    for number in range(len(image.instances)):
        yield {**common, **as_json(_own_values(image, number, frames))}


def instance(image: ListedImage, number: int, description: str, frames: ShownFrames) -> bytes:
    """Return an instance that is made of a picture or of a slice of a volume, whole."""
    meta = FileMetaDataset()
    values = {
        **_common_values(image, description, frames),
        **_own_values(image, number, frames),
    }
    meta.MediaStorageSOPClassUID = values["SOPClassUID"]
    meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    pixels = bytes(frame_bytes(frames, number))
    data.PixelData = pixels + b"\0" * (len(pixels) % 2)
    data["PixelData"].VR = "OB" if frames.pixels.itemsize == 1 else "OW"
    content = io.BytesIO()
    pydicom.dcmwrite(content, data, enforce_file_format=True)
    return content.getvalue()


def frame_bytes(frames: ShownFrames, number: int) -> memoryview:
    """Return the values of a frame, from 0, row by row in little endian."""
    frame = frames.pixels[number]
    values = np.ascontiguousarray(frame, frame.dtype.newbyteorder("<"))
    return values.reshape(-1).view(np.uint8).data


def _common_values(image: ListedImage, description: str, frames: ShownFrames) -> dict[str, Any]:
    """Return the attributes that all instances of a picture or a volume share, by keyword."""
    pixels = frames.pixels
    bits = 8 * pixels.itemsize
    values: dict[str, Any] = {
        **study_values(image, description),
        **series_values(image),
        "SOPClassUID": image.facts["SOPClassUID"],
        "Manufacturer": MANUFACTURER,
        "ConversionType": "WSD",
        "ImageType": ["DERIVED", "SECONDARY"],
        "PatientOrientation": None,
        "BurnedInAnnotation": "NO",
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": 3 if frames.colour else 1,
        "PhotometricInterpretation": "RGB" if frames.colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if frames.colour:
        values["PlanarConfiguration"] = 0
    if frames.window:
        values["WindowCenter"], values["WindowWidth"] = map(_decimal, frames.window)
        values["RescaleSlope"] = _decimal(frames.slope)
        values["RescaleIntercept"] = _decimal(frames.intercept)
    if image.view:
        values["ImageLaterality"], values["ViewPosition"] = image.view.split("-")
        values["PresentationIntentType"] = "FOR PRESENTATION"
    grid = frames.geometry
    if frames.volume or any(side != 1 for side in grid.spacing[:2]):
        values["PixelSpacing"] = [_decimal(grid.spacing[1]), _decimal(grid.spacing[0])]
    if frames.volume:
        along = np.reshape(grid.direction, (3, 3))
        values["ImageOrientationPatient"] = [*map(_decimal, (*along[:, 0], *along[:, 1]))]
        values["SliceThickness"] = _decimal(grid.spacing[2])
        values["FrameOfReferenceUID"] = image.space
        values["PositionReferenceIndicator"] = None
    return values


def _own_values(image: ListedImage, number: int, frames: ShownFrames) -> dict[str, Any]:
    """Return the attributes of one instance of a picture or a volume, by keyword."""
    values = {"SOPInstanceUID": image.instances[number], "InstanceNumber": number + 1}
    if frames.volume:
        grid = frames.geometry
        step = np.reshape(grid.direction, (3, 3))[:, 2] * grid.spacing[2]
        position = np.array(grid.origin) + number * step
        values["ImagePositionPatient"] = [*map(_decimal, position)]
    return values


def _decimal(value: float) -> str:
    """Return a number as a decimal string, which has at most 16 signs."""
    return next(
        text for digits in range(16, 5, -1) if len(text := f"{value + 0.0:.{digits}g}") <= 16
    )
