"""What segmentations and reports share as DICOM objects: who made them, and whose they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pydicom

from lib.dicom.pixels import tag_value
from lib.files import write_atomically

Coded = tuple[str, str, str]  # value, scheme, meaning

MANUFACTURER = "monailabel-unet-vnet"
MODEL_NAME = "U-Net and V-Net family"
UTF_8 = "ISO_IR 192"
_STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
_COPIED = (
    *("StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "IssuerOfPatientID"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    "LongitudinalTemporalInformationModified",
)


@dataclass(frozen=True)
class Author:
    """Who made an answer: a model, a person, or a person who corrected a model.

    Attributes:
        model: name of the task; empty of a label drawn by hand.
        version: of the model's weights.
        person: name as DICOM writes it (``Family^Given``); empty where nobody looked at it.
        software: version of the app.
    """

    model: str = ""
    version: str = ""
    person: str = ""
    software: str = "unversioned"

    def __post_init__(self) -> None:
        """Reject an answer of nobody."""
        if not (self.model or self.person):
            raise ValueError("an author needs a model or a person")

    @property
    def algorithm_type(self) -> str:
        """AUTOMATIC, SEMIAUTOMATIC (a person corrected a model) or MANUAL."""
        if not self.model:
            return "MANUAL"
        return "SEMIAUTOMATIC" if self.person else "AUTOMATIC"


def common_arguments(
    source: pydicom.Dataset, author: Author, description: str, series_step: int
) -> dict[str, Any]:
    """Return what highdicom's objects want to know of patient, study, series and equipment.

    Values of the source that DICOM does not allow are left out, so that none of them can keep a
    label from being stored.

    Args:
        series_step: added to 100 times the series number of the source.
    """
    try:
        number = max(int(tag_value(source, "SeriesNumber") or 0), 0)
    except (TypeError, ValueError):
        number = 0
    return {
        "series_instance_uid": pydicom.uid.generate_uid(prefix=None),
        "series_number": 100 * min(number, 10**7) + series_step,
        "series_description": description[:64],
        "sop_instance_uid": pydicom.uid.generate_uid(prefix=None),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": author.software[:64] or "unversioned",
        "device_serial_number": "1",
    }


def subject(source: pydicom.Dataset) -> pydicom.Dataset:
    """Return patient and study of an image, type 2 attributes empty where it has none."""
    from pydicom.valuerep import DA, TM

    found = pydicom.Dataset()
    for tag in (*_STUDY, "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(found, tag, tag_value(source, tag) or None)
    for tag in ("PatientName", "ReferringPhysicianName"):
        setattr(found, tag, str(tag_value(source, tag) or ""))
    if found.PatientSex not in ("M", "F", "O"):
        found.PatientSex = None
    for tag, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(getattr(found, tag))
        except (TypeError, ValueError):
            setattr(found, tag, None)
    for tag in _COPIED:
        if (value := tag_value(source, tag)) not in (None, ""):
            setattr(found, tag, value)
    found.SOPClassUID, found.SOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    found.SeriesInstanceUID = source.SeriesInstanceUID
    return found


def stamp(data: pydicom.Dataset, source: pydicom.Dataset, when: datetime | None = None) -> None:
    """Complete patient and study of `data`, and write its time, as UTC, and character set."""
    for tag in _COPIED:
        if tag in source:
            data[tag] = source[tag]
    moment = (when or datetime.now(timezone.utc)).astimezone(timezone.utc)
    data.SpecificCharacterSet = UTF_8
    data.TimezoneOffsetFromUTC = "+0000"
    for kind in ("Content", "InstanceCreation", "Series"):
        setattr(data, f"{kind}Date", moment.strftime("%Y%m%d"))
        setattr(data, f"{kind}Time", moment.strftime("%H%M%S.%f"))


def written_at(data: pydicom.Dataset) -> datetime:
    """Return the time of the content, with a time zone; where it tells none, of this machine's."""
    date = str(tag_value(data, "ContentDate") or "")
    time = str(tag_value(data, "ContentTime") or "").split(".")
    fraction = (time[1] if len(time) > 1 else "").ljust(6, "0")[:6]
    zone = str(tag_value(data, "TimezoneOffsetFromUTC") or "").strip()
    try:
        when = datetime.strptime(f"{date}{time[0].ljust(6, '0')}{fraction}", "%Y%m%d%H%M%S%f")
        if zone:
            return when.replace(tzinfo=datetime.strptime(zone, "%z").tzinfo)
        return when.astimezone()
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)  # without a time it never counts as newer


def save(data: pydicom.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a DICOM file, whole or not at all."""
    return write_atomically(
        Path(path), lambda file: pydicom.dcmwrite(file, data, write_like_original=False)
    )


def reference(data: pydicom.Dataset) -> pydicom.Dataset:
    """Return an item that refers to an instance."""
    return item(
        ReferencedSOPClassUID=data.SOPClassUID, ReferencedSOPInstanceUID=data.SOPInstanceUID
    )


def coded(code: Coded) -> Any:
    """Return a code as highdicom takes it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def code_item(code: Coded) -> pydicom.Dataset:
    """Return the item of a code sequence."""
    value, scheme, meaning = code
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def item(**tags: Any) -> pydicom.Dataset:
    """Return an item of a sequence."""
    made = pydicom.Dataset()
    for tag, value in tags.items():
        setattr(made, tag, value)
    return made
