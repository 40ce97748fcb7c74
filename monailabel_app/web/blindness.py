"""Second reads are blind: whose requests are answered without what others said of a density.

Readers are the people with the roles user and annotator; reviewers and administrators see all. On
a server without users a request may name its reader, and sees all if it does not.
"""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from lib.data.versions import UNKNOWN, LabelVersion, reader_of
from monailabel_app.services import AppServices
from monailabel_app.studies.blindness import (
    hidden_exams,
    hidden_images,
    is_density,
    readers_of,
    tells_density,
)
from monailabel_app.studies.protocol import FINAL, ORIGINAL, StudiesProtocol
from monailabel_app.web.access import Access
from monailabel_app.web.parameters import TEXT
from monailabel_app.web.people import person

_HOW = "give the exam a class first (A, B, C or D); the role reviewer sees it without"


def blind_reader(asked: str = "") -> str:
    """Return the name of the reader who asks; empty for somebody who sees all.

    Args:
        asked: name that the request gives; a login counts more.

    Raises:
        InputError: no text that can be a name.
    """
    who = person()
    if who.name:
        return "" if who.access >= Access.REVIEWER else reader_of({"user": who.name})
    name = reader_of({"client_id": TEXT.read("reader", asked)})
    return "" if name == UNKNOWN else name


def require_sight(app: AppServices, image: str, tag: str) -> None:
    """Refuse with 403 a label that tells a density which is hidden from who asks."""
    store = app.datastore()
    reopened = tag == ORIGINAL and app.reopened_for(image) is not None
    told = FINAL if reopened else tag  # of a reopened image the accepted label is given as original
    if (reader := blind_reader()) and tells_density(store.get_label_info(image, told), told):
        _require(store, image, reader)


def require_version_sight(store: StudiesProtocol, image: str, number: int) -> None:
    """Refuse with 403 a version of a label that tells a density which is hidden from who asks."""
    if (reader := blind_reader()) and is_density(store.label_version(image, number)):
        _require(store, image, reader)


def require_all_seen(store: StudiesProtocol) -> None:
    """Refuse with 403 what holds the labels of all exams, if any is hidden from who asks."""
    if hidden := hidden_exams(store, blind_reader()):
        raise HTTPException(
            403,
            f"it holds what others said of {len(hidden)} exams that you have not read; read them "
            f"first, or ask somebody with the role reviewer for it",
        )


def _require(store: StudiesProtocol, image: str, reader: str) -> None:
    if images := hidden_images(store, image, reader):
        who = ", ".join(readers_of(store, images)) or "another reader"
        raise HTTPException(403, f"{who} read this exam, you did not yet: {_HOW}")


def shown_version(version: LabelVersion, hidden: bool) -> dict[str, Any]:
    """Return a version as plain data; of a density that is hidden who gave it and when."""
    told = version.as_dict()
    if hidden and is_density(version):
        return {key: told[key] for key in ("version", "reader", "time")}
    return told


def shown_listing(store: StudiesProtocol, listing: Any) -> Any:
    """Return GET /datastore/?output=all without densities that are hidden from who asks."""
    objects = listing.get("objects") if isinstance(listing, dict) else None
    hidden = hidden_exams(store, blind_reader()) if isinstance(objects, dict) else {}
    if not isinstance(objects, dict) or not hidden:
        return listing
    shown = dict(objects)
    for image in (image for images in hidden.values() for image in images if image in objects):
        labels = {
            tag: label
            for tag, label in objects[image]["labels"].items()
            if not tells_density({"name": f"label{label['ext']}"}, tag)
        }
        shown[image] = {**objects[image], "labels": labels}
    return {**listing, "objects": shown}
