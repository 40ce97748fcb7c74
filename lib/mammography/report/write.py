"""Breast density answers written as DICOM Structured Reports.

They are Comprehensive SR by template TID 1500 (measurement report), titled "Breast Imaging Report":
OHIF shows reports with the usual title of the template as drawings on the images.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pydicom

from lib.dicom.objects import (
    MANUFACTURER,
    MODEL_NAME,
    Author,
    coded,
    common_arguments,
    item,
    stamp,
    subject,
)
from lib.dicom.seg.codes import BREAST
from lib.dicom.sources import Source, read_sources
from lib.errors import InputError, choose
from lib.mammography.density_labels import density_class
from lib.mammography.report.codes import (
    CLASSES,
    COMPOSITION,
    LEFT,
    MAMMOGRAPHY,
    NO_UNIT,
    PERCENT,
    PERCENT_DENSE,
    RIGHT,
    TITLE,
    probability_of,
)
from lib.mammography.report.read import DensityReport
from lib.mammography.views import view_of_tags


def make_density_report(
    density: str,
    images: Sequence[Source],
    author: Author,
    *,
    scale: str = "birads",
    probabilities: Mapping[str, float] | None = None,
    percent: Mapping[str, float] | None = None,
    corrects: Sequence[DensityReport] = (),
    when: datetime | None = None,
) -> pydicom.Dataset:
    """Return a density answer as DICOM Comprehensive SR.

    Args:
        density: A to D, or F, G, D where `scale` is "mias".
        images: the views that it is about, of one study; files or datasets.
        author: a model, a person, or a person who checked the answer of a model.
        probabilities: of each class, 0 to 1; empty where there are none.
        percent: dense tissue, 0 to 100, by the name of the view ("R-CC") or the image's UID.
        corrects: earlier reports that this one replaces.
        when: time of the answer; now if None.

    Raises:
        InputError: no such class, a number out of range, no image, images of several studies, or a
            view that is not among the images.
    """
    sources = _images(images)
    density = density_class(density, "report")
    choose("density scale", scale, CLASSES)
    if density not in CLASSES[scale]:
        raise InputError(f"density '{density}' is no class of the scale '{scale}'; correct it")
    chances = _checked("probability", probabilities or {}, 1.0)
    if unknown := sorted(set(chances) - set(CLASSES[scale])):
        raise InputError(
            f"probabilities of {', '.join(unknown)}, expected {', '.join(CLASSES[scale])}; give "
            f"those of the scale '{scale}'"
        )
    groups = [_exam_group(density, scale, chances, sources, author)]
    groups += _view_groups(_checked("percent density", percent or {}, 100.0), sources, author)
    return _document(groups, sources, author, corrects, when)


def _images(images: Sequence[Source]) -> list[pydicom.Dataset]:
    if isinstance(images, (str, os.PathLike, pydicom.Dataset)):
        images = [images]
    found = [read_sources(image).datasets[0] for image in images]
    if not found:
        raise InputError("no images: expected the views that the density was read from")
    if len(studies := {str(data.StudyInstanceUID) for data in found}) > 1:
        raise InputError(f"images of {len(studies)} studies; expected one; write a report for each")
    return list({str(data.SOPInstanceUID): data for data in found}.values())


def _checked(what: str, values: Mapping[str, float], top: float) -> dict[str, float]:
    for name, value in values.items():
        if not (math.isfinite(value) and 0 <= value <= top):
            raise InputError(f"{what} of {name} is {value}, expected 0 to {top:g}; correct it")
    return {name: float(value) for name, value in values.items()}


def _exam_group(
    density: str,
    scale: str,
    chances: Mapping[str, float],
    sources: Sequence[pydicom.Dataset],
    author: Author,
) -> Any:
    """Return the group with the class of the exam and the probability of each class."""
    from highdicom import sr

    return sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(identifier="Breast density"),
        algorithm_id=_algorithm(author),
        finding_sites=[sr.FindingSite(coded(BREAST))],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(coded(COMPOSITION), coded(CLASSES[scale][density]))
        ],
        measurements=[
            sr.Measurement(coded(probability_of(name, scale)), round(value, 6), coded(NO_UNIT))
            for name, value in chances.items()
        ],
        source_images=[sr.SourceImageForMeasurementGroup.from_source_image(s) for s in sources],
    )


def _view_groups(
    percent: Mapping[str, float], sources: Sequence[pydicom.Dataset], author: Author
) -> list[Any]:
    """Return a group for the percent density of each view."""
    from highdicom import sr

    views = {str(data.SOPInstanceUID): view_of_tags(data).view for data in sources}
    groups = []
    for name, value in percent.items():
        images = [s for s in sources if name in (uid := str(s.SOPInstanceUID), views[uid].name)]
        if len(images) != 1:
            names = ", ".join(view.name for view in views.values())
            raise InputError(
                f"percent density of '{name}', expected one of the views {names}; give the UID of "
                f"an image whose view is unknown"
            )
        side = views[str(images[0].SOPInstanceUID)].laterality
        site = {"R": coded(RIGHT), "L": coded(LEFT)}.get(str(side))
        groups.append(
            sr.MeasurementsAndQualitativeEvaluations(
                sr.TrackingIdentifier(identifier=name),
                algorithm_id=_algorithm(author),
                finding_sites=[sr.FindingSite(coded(BREAST), laterality=site)],
                measurements=[
                    sr.Measurement(coded(PERCENT_DENSE), round(value, 3), coded(PERCENT))
                ],
                source_images=[sr.SourceImageForMeasurementGroup.from_source_image(images[0])],
            )
        )
    return groups


def _algorithm(author: Author) -> Any:
    from highdicom import sr

    if not author.model:
        return None
    return sr.AlgorithmIdentification(author.model, author.version or "unversioned")


def _observers(author: Author) -> list[Any]:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    found = []
    if author.person:
        who = sr.PersonObserverIdentifyingAttributes(author.person)
        found.append(sr.ObserverContext(codes.DCM.Person, who))
    if author.model:
        key = [MANUFACTURER, author.model, author.version]
        device = sr.DeviceObserverIdentifyingAttributes(
            uid=pydicom.uid.generate_uid(entropy_srcs=key),
            name=author.model,
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
        )
        found.append(sr.ObserverContext(codes.DCM.Device, device))
    return found


def _document(
    groups: Sequence[Any],
    sources: Sequence[pydicom.Dataset],
    author: Author,
    corrects: Sequence[DensityReport],
    when: datetime | None,
) -> pydicom.Dataset:
    from highdicom import sr

    observers = _observers(author)
    context = sr.ObservationContext(observers[0])
    for other in observers[1:]:
        context.extend(other)
    content = sr.MeasurementReport(context, coded(MAMMOGRAPHY), list(groups), coded(TITLE))
    evidence = [subject(data) for data in sources]
    corrected = [
        item(
            StudyInstanceUID=report.study,
            SeriesInstanceUID=report.series,
            SOPClassUID=report.sop_class,
            SOPInstanceUID=report.uid,
        )
        for report in corrects
    ]
    try:
        report = sr.ComprehensiveSR(
            evidence,
            content[0],
            is_complete=True,
            is_final=bool(author.person),
            previous_versions=corrected or None,
            **common_arguments(sources[0], author, "Breast density", series_step=2),
        )
    except KeyError as error:  # highdicom does not know the SOP class
        raise InputError(
            f"images of class {error.args[0]}, expected mammograms; give the views of the exam"
        ) from None
    stamp(report, evidence[0], when)
    return report
