"""What DICOM segmentations and reports share: their author, their patient, reading and writing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pydicom

from lib.dicom.geometry import number
from lib.dicom.header import tag_value
from lib.dicom.parse import parse_file
from lib.errors import InputError
from lib.files import write_atomically

Coded = tuple[str, str, str]  # value, scheme, meaning

MANUFACTURER = "monailabel-unet-vnet"
MODEL_NAME = "U-Net and V-Net family"
_UTF_8 = "ISO_IR 192"
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
        model: name of the task; empty for a label drawn by hand.
        version: of the model's weights.
        person: name as DICOM writes it (``Family^Given``); empty where nobody checked the answer.
        software: version of the app.
    """

    model: str = ""
    version: str = ""
    person: str = ""
    software: str = "unversioned"

    def __post_init__(self) -> None:
        """Reject an author that is neither a model nor a person."""
        if not (self.model or self.person):
            raise ValueError("an author needs a model or a person")

    @property
    def algorithm_type(self) -> str:
        """AUTOMATIC, SEMIAUTOMATIC (a person corrected a model) or MANUAL."""
        if not self.model:
            return "MANUAL"
        return "SEMIAUTOMATIC" if self.person else "AUTOMATIC"


def common_arguments(
    source: pydicom.Dataset, author: Author, content: str, series_step: int
) -> dict[str, Any]:
    """Return the arguments for series, instance and equipment, which highdicom's objects share.

    Args:
        content: what the object holds; the start of its series description.
        series_step: added to 100 times the series number of the source.
    """
    source_number = int(min(max(number(source, "SeriesNumber"), 0), 10**7))
    return {
        "series_instance_uid": pydicom.uid.generate_uid(prefix=None),
        "series_number": 100 * source_number + series_step,
        "series_description": f"{content} ({author.algorithm_type.lower()})"[:64],
        "sop_instance_uid": pydicom.uid.generate_uid(prefix=None),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": author.software[:64] or "unversioned",
        "device_serial_number": "1",
    }


def subject(source: pydicom.Dataset) -> pydicom.Dataset:
    """Return patient and study of an image; type 2 attributes are empty where it has none.

    Values that DICOM does not allow are left out: none of them may keep a label from being stored.
    """
    from pydicom.valuerep import DA, TM

    found = pydicom.Dataset()
    for tag in (*_STUDY, "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(found, tag, tag_value(source, tag) or None)
    for tag in ("PatientName", "ReferringPhysicianName"):
        setattr(found, tag, str(tag_value(source, tag) or ""))
    if found.PatientSex not in ("M", "F", "O"):
        found.PatientSex = None
    for tag, parse in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            parse(getattr(found, tag))
        except (TypeError, ValueError):
            setattr(found, tag, None)
    for tag in _COPIED:
        if (value := tag_value(source, tag)) not in (None, ""):
            setattr(found, tag, value)
    found.SOPClassUID, found.SOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    found.SeriesInstanceUID = source.SeriesInstanceUID
    return found


def stamp(data: pydicom.Dataset, source: pydicom.Dataset, when: datetime | None = None) -> None:
    """Set time (as UTC) and character set of `data`, and more attributes of patient and study.

    Args:
        source: as `subject` returns it.
        when: time of the content; now if None.
    """
    for tag in _COPIED:
        if tag in source:
            data[tag] = source[tag]
    moment = (when or datetime.now(timezone.utc)).astimezone(timezone.utc)
    data.SpecificCharacterSet = _UTF_8
    data.TimezoneOffsetFromUTC = "+0000"
    for entity in ("Content", "InstanceCreation", "Series"):
        setattr(data, f"{entity}Date", moment.strftime("%Y%m%d"))
        setattr(data, f"{entity}Time", moment.strftime("%H%M%S.%f"))


def written_at(data: pydicom.Dataset) -> datetime:
    """Return the time of the content, with its time zone: this machine's where none is given.

    Read by hand: pydicom's DT takes the first part of malformed values for a time.
    """
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


def open_object(
    source: str | os.PathLike[str] | pydicom.Dataset, what: str, sop_classes: tuple[str, ...]
) -> tuple[str, pydicom.Dataset]:
    """Return the name, for messages, and the dataset of a DICOM object.

    Args:
        source: file or dataset.
        what: the object that is expected, for messages.
        sop_classes: beginnings of the SOP class UIDs that are accepted.

    Raises:
        InputError: no such file, not DICOM, or of another SOP class.
    """
    if isinstance(source, pydicom.Dataset):
        name, data = str(tag_value(source, "SOPInstanceUID") or what), source
    else:
        name = Path(source).name
        try:
            data = parse_file(source)
        except FileNotFoundError:
            raise InputError(f"{name}: no such file") from None
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{name}: not a DICOM file ({type(error).__name__}); expected a {what}"
            ) from None
    sop_class = str(tag_value(data, "SOPClassUID") or "")
    if not sop_class.startswith(sop_classes):
        shown = pydicom.uid.UID(sop_class).name or "no class at all"
        raise InputError(f"{name}: {shown}, expected a DICOM {what}; give one")
    return name, data


@contextmanager
def input_errors_only(name: str, what: str) -> Iterator[None]:
    """Turn every error of the body into an `InputError`.

    A file from elsewhere can be wrong in more ways than its reader can list.

    Args:
        name: of the file, for the message.
        what: the object that is read.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise InputError(
            f"{name}: damaged DICOM {what} ({type(error).__name__}: {cause[0][:160]}); store it "
            f"again"
        ) from None


def save(data: pydicom.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a DICOM file, whole or not at all."""
    return write_atomically(
        Path(path), lambda file: pydicom.dcmwrite(file, data, enforce_file_format=True)
    )


def reference(data: pydicom.Dataset) -> pydicom.Dataset:
    """Return an item that refers to the instance `data`."""
    return item(
        ReferencedSOPClassUID=data.SOPClassUID, ReferencedSOPInstanceUID=data.SOPInstanceUID
    )


def coded(code: Coded) -> Any:
    """Return a code as highdicom takes it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def code_item(code: Coded) -> pydicom.Dataset:
    """Return a code as item of a code sequence, without importing highdicom."""
    value, scheme, meaning = code
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def item(**tags: Any) -> pydicom.Dataset:
    """Return an item of a sequence."""
    made = pydicom.Dataset()
    for tag, value in tags.items():
        setattr(made, tag, value)
    return made
