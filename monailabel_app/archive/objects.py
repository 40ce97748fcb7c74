"""What is stored in the archive for a label: a segmentation, a density report, or both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.io.labels import read_label
from lib.io.read import image_size
from lib.kinds import kind_of
from lib.mammography.density_labels import BIRADS, SCALE, read_density, read_scale
from lib.mammography.report.read import DensityReport
from lib.mammography.report.write import make_density_report
from lib.tasks.spec import TaskSpec
from monailabel_app import __version__
from monailabel_app.archive.images import ArchiveImage
from monailabel_app.archive.labels import DENSITY_MODALITY
from monailabel_app.archive.private_tags import mark
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.protocol import FINAL

ANYBODY = "Unnamed"  # of a label that a person accepted where nobody logs in
_NAME_LENGTH = 64


def task_labels(tasks: Sequence[TaskSpec], image: ArchiveImage) -> dict[str, int]:
    """Return the label values by name of the tasks that can be about an image.

    Of names that several tasks give to different values the first task's counts.
    """
    found: dict[str, int] = {}
    for task in _fitting(tasks, image):
        for name, value in task.labels.items():
            found.setdefault(name, value)
    return found


def _fitting(tasks: Sequence[TaskSpec], image: ArchiveImage) -> list[TaskSpec]:
    """Return the tasks that can be about an image, those of mammograms first where it is one."""
    mammogram = image.series.modality == DENSITY_MODALITY
    fitting = [task for task in tasks if mammogram or not kind_of(task).by_exam]
    return sorted(fitting, key=lambda task: not kind_of(task).by_exam)


def make_objects(
    label: Path,
    tag: str,
    info: Mapping[str, Any],
    image: ArchiveImage,
    sources: Sequence[Path],
    views: Sequence[Path],
    earlier: Sequence[DensityReport],
    tasks: Sequence[TaskSpec],
) -> list[Dataset]:
    """Return the objects that a label is stored as; the one that answers for it comes last.

    A label image is a segmentation. JSON, the answer of a model and a painted class A to D are a
    density report about the exam; of these two a segmentation holds the painted tissue too.

    Args:
        tag: final, original ...
        info: what the client, or the model, said of it.
        sources: files of the image, in the order of the label's slices.
        views: files of all views of its exam, of a mammogram.
        earlier: reports on the exam, which a new one replaces.

    Raises:
        InputError: the label does not fit the image or the tasks.
    """
    when = datetime.now(timezone.utc)
    author = _author(tag, info)
    kept = dict(info)
    made = []
    if label.suffix.lower() == ANSWER:
        answer = json.loads(label.read_text(encoding="utf-8"))
        report = make_density_report(
            read_density(label),
            list(views),
            author,
            scale=read_scale(label),
            corrects=earlier,
            when=when,
        )
        mark(report, tag, {**kept, "answer": answer})
        return [report]
    pixels = read_label(label, tuple(image_size(label)[::-1]))
    names, instances = _names(pixels, info, image, tasks)
    if views and (report := _painted(pixels, names, info, views, earlier, author, when)):
        mark(report, tag, kept)
        made.append(report)
        when += timedelta(microseconds=1)
    seg = make_seg(
        pixels,
        list(sources),
        names,
        author,
        instances=instances,
        when=when,
    )
    mark(seg, tag, kept)
    return [*made, seg]


def _painted(
    pixels: np.ndarray,
    names: Mapping[str, int],
    info: Mapping[str, Any],
    views: Sequence[Path],
    earlier: Sequence[DensityReport],
    author: Author,
    when: datetime,
) -> Dataset | None:
    """Return the report of a density that a model answered or a person painted; None of no such."""
    params = info.get("params")
    told = params if isinstance(params, Mapping) else {}
    held = {int(value) for value in np.unique(pixels) if value}
    painted = [name for name, value in names.items() if value in held]
    density = str(told.get("class") or (painted[0] if len(painted) == 1 else ""))
    if density not in BIRADS:
        return None
    chances = told.get("probabilities") if "class" in told else None
    percent = {
        name: float(view["percent_density"])
        for name, view in (told.get("views") or {}).items()
        if isinstance(view, Mapping) and "percent_density" in view
    }
    scale = str(told.get(SCALE) or "birads")
    known = chances if isinstance(chances, Mapping) and set(chances) <= set(BIRADS) else None
    return make_density_report(
        density,
        list(views),
        author,
        scale=scale,
        probabilities=known,
        percent=percent,
        corrects=earlier,
        when=when,
    )


def _author(tag: str, info: Mapping[str, Any]) -> Author:
    params = info.get("params")
    version = str(params.get("model_version") or "") if isinstance(params, Mapping) else ""
    model = str(info.get("model") or "")[:_NAME_LENGTH]
    person = ""
    if tag == FINAL or not model:
        told = str(info.get("user") or info.get("client_id") or ANYBODY)
        plain = "".join(sign for sign in told if sign.isprintable() and sign not in "\\^=")
        person = plain.strip()[:_NAME_LENGTH] or ANYBODY
    return Author(model, version, person, __version__)


def _names(
    pixels: np.ndarray, info: Mapping[str, Any], image: ArchiveImage, tasks: Sequence[TaskSpec]
) -> tuple[dict[str, int], bool]:
    """Return label values by name, and whether each value is an object of its own.

    As the client says (3D Slicer sends its segments), else the model, else the first task that has
    all of the values.
    """
    held = {int(value) for value in np.unique(pixels) if value}
    fitting = _fitting(tasks, image)
    model = [task for task in fitting if task.name == info.get("model")]
    for names in (_told(info), *(dict(task.labels) for task in (*model, *fitting))):
        if names and held <= set(names.values()):
            return names, False
    for task in (*model, *fitting):
        if task.output.instances and len(task.labels) == 1:
            return dict(task.labels), True
    return {f"label {value}": value for value in sorted(held) or [1]}, False


def _told(info: Mapping[str, Any]) -> dict[str, int]:
    """Return the names that a client or a model sends along; nothing where it sends none."""
    params = info.get("params")
    named = params.get("label_names") if isinstance(params, Mapping) else None
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
