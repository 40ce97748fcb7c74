"""The DICOM objects that store a label in an archive: a segmentation, a density report, or both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from lib.data.label_names import values_of
from lib.data.label_records import labelled_channel
from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.dicom.sources import read_sources
from lib.errors import InputError
from lib.io.channels import Chooser
from lib.kinds import kind_of
from lib.mammography.density_labels import BIRADS, SCALE, read_density, read_percent, read_scale
from lib.mammography.report.read import DensityReport
from lib.mammography.report.write import make_density_report
from lib.tasks.spec import TaskSpec
from monailabel_app import __version__
from monailabel_app.archive.images import ArchiveImage
from monailabel_app.archive.labels import DENSITY_MODALITY
from monailabel_app.archive.private_tags import write_private_tags
from monailabel_app.studies.label_files import ANSWER, PreparedLabel
from monailabel_app.studies.protocol import FINAL, FOREIGN

ANYBODY = "Unnamed"  # the author of an accepted label if nobody logs in
_NAME_LENGTH = 64


def fitting_tasks(tasks: Sequence[TaskSpec], image: ArchiveImage) -> list[TaskSpec]:
    """Return the tasks that fit an image; for a mammogram those on exams come first."""
    mammogram = image.series.modality == DENSITY_MODALITY
    fitting = [task for task in tasks if mammogram or not kind_of(task).by_exam]
    return sorted(fitting, key=lambda task: not kind_of(task).by_exam)


def make_foreign(label: PreparedLabel, *, tag: str, sources: Sequence[Path]) -> Dataset:
    """Return the segmentation that keeps the structures of a label that no task has."""
    assert label.pixels is not None
    names = {f"{name} {value}": value for name, value in label.names}
    if len({name for name, _ in label.names}) == len(names):
        names = dict(label.names)
    seg = make_seg(label.pixels, list(sources), names, _author(tag, label.info))
    write_private_tags(seg, f"{tag}{FOREIGN}", dict(label.info))
    return seg


def make_objects(
    label: PreparedLabel,
    *,
    tag: str,
    sources: Sequence[Path],
    views: Sequence[Path],
    earlier: Sequence[DensityReport],
    tasks: Sequence[TaskSpec],
) -> list[Dataset]:
    """Return the objects that store a label, in the order in which they are to be stored.

    JSON becomes a density report on the exam. A label image becomes a segmentation; if it holds
    one class A to D painted by a person, or is the answer of a density model, it becomes a density
    report too.

    Args:
        tag: final, original ...
        sources: files of the image, in the order of the label's slices.
        views: files of all views of the exam of a mammogram; empty for other images.
        earlier: reports on the exam, which a new report replaces.
        tasks: the served ones that fit the image, whose names of labels are used.

    Raises:
        InputError: the label does not fit the image or the tasks.
    """
    when = datetime.now(timezone.utc)
    info = label.info
    author = _author(tag, info)

    def report(found: _Density, kept: dict[str, Any]) -> Dataset:
        data = make_density_report(
            found.density,
            list(views),
            author,
            scale=found.scale,
            probabilities=found.probabilities,
            percent=found.percent,
            corrects=earlier,
            when=when,
        )
        write_private_tags(data, tag, kept)
        return data

    if label.extension.lower() == ANSWER:
        answer = json.loads(label.file.read_text(encoding="utf-8"))
        density, scale = read_density(label.file), read_scale(label.file)
        found = _Density(density, scale, percent=read_percent(label.file))
        return [report(found, {**info, "answer": answer})]
    if label.pixels is None:
        raise InputError(f"{label.file.name}: no label of an image or a volume; store one of these")
    pixels = label.pixels
    names, instances = _names(label, tasks)
    painted = _find_density(pixels, names, info) if views else None
    made = [report(painted, dict(info))] if painted else []
    later = when + timedelta(microseconds=len(made))  # the newest object is the label
    channel = labelled_channel(info)
    frames = read_sources(list(sources), Chooser(channel) if channel else None)
    seg = make_seg(pixels, frames, names, author, instances=instances, when=later)
    write_private_tags(seg, tag, dict(info))
    return [*made, seg]


@dataclass(frozen=True)
class _Density:
    """A density with what its report tells; see `make_density_report`."""

    density: str
    scale: str
    probabilities: Mapping[str, float] | None = None
    percent: Mapping[str, float] | None = None


def _find_density(
    pixels: np.ndarray, names: Mapping[str, int], info: Mapping[str, Any]
) -> _Density | None:
    """Return the density that a model answered or a person painted; None if there is none."""
    params = info.get("params")
    answer = params if isinstance(params, Mapping) else {}
    values = values_of(pixels)
    painted = [name for name, value in names.items() if value in values]
    density = str(answer.get("class") or (painted[0] if len(painted) == 1 else ""))
    if density not in BIRADS:
        return None
    probabilities = answer.get("probabilities") if "class" in answer else None
    if not isinstance(probabilities, Mapping) or not set(probabilities) <= set(BIRADS):
        probabilities = None
    percent = {
        name: float(view["percent_density"])
        for name, view in (answer.get("views") or {}).items()
        if isinstance(view, Mapping) and "percent_density" in view
    }
    return _Density(density, str(answer.get(SCALE) or "birads"), probabilities, percent)


def _author(tag: str, info: Mapping[str, Any]) -> Author:
    params = info.get("params")
    version = str(params.get("model_version") or "") if isinstance(params, Mapping) else ""
    model = str(info.get("model") or "")[:_NAME_LENGTH]
    person = ""
    if tag == FINAL or not model:
        name = str(info.get("user") or info.get("client_id") or ANYBODY)
        name = "".join(sign for sign in name if sign.isprintable() and sign not in "\\^=")
        person = name.strip()[:_NAME_LENGTH] or ANYBODY
    return Author(model, version, person, __version__)


def _names(label: PreparedLabel, tasks: Sequence[TaskSpec]) -> tuple[dict[str, int], bool]:
    """Return label values by name, and whether each value is an object of its own.

    The names are those that came with the label, else those of the model that made it, else those
    of the first task that has all of the values.
    """
    assert label.pixels is not None
    values = values_of(label.pixels)
    drawn = {value: name for name, value in label.names if value}
    if values and values <= drawn.keys():
        return {name: value for value, name in drawn.items()}, False
    if drawn and values:  # one name, and the numbers of its objects
        return {name: value for name, value in label.names[:1]}, True
    model = [task for task in tasks if task.name == label.info.get("model")]
    offered = {name for name, _ in label.names}
    same = [task for task in tasks if offered and offered & set(task.labels)]
    for names in (dict(task.labels) for task in (*model, *same, *tasks)):
        if names and values <= set(names.values()):
            return names, False
    for task in (*model, *tasks):
        if task.output.instances and len(task.labels) == 1:
            return dict(task.labels), True
    return {f"label {value}": value for value in sorted(values) or [1]}, False
