"""The series of DICOM files in a folder: which are slices of one volume, which images alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from lib.data.groups import is_nobody
from lib.dicom.header import frame_count, open_dicom, tag_value
from lib.errors import InputError
from lib.image import DICOM_EXTENSIONS
from lib.io.read import begins_as_dicom, extension

_ALWAYS_VOLUMES = ("CT", "MR", "PT")


@dataclass(frozen=True, kw_only=True)
class DicomSeries:
    """One series.

    Attributes:
        files: with an image each, by name.
        volume: whether they are slices of one volume; else each is an image, loop or volume.
        patient: PatientID; empty where it names nobody.
        number: SeriesNumber; empty where there is none.
    """

    uid: str
    files: tuple[Path, ...]
    volume: bool
    patient: str = ""
    number: str = ""


def is_dicom_file(path: Path) -> bool:
    """Tell whether a file is DICOM by its extension or, without one, by how it begins."""
    if extension(path):
        return extension(path) in DICOM_EXTENSIONS
    if path.suffix and not path.suffix[1:].isdecimal():  # unlike IM0001 and 1.2.840.113
        return False
    try:
        return begins_as_dicom(path)
    except OSError:
        return False


def find_series(files: Iterable[Path]) -> tuple[list[DicomSeries], list[str]]:
    """Return the series that DICOM files make up, by their headers, and what is no image.

    Returns:
        Series in the order of their first files, and a reason for each file that is left out.
    """
    headers: dict[str, list[tuple[Path, pydicom.Dataset]]] = defaultdict(list)
    left_out = []
    for file in files:
        try:
            data = open_dicom(file, header_only=True)
        except InputError as error:
            left_out.append(str(error))
            continue
        headers[str(tag_value(data, "SeriesInstanceUID") or file)].append((file, data))
    return [_series(uid, found) for uid, found in headers.items()], left_out


def _series(uid: str, found: list[tuple[Path, pydicom.Dataset]]) -> DicomSeries:
    first = found[0][1]
    patient, number = (str(tag_value(first, tag) or "") for tag in ("PatientID", "SeriesNumber"))
    return DicomSeries(
        uid=uid,
        files=tuple(file for file, _ in found),
        volume=_is_volume([data for _, data in found]),
        patient="" if is_nobody(patient) else patient,
        number=number,
    )


def _is_volume(headers: list[pydicom.Dataset]) -> bool:
    if len(headers) == 1 or max(frame_count(data) for data in headers) > 1:
        return False
    if tag_value(headers[0], "Modality") in _ALWAYS_VOLUMES:
        return True
    positions = {tuple(tag_value(data, "ImagePositionPatient") or ()) for data in headers}
    return () not in positions and len(positions) == len(headers)
