"""Density answers read from DICOM Structured Reports, of this app or of any program.

The content is searched by hand: highdicom reads whole templates, and refuses reports of others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pydicom

from lib.dicom.header import tag_value
from lib.dicom.objects import Author, input_errors_only, open_object, written_at
from lib.errors import InputError
from lib.isolation.calls import isolated
from lib.mammography.report.codes import OWN_SCHEME, PERCENT_DENSE, PROBABILITIES, class_of

_WHAT = "Structured Report"
_SR_CLASSES = ("1.2.840.10008.5.1.4.1.1.88.",)
_PERSON, _DEVICE = "121008", "121013"  # names of observers
_ALGORITHM, _VERSION, _TRACKING = "111001", "111003", "112039"
_LIMIT = 10_000  # most content items; a larger tree is no density report


@dataclass(frozen=True, kw_only=True)
class DensityReport:
    """A density answer as it is in the archive.

    Attributes:
        density: A to D, or F, G, D where `scale` is "mias".
        probabilities: of each class, 0 to 1.
        percent: dense tissue, 0 to 100, by the name of the view or the image's UID.
        author: the model, its version, and the person who answered or corrected it.
        images: SOP instance UIDs of the images that it is about.
        when: time of the answer, with a time zone.
        study, series, sop_class, uid: UIDs of the report.
        corrects: UIDs of the reports that it replaces.
    """

    density: str
    scale: str
    author: Author
    when: datetime
    study: str
    series: str
    sop_class: str
    uid: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    percent: Mapping[str, float] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    corrects: tuple[str, ...] = ()


@isolated()
def read_density_report(report: str | os.PathLike[str] | pydicom.Dataset) -> DensityReport:
    """Return the density answer of a Structured Report: ours, or any with a BI-RADS class in it.

    Raises:
        InputError: no report, damaged, without a class, or with several.
    """
    name, data = open_object(report, _WHAT, _SR_CLASSES)
    with input_errors_only(name, _WHAT):
        return _read(name, data)


def _read(name: str, data: pydicom.Dataset) -> DensityReport:
    items = list(_items(data))
    classes = {
        found
        for entry in items
        if tag_value(entry, "ValueType") == "CODE"
        and (found := class_of(*_code(entry, "ConceptCodeSequence")))
    }
    if len(classes) != 1:
        shown = ", ".join(sorted(density for density, _ in classes)) or "none"
        raise InputError(
            f"{name}: density classes {shown}, expected one of BI-RADS; answer the exam again"
        )
    ((density, scale),) = classes
    texts = {_code(entry, "ConceptNameCodeSequence")[0]: _text(entry) for entry in reversed(items)}
    images = [
        str(image.ReferencedSOPInstanceUID)
        for entry in items
        if tag_value(entry, "ValueType") == "IMAGE"
        for image in tag_value(entry, "ReferencedSOPSequence") or []
    ]
    corrects = [
        str(document.ReferencedSOPInstanceUID)
        for study in tag_value(data, "PredecessorDocumentsSequence") or []
        for series in study.ReferencedSeriesSequence
        for document in series.ReferencedSOPSequence
    ]
    model = texts.get(_DEVICE) or texts.get(_ALGORITHM) or ""
    person = texts.get(_PERSON) or ""
    return DensityReport(
        density=density,
        scale=scale,
        author=Author(
            model or ("" if person else "unknown"),
            texts.get(_VERSION) or "",
            person,
            str(tag_value(data, "SoftwareVersions") or "unversioned"),
        ),
        when=written_at(data),
        study=str(data.StudyInstanceUID),
        series=str(data.SeriesInstanceUID),
        sop_class=str(data.SOPClassUID),
        uid=str(data.SOPInstanceUID),
        probabilities=_probabilities(items),
        percent=_percent(items),
        images=tuple(dict.fromkeys(images)),
        corrects=tuple(dict.fromkeys(corrects)),
    )


def _items(data: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Yield the content items, parents before children."""
    waiting = list(reversed(tag_value(data, "ContentSequence") or []))
    count = 0
    while waiting:
        entry = waiting.pop()
        if (count := count + 1) > _LIMIT:
            raise InputError(f"more than {_LIMIT} content items, expected a density report")
        yield entry
        waiting += reversed(tag_value(entry, "ContentSequence") or [])


def _code(entry: pydicom.Dataset, sequence: str) -> tuple[str, str]:
    """Return value and scheme of the first code; empty where there is none."""
    for code in tag_value(entry, sequence) or []:
        return (
            str(tag_value(code, "CodeValue") or ""),
            str(tag_value(code, "CodingSchemeDesignator") or ""),
        )
    return "", ""


def _text(entry: pydicom.Dataset) -> str:
    return str(tag_value(entry, "TextValue") or tag_value(entry, "PersonName") or "")


def _number(entry: pydicom.Dataset) -> float | None:
    for measured in tag_value(entry, "MeasuredValueSequence") or []:
        return float(measured.NumericValue)
    return None


def _probabilities(items: Iterable[pydicom.Dataset]) -> dict[str, float]:
    found = {}
    for entry in items:
        value, scheme = _code(entry, "ConceptNameCodeSequence")
        if scheme == OWN_SCHEME and value in PROBABILITIES:
            if (number := _number(entry)) is not None:
                found[PROBABILITIES[value]] = number
    return found


def _percent(items: Iterable[pydicom.Dataset]) -> dict[str, float]:
    """Return percent density by the tracking identifier of the group that holds it."""
    found: dict[str, float] = {}
    for group in items:
        children: list[Any] = list(tag_value(group, "ContentSequence") or [])
        names = {_code(child, "ConceptNameCodeSequence")[0]: child for child in reversed(children)}
        if (measured := names.get(PERCENT_DENSE[0])) is None:
            continue
        if (number := _number(measured)) is not None:
            identifier = names.get(_TRACKING)
            key = str(len(found) + 1) if identifier is None else _text(identifier)
            found[key] = number
    return found
