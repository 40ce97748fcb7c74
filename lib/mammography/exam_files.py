"""The files of mammography exams: which view, exam and patient a file belongs to.

DICOM tags decide (StudyInstanceUID, ImageLaterality, ViewPosition, ViewCodeSequence). Without them
names do: ``<exam>_<R|L>-<CC|MLO>.<ext>`` and their variants, see `lib.mammography.views`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.data.groups import is_nobody
from lib.files import FileStamp, file_stamp
from lib.io.read import extension, stem
from lib.isolation.calls import isolated
from lib.mammography.mammogram import MAMMOGRAM_EXTENSIONS, is_dicom
from lib.mammography.views import ViewFound, view_of_name, view_of_tags

_LOGGER = logging.getLogger(__name__)
FOR_PROCESSING = "for processing"
# PatientID of a whole mammogram of CBIS-DDSM; those of crops and masks have a number behind
_CBIS = re.compile(r"((?:Mass|Calc)-(?:Training|Test)_(P_\d+))_(?:LEFT|RIGHT)_(?:CC|MLO)")
_DAY = re.compile(r"\d{8}")


@dataclass(frozen=True, kw_only=True)
class ExamFile:
    """A file that is a view of an exam.

    Attributes:
        exam: id of the exam.
        patient: empty where the file does not name one.
        found: the view; among its modifiers is `FOR_PROCESSING` if the image is raw.
        notes: what is odd about the file, one sentence each.
        session: the same for views of one exam that were stored as studies of their own: the
            patient and the day, or the exam of CBIS-DDSM; empty where the tags tell none.
    """

    path: Path
    exam: str
    patient: str
    found: ViewFound
    notes: tuple[str, ...] = ()
    session: str = ""


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, through links as well."""
    return one == other or one.resolve() == other.resolve()


def is_image(path: Path) -> bool:
    """Return whether a file may be a mammogram, by its extension or as DICOM by its first bytes."""
    if path.name.startswith(".") or not path.is_file():
        return False
    by_name = extension(path) or path.suffix.lower() in MAMMOGRAM_EXTENSIONS
    return bool(by_name) or is_dicom(path)


def image_id(path: Path) -> str:
    """Return the id of an image: its file name without an extension that we read."""
    return path.stem if path.suffix.lower() in MAMMOGRAM_EXTENSIONS else stem(path)


def identify(path: Path, trust_name: bool) -> ExamFile | None:
    """Return the view, exam and patient of a file; None if neither its tags nor its name say.

    Args:
        trust_name: a name of the usual form counts more than tags, as an importer wrote it.
    """
    return _identify_once(path, trust_name, file_stamp(path) if path.is_file() else None)


@lru_cache(maxsize=65536)  # a server asks for the exam of each image, and headers are slow to read
def _identify_once(path: Path, trust_name: bool, stamp: FileStamp | None) -> ExamFile | None:
    return by_content(path, trust_name)


@isolated(lambda path, _: [path] if is_dicom(path) else [], remember=True)
def by_content(path: Path, trust_name: bool) -> ExamFile | None:
    """Do what `identify` does, for a file that is there."""
    named = view_of_name(image_id(path))
    notes: tuple[str, ...] = ()
    if is_dicom(path):
        from lib.dicom.parse import parse_file

        try:
            data = parse_file(path, header_only=True)
            if not (trust_name and named and named.exam):
                return _by_tags(path, data, named)
            if named:
                named = replace(named, modifiers=(*named.modifiers, *_modifiers(data)))
        except Exception as error:  # of many types; one damaged file is no matter of the others
            cause = str(error).splitlines()[:1] or [type(error).__name__]
            notes = (f"{path.name}: its DICOM tags cannot be read ({cause[0][:160]})",)
            _LOGGER.warning("%s; it goes by its name", notes[0])
    if named is None:
        return None
    exam = named.exam or _folder(path)
    return ExamFile(path=path, exam=exam, patient=named.patient, found=named, notes=notes)


def _folder(path: Path) -> str:
    """Return the name of the folder that holds the files of one exam, above any ``images``."""
    parent = path.resolve().parent
    return parent.parent.name if parent.name == "images" else parent.name


def _by_tags(path: Path, data: Any, named: ViewFound | None) -> ExamFile | None:
    view, notes = view_of_tags(data).view, []
    if str(data.get("Modality") or "MG") != "MG" and view.projection is None:
        return None
    if named and view != named.view:
        if view.laterality and view.projection:
            notes.append(f"{path.name} is {view.name} by its tags, which count")
        view = view.or_else(named.view)
    if view.laterality is None and view.projection is None:
        notes.append(f"{path.name}: neither its tags nor its name say which view it is")
    study = str(data.get("StudyInstanceUID") or "")
    exam = study or (named.exam if named else "") or _folder(path)
    patient = str(data.get("PatientID") or "").strip()
    if is_nobody(patient):
        patient = named.patient if named else ""
    session = ""
    if cbis := _CBIS.fullmatch(patient):
        session, patient = cbis.groups()
    elif patient and _DAY.fullmatch(day := str(data.get("StudyDate") or "")):
        session = f"{patient} {day}"
    return ExamFile(
        path=path,
        exam=exam,
        patient=patient,
        found=ViewFound(view, _modifiers(data)),
        notes=tuple(notes),
        session=session if study else "",
    )


def _modifiers(data: Any) -> tuple[str, ...]:
    found = view_of_tags(data).modifiers
    raw = str(data.get("PresentationIntentType") or "").upper() == "FOR PROCESSING"
    return (*found, FOR_PROCESSING) if raw else found
