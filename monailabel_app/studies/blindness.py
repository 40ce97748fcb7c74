"""What a reader may see of the density of an exam: what others said only after an own class.

Who read an exam is told to everybody. A second read without sight of the first is worth something
only if no way leads to the first answer, so each route that tells a density asks here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from lib.data.versions import LabelVersion, reader_of, standing
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.protocol import FINAL, ORIGINAL, StudiesProtocol

TISSUE = "dense_tissue"  # tag of label images in which a reader corrected the dense tissue


def is_density(version: LabelVersion) -> bool:
    """Tell whether a version of an accepted label is the density of an exam."""
    return version.file is not None and version.file.suffix.lower() == ANSWER


def tells_density(info: Mapping[str, Any], tag: str) -> bool:
    """Tell whether a label is what a reader said of the density: a class, or dense tissue.

    Args:
        info: on the label, with the ``name`` of its file.
    """
    is_class = Path(str(info.get("name") or "")).suffix.lower() == ANSWER
    return tag == TISSUE or (is_class and tag != ORIGINAL)


def hidden_exams(store: StudiesProtocol, reader: str) -> dict[str, tuple[str, ...]]:
    """Return the exams of which a reader may not see what others said: the images, by exam.

    Args:
        reader: name of who asks; empty for somebody who sees all.
    """
    if not reader:
        return {}
    exams: dict[str, list[str]] = defaultdict(list)
    for image, exam in store.exam_ids().items():
        exams[exam].append(image)
    return {exam: tuple(own) for exam, own in exams.items() if _is_hidden(store, own, reader)}


def hidden_images(store: StudiesProtocol, image: str, reader: str) -> tuple[str, ...]:
    """Return the images of the exam of an image if the exam is among `hidden_exams`; else none."""
    if not reader:
        return ()
    exams = store.exam_ids()
    own = [id for id, exam in exams.items() if exam == exams.get(image)] if image in exams else []
    return tuple(own) if _is_hidden(store, own, reader) else ()


def readers_of(store: StudiesProtocol, images: Iterable[str]) -> list[str]:
    """Return who gave the exam of these images a class, sorted."""
    found = {
        version.reader
        for image in images
        if store.get_label_by_image_id(image, FINAL)
        for version in standing(store.label_versions(image))
        if is_density(version)
    }
    return sorted(found)


def _is_hidden(store: StudiesProtocol, images: Collection[str], reader: str) -> bool:
    readers = readers_of(store, images)
    if reader in readers:
        return False
    drawn = (store.get_label_info(image, TISSUE) for image in images)
    return bool(readers) or any(info and reader_of(info) != reader for info in drawn)
