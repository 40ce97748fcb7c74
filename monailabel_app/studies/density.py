"""What is saved of the density of an exam: its class, who gave it and when, and drawn tissue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from lib.data.versions import LabelVersion, reader_of, standing
from lib.errors import InputError
from lib.mammography.density_labels import read_density, read_percent, read_scale
from monailabel_app.studies.blindness import TISSUE, hidden_images, readers_of
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.protocol import StudiesProtocol


def saved_density(store: StudiesProtocol, image: str, reader: str = "") -> dict[str, Any]:
    """Return what is saved of the density of the exam that an image belongs to.

    Returns:
        ``exam``, its id; ``images``, the ids of its images; ``instances``, of a folder the
        SOPInstanceUID of each by the name of its file, as answers name it; ``labels``, the classes
        that were given to it, the newest first, of which the first counts: each with ``density``,
        ``scale``, ``percent_density`` by view, ``by``, ``when`` (ISO 8601), ``model`` (whose answer
        was accepted or corrected; empty without one), ``image`` and ``version``; ``tissue``, who
        corrected the dense tissue of a view, when, and the UIDs of the view, by image; ``read_by``,
        who gave a class; ``hidden``, whether labels and tissue of others are left out.

    Args:
        image: an id of the datastore.
        reader: from whom `hidden_exams` are kept; empty for somebody who sees all.

    Raises:
        InputError: it belongs to no mammography exam.
    """
    exams = store.exam_ids()
    if (exam := exams.get(image)) is None:
        raise InputError(
            f"image '{image}' belongs to no mammography exam by its tags or name; open a mammogram"
        )
    images = [id for id, other in exams.items() if other == exam]
    hidden = bool(hidden_images(store, image, reader))
    labels = [] if hidden else [label for id in images for label in _labels(store, id)]
    tissue = {id: found for id in images if (found := _tissue(store, id))}
    labels.sort(key=lambda label: label["when"], reverse=True)
    return {
        "exam": exam,
        "images": images,
        "instances": _instances(store, images) if store.is_local else {},
        "labels": list(_once(labels)),
        "tissue": {id: one for id, one in tissue.items() if not hidden or one["by"] == reader},
        "read_by": readers_of(store, images),
        "hidden": hidden,
    }


def _instances(store: StudiesProtocol, images: Iterable[str]) -> dict[str, str]:
    return {
        file.name: store.uids_of(id).get("SOPInstanceUID", "")
        for id, file in store.files(images).items()
    }


def _labels(store: StudiesProtocol, image: str) -> Iterator[dict[str, Any]]:
    """Yield the classes among the accepted labels of an image; other labels are passed over."""
    for version in standing(store.label_versions(image)):
        try:
            yield {"image": image, "version": version.number, **_as_dict(store, image, version)}
        except InputError:  # a mask of another task, or damaged
            continue


def _as_dict(store: StudiesProtocol, image: str, version: LabelVersion) -> dict[str, Any]:
    file = store.version_file(image, version)
    return {
        "density": read_density(file),
        "scale": read_scale(file),
        "percent_density": read_percent(file) if file.suffix.lower() == ANSWER else {},
        "by": version.reader,
        "when": version.time.isoformat(),
        "model": str(version.info.get("model") or ""),
    }


def _once(labels: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield labels without those that an archive keeps once for all images of an exam."""
    seen = set()
    for label in labels:
        key = label["density"], label["by"], label["when"]
        if key not in seen:
            seen.add(key)
            yield label


def _tissue(store: StudiesProtocol, image: str) -> dict[str, str]:
    """Return who corrected the dense tissue of an image, when, and its UIDs; empty if nobody."""
    info = store.get_label_info(image, TISSUE)
    if not info:
        return {}
    when = datetime.fromtimestamp(float(info.get("ts") or 0), timezone.utc)
    return {"by": reader_of(info), "when": when.isoformat(), **store.uids_of(image)}
