"""What 3D Slicer's module needs beyond MONAI Label's answers to show what is meant.

* It loads a picture whose name differs from others in its folder by numbers only, and all these,
  as one volume. Such an image is downloaded instead, under a name without digits.
* Over a new sample it loads the label with the tag ``original``, and no other. Of a finished image
  that is given out again that is the accepted label, until a new one is saved.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from lib.files import sha256
from lib.image import PICTURE_EXTENSIONS
from lib.io.read import extension, stem
from monailabel_app.services import AppServices
from monailabel_app.studies.protocol import FINAL, ORIGINAL

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


def shown_tag(app: AppServices, image: str, tag: str) -> str:
    """Return the tag of the label that a request for a label is about."""
    return FINAL if tag == ORIGINAL and app.is_reopened(image) else tag


def as_listed(app: AppServices, listing: Any) -> Any:
    """Return GET /datastore/?output=all in which reopened images have their accepted label twice.

    That is as ``final`` and as ``original``; the datastore itself is left as it is.

    Args:
        listing: that of the datastore; one of another ``output`` is returned as it is.
    """
    objects = listing.get("objects") if isinstance(listing, dict) else None
    if not isinstance(objects, dict):
        return listing
    shown = {
        id: {**entry, "labels": {**entry["labels"], ORIGINAL: entry["labels"][FINAL]}}
        for id, entry in objects.items()
        if FINAL in entry["labels"] and app.is_reopened(id)
    }
    return {**listing, "objects": {**objects, **shown}}
