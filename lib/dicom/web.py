"""What DICOMweb tells of a DICOM file: who and what it is, and its attributes as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pydicom

from lib.dicom.header import (
    bits_stored,
    frame_count,
    is_signed,
    open_dicom,
    photometric,
    sample_count,
    tag_value,
)
from lib.dicom.palette import PALETTE_TAGS
from lib.isolation.calls import isolated

MOST_INLINE = 1 << 18  # bytes of a value in the JSON of a file; larger ones are left out
IDENTITY = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"),
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("AccessionNumber", "StudyID", "StudyDescription", "SeriesDescription"),
    *("ReferringPhysicianName", "PhotometricInterpretation", "ImagePositionPatient"),
)
_NUMBERS = ("SeriesNumber", "InstanceNumber", "NumberOfFrames", "Rows", "Columns")


@isolated(remember=True)
def dicom_identity(path: Path) -> dict[str, str]:
    """Return the attributes of `IDENTITY` and some numbers as text; "" for those it lacks.

    Raises:
        InputError: not DICOM, or without an image.
    """
    data = open_dicom(path, header_only=True)
    found = {tag: str(tag_value(data, tag) or "").strip() for tag in IDENTITY}
    for tag in _NUMBERS:
        text = str(tag_value(data, tag) or "").strip()
        found[tag] = text if text.isdecimal() and len(text) < 10 else ""
    return {**found, "NumberOfFrames": str(frame_count(data))}


@isolated()
def dicom_json(path: Path) -> str:
    """Return the attributes of a file, but its pixels, as the JSON object of DICOMweb.

    They describe the pixels as `lib.io.shown_frames` gives them: uncompressed, palettes as RGB.

    Raises:
        InputError: not DICOM, or without an image.
    """
    data = open_dicom(path, header_only=True)
    for tag in PALETTE_TAGS:
        if tag in data:
            del data[tag]
    coloured = sample_count(data) == 3 or photometric(data) == "PALETTE COLOR"
    data.SamplesPerPixel = 3 if coloured else 1
    if coloured:
        data.PhotometricInterpretation, data.PlanarConfiguration = "RGB", 0
        data.BitsAllocated, data.BitsStored, data.PixelRepresentation = 8, 8, 0
    elif data.get("BitsAllocated") in (8, 16):
        data.BitsStored, data.PixelRepresentation = bits_stored(data), int(is_signed(data))
    elif data.get("BitsAllocated") == 1:  # a byte for each of them
        data.BitsAllocated, data.BitsStored, data.PixelRepresentation = 8, 8, 0
        data.WindowCenter, data.WindowWidth = 0.5, 1
    else:  # of other bits the values in 16 bit are shown
        data.BitsAllocated = data.BitsStored = 16
        data.PixelRepresentation = 0
    data.HighBit = int(data.BitsStored) - 1
    return json.dumps(_finite(_as_json(data)))


def _as_json(data: pydicom.Dataset) -> dict[str, Any]:
    """Return a dataset in the JSON of DICOMweb, without what is large or malformed."""
    found: dict[str, Any] = {}
    for tag in data.keys():  # noqa: SIM118 - the values are parsed one by one
        try:
            element = data[tag]
            if element.VR in ("OB", "OW", "OF", "OD", "OL", "OV", "UN"):
                if len(element.value or b"") > MOST_INLINE:
                    continue
            found[f"{int(tag):08X}"] = element.to_json_dict(None, MOST_INLINE)
        except Exception:  # pydicom raises many types for values that their tag does not allow
            continue
    return found


def _finite(value: Any) -> Any:
    """Return JSON without numbers that it cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
