"""Density reports read back, and which of several counts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom

from lib.dicom.objects import Author, written_at
from lib.dicom.pixels import tag_value
from lib.errors import InputError
from lib.mammography.report.codes import OWN_SCHEME, PERCENT_DENSE, PROBABILITIES, class_of

_LOGGER = logging.getLogger(__name__)
_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
_PERSON, _DEVICE = "121008", "121013"  # observer names
_ALGORITHM, _VERSION, _TRACKING = "111001", "111003", "112039"
_LIMIT = 10_000  # content items; a tree deeper or larger is none of density


@dataclass(frozen=True)
class DensityReport:
    """A density answer as it is in the archive.

    Attributes:
        density: A to D, or F, G, D where `scale` is "mias".
        probabilities: of each class, 0 to 1.
        percent: dense tissue, 0 to 100, by the name of the view or the image's UID.
        author: model, its version, and the person who answered or corrected.
        images: SOP instance UIDs that it refers to.
        when: of the answer; with a time zone.
        study, series, kind, uid: identifiers of the report, `kind` its class.
        corrects: UIDs of the reports that it replaces.
    """

    density: str
    scale: str
    author: Author
    when: datetime
    study: str
    series: str
    kind: str
    uid: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    percent: Mapping[str, float] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    corrects: tuple[str, ...] = ()


def read_density_report(report: str | os.PathLike[str] | pydicom.Dataset) -> DensityReport:
    """Return the density answer of a Structured Report, of ours or any with a BI-RADS class in it.

    Raises:
        InputError: no report, damaged, without a class or with several; and nothing else.
    """
    name, data = _open(report)
    try:
        return _read(name, data)
    except InputError:
        raise
    except Exception as error:  # a file can be wrong in more ways than can be foreseen
        cause = str(error).strip().splitlines()[-1:] or [""]
        raise InputError(
            f"{name}: damaged report ({type(error).__name__}: {cause[0][:160]}); store it again"
        ) from None


def read_density_reports(
    reports: Iterable[str | os.PathLike[str] | pydicom.Dataset],
) -> list[DensityReport]:
    """Return the readable density reports, the newest last; what is none is logged and left out."""
    found = []
    for report in reports:
        try:
            found.append(read_density_report(report))
        except InputError as error:
            _LOGGER.warning("%s", error)
    return sorted(found, key=_age)


def newest_report(reports: Iterable[DensityReport]) -> DensityReport:
    """Return the report that counts: the newest that no other one corrects.

    Of two of the same time that of a person counts.

    Raises:
        InputError: there is none.
    """
    found = list(reports)
    replaced = {uid for report in found for uid in report.corrects}
    standing = [report for report in found if report.uid not in replaced] or found
    if not standing:
        raise InputError("no density report; expected at least one; answer the exam first")
    return max(standing, key=_age)


def _age(report: DensityReport) -> tuple[datetime, bool, str]:
    return report.when, bool(report.author.person), report.uid


def _open(report: str | os.PathLike[str] | pydicom.Dataset) -> tuple[str, pydicom.Dataset]:
    if isinstance(report, pydicom.Dataset):
        name, data = str(tag_value(report, "SOPInstanceUID") or "report"), report
    else:
        name = Path(report).name
        try:
            data = pydicom.dcmread(Path(report))
        except FileNotFoundError:
            raise InputError(f"{name}: no such file") from None
        except Exception as error:
            raise InputError(
                f"{name}: not a DICOM file ({type(error).__name__}); expected a report"
            ) from None
    kind = str(tag_value(data, "SOPClassUID") or "")
    if not kind.startswith(_SR_CLASSES):
        shown = pydicom.uid.UID(kind).name or "no class at all"
        raise InputError(f"{name}: {shown}, expected a DICOM Structured Report")
    return name, data


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
        density,
        scale,
        Author(
            model or ("" if person else "unknown"),
            texts.get(_VERSION) or "",
            person,
            str(tag_value(data, "SoftwareVersions") or "unversioned"),
        ),
        written_at(data),
        str(data.StudyInstanceUID),
        str(data.SeriesInstanceUID),
        str(data.SOPClassUID),
        str(data.SOPInstanceUID),
        _probabilities(items),
        _percent(items),
        tuple(dict.fromkeys(images)),
        tuple(dict.fromkeys(corrects)),
    )


def _items(data: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Yield the content items, parents before children."""
    waiting = list(reversed(tag_value(data, "ContentSequence") or []))
    seen = 0
    while waiting:
        entry = waiting.pop()
        if (seen := seen + 1) > _LIMIT:
            raise InputError(f"more than {_LIMIT} content items, expected a density report")
        yield entry
        waiting += reversed(tag_value(entry, "ContentSequence") or [])


def _code(entry: pydicom.Dataset, sequence: str) -> tuple[str, str]:
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
    """Return percent density by the identifier of the group that tells it."""
    found: dict[str, float] = {}
    for group in items:
        children: list[Any] = list(tag_value(group, "ContentSequence") or [])
        names = {_code(child, "ConceptNameCodeSequence")[0]: child for child in reversed(children)}
        if (measured := names.get(PERCENT_DENSE[0])) is None:
            continue
        if (number := _number(measured)) is not None:
            told = names.get(_TRACKING)
            found[_text(told) if told is not None else str(len(found) + 1)] = number
    return found
