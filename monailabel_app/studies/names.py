"""Image ids and label tags, which become names of files and folders."""

from __future__ import annotations

import re

from lib.data.versions import VERSIONS
from lib.errors import InputError

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FORBIDDEN_IN_ID = re.compile(r"[/\\\x00-\x1f]|^\.|\.\.")


def check_id(image_id: str) -> str:
    """Return `image_id` if it can be a file name inside the studies folder.

    Raises:
        InputError: it is empty, too long or hidden, or leads out of the folder.
    """
    if not image_id or len(image_id) > 200 or _FORBIDDEN_IN_ID.search(image_id):
        raise InputError(
            f"image id {image_id[:80]!r} is not a plain name: expected 1 to 200 characters without "
            f"slashes, '..' or a leading dot"
        )
    return image_id


def tag_name(tag: object) -> str:
    """Return a label tag as text: MONAI Label hands over texts and members of an enumeration."""
    return str(getattr(tag, "value", tag))


def check_tag(tag: object) -> str:
    """Return a label tag as text, if it can be the name of a label folder.

    Raises:
        InputError: it cannot.
    """
    name = tag_name(tag)
    if name == VERSIONS.name:
        raise InputError(f"label tag '{name}' is the folder of earlier labels; choose another tag")
    if not _TAG.fullmatch(name) or ".." in name:
        raise InputError(
            f"label tag {name[:80]!r} is not a plain name: expected letters, digits, '-' and '_', "
            f"such as final or original"
        )
    return name
