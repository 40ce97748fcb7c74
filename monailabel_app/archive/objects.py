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

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.dicom.sources import read_sources
from lib.io.channels import chooser
from lib.io.labels import read_label
from lib.io.read import image_size
from lib.kinds import kind_of
from lib.mammography.density_labels import BIRADS, SCALE, read_density, read_scale
from lib.mammography.report.read import DensityReport
from lib.mammography.report.write import make_density_report
from lib.segmentation.answer import INSTANCES
from lib.tasks.spec import TaskSpec
from monailabel_app import __version__
from monailabel_app.archive.images import ArchiveImage
from monailabel_app.archive.labels import DENSITY_MODALITY, labelled_channel
from monailabel_app.archive.private_tags import write_private_tags
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.protocol import FINAL

ANYBODY = "Unnamed"  # the author of an accepted label if nobody logs in
_NAME_LENGTH = 64


def task_labels(tasks: Sequence[TaskSpec], image: ArchiveImage) -> dict[str, int]:
    """Return the label values by name of the tasks that fit an image.

    If several tasks have a name with different values, the first task counts.
    """
    found: dict[str, int] = {}
    for task in _fitting(tasks, image):
        for name, value in task.labels.items():
            found.setdefault(name, value)
    return found


def _fitting(tasks: Sequence[TaskSpec], image: ArchiveImage) -> list[TaskSpec]:
    """Return the tasks that fit an image; for a mammogram those on exams come first."""
    mammogram = image.series.modality == DENSITY_MODALITY
    fitting = [task for task in tasks if mammogram or not kind_of(task).by_exam]
    return sorted(fitting, key=lambda task: not kind_of(task).by_exam)


def make_objects(
    label: Path,
    *,
    tag: str,
    info: Mapping[str, Any],
    image: ArchiveImage,
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
        label: the label file.
        tag: final, original ...
        info: information that the client, or the model, sent with the label.
        image: the labelled image.
        sources: files of the image, in the order of the label's slices.
        views: files of all views of the exam of a mammogram; empty for other images.
        earlier: reports on the exam, which a new report replaces.
        tasks: the served tasks, whose names of labels are used.

    Raises:
        InputError: the label does not fit the image or the tasks.
    """
    when = datetime.now(timezone.utc)
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

    if label.suffix.lower() == ANSWER:
        answer = json.loads(label.read_text(encoding="utf-8"))
        return [
            report(_Density(read_density(label), read_scale(label)), {**info, "answer": answer})
        ]
    pixels = read_label(label, tuple(image_size(label)[::-1]))
    names, instances = _names(pixels, info, image, tasks)
    found = _find_density(pixels, names, info) if views else None
    made = [report(found, dict(info))] if found else []
    later = when + timedelta(microseconds=len(made))  # the newest object is the label
    channel = labelled_channel(info)
    frames = read_sources(list(sources), chooser(channel) if channel else None)
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
    values = _values(pixels)
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


def _names(
    pixels: np.ndarray, info: Mapping[str, Any], image: ArchiveImage, tasks: Sequence[TaskSpec]
) -> tuple[dict[str, int], bool]:
    """Return label values by name, and whether each value is an object of its own.

    The names are those of the client (3D Slicer sends its segments), else those of the model, else
    those of the first task that has all of the values.
    """
    values = _values(pixels)
    fitting = _fitting(tasks, image)
    model = [task for task in fitting if task.name == info.get("model")]
    for names in (_sent_names(info), *(dict(task.labels) for task in (*model, *fitting))):
        if names and values <= set(names.values()):
            return names, False
    for task in (*model, *fitting):
        if task.output.instances and len(task.labels) == 1:
            return dict(task.labels), True
    return {f"label {value}": value for value in sorted(values) or [1]}, False


def _values(pixels: np.ndarray) -> set[int]:
    """Return the values of a label image but 0."""
    return {int(value) for value in np.unique(pixels) if value}


def _sent_names(info: Mapping[str, Any]) -> dict[str, int]:
    """Return the label values by name that a client or a model sent; empty if it sent none.

    Names of numbered objects are none: they are segments of the model's one label.
    """
    params = info.get("params")
    answer = params if isinstance(params, Mapping) else {}
    named = answer.get("label_names") if answer.get("result") != INSTANCES else None
    segments = info.get("label_info")
    found: dict[str, int] = {}
    try:
        if isinstance(named, Mapping):
            found = {str(name): int(value) for name, value in named.items()}
        elif isinstance(segments, list):
            found = {str(one["name"]): int(one["idx"]) for one in segments}
    except (KeyError, TypeError, ValueError):
        return {}
    usable = all(name.strip() for name in found) and len(set(found.values())) == len(found)
    return found if usable and all(value > 0 for value in found.values()) else {}
