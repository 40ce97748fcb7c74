"""What 3D Slicer's module needs beyond MONAI Label's answers to show what is meant.

* It loads a picture whose name differs from others in its folder by numbers only, and all these,
  as one volume. Such an image is downloaded instead, under a name without digits.
* Over a new sample it loads the label with the tag ``original``, and no other. Of a finished image
  that is given out again that is the accepted label, until a new one is saved.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi.responses import FileResponse

from infer.base import write_label
from lib.data.label_names import read_label_info
from lib.data.labels import names_in
from lib.errors import InputError
from lib.files import sha256
from lib.image import PICTURE_EXTENSIONS, Geometry
from lib.io.labels import read_label
from lib.io.read import extension, image_geometry, stem
from lib.segmentation.shown import as_segments
from lib.tasks.spec import TaskSpec
from monailabel_app.services import AppServices
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.protocol import FINAL, ORIGINAL
from monailabel_app.web.request_files import PassingFile

logger = logging.getLogger(__name__)

SHOWN = ".nrrd"  # file type of a label that is made for Slicer
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def as_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a next sample so that Slicer loads this image alone.

    Args:
        sample: with the ``path`` of the image and, for the clients that download it, its ``name``.
    """
    path = Path(str(sample.get("path") or ""))
    if extension(path) not in PICTURE_EXTENSIONS or not _has_siblings(path):
        return sample
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8].translate(_LETTERS)
    letters = re.sub(r"\d", lambda digit: digit.group().translate(_LETTERS), stem(path))
    return {
        **{key: value for key, value in sample.items() if key != "path"},
        "name": f"{letters}-{digest}{extension(path)}",
        "checksum": f"SHA256:{sha256(path)}",  # else Slicer takes an older file of this name
    }


def _has_siblings(path: Path) -> bool:
    """Tell whether another file in the folder differs from this one in numbers only."""
    pattern = re.compile(re.sub(r"(?:\\?\d)+", r"\\d+", re.escape(path.name)))
    if not path.is_file() or not re.search(r"\d", path.name):
        return False
    return any(
        other.name != path.name and pattern.fullmatch(other.name) for other in path.parent.iterdir()
    )


def as_listed(app: AppServices, listing: Any) -> Any:
    """Return GET /datastore/?output=all in which reopened images have their accepted label twice.

    That is as ``final`` and, as `label_file` gives it, as ``original``; the datastore itself is
    left as it is.

    Args:
        listing: that of the datastore; one of another ``output`` is returned as it is.
    """
    objects = listing.get("objects") if isinstance(listing, dict) else None
    if not isinstance(objects, dict):
        return listing
    shown = {}
    for id, entry in objects.items():
        if FINAL in entry["labels"] and (task := app.reopened_for(id)) is not None:
            final = entry["labels"][FINAL]
            try:
                found = _segments(app, id, task)
            except InputError as error:  # of what was changed by hand; the others are listed
                logger.warning(f"Label of '{id}' is not shown: {error}")
                continue
            if found is not None:
                params = {**(final["info"].get("params") or {}), "label_names": found.names}
                final = {"ext": SHOWN, "info": {**final["info"], "params": params}}
            shown[id] = {**entry, "labels": {**entry["labels"], ORIGINAL: final}}
    return {**listing, "objects": {**objects, **shown}}


def label_file(app: AppServices, image: str, tag: str) -> FileResponse | None:
    """Return what the module shows as the ``original`` of a reopened image; None for any other.

    That is its accepted label, with the values that `lib.segmentation.shown.as_segments` gives it.
    """
    task = app.reopened_for(image) if tag == ORIGINAL else None
    uri = app.datastore().get_label_uri(image, FINAL) if task is not None else ""
    if task is None or not uri:  # or removed meanwhile
        return None
    if (found := _segments(app, image, task)) is None:
        return FileResponse(uri, filename=Path(uri).name)
    file = write_label(found.label, found.geometry, SHOWN)
    return PassingFile(file, filename=f"{image}{SHOWN}")


class _Segments(NamedTuple):
    label: np.ndarray
    names: dict[str, int]
    geometry: Geometry


def _segments(app: AppServices, image: str, task: TaskSpec) -> _Segments | None:
    """Return the accepted label of an image as segments; None for a density."""
    store = app.datastore()
    file = Path(store.get_label_uri(image, FINAL))
    if file.suffix.lower() == ANSWER:
        return None
    geometry = image_geometry(store.files([image])[image])
    label = read_label(file, geometry)
    told = read_label_info(store.get_label_info(image, FINAL).get("label_info"))
    return _Segments(*as_segments(label, names_in(file, told, label), task.labels), geometry)
