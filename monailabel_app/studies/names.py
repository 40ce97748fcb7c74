"""Image ids and label tags, which become names of files and folders."""

from __future__ import annotations

import re

from lib.data.versions import VERSIONS
from lib.errors import InputError, shown

MOST_BYTES = 200  # of a name in UTF-8: with suffixes and those of temporary files 255 are allowed

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FORBIDDEN_IN_ID = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]|^\.|\.\.")
_JOINERS = str.maketrans("", "", "\u200c\u200d")  # parts of words in some scripts, and of emoji


def is_plain(text: str) -> bool:
    """Tell whether all signs of a text can be printed: no controls, no marks of direction."""
    return text.translate(_JOINERS).isprintable()


def check_id(image_id: str, what: str = "image id") -> str:
    """Return `image_id` if it can be a file name inside the studies folder.

    Args:
        what: what the name is of, for the message.

    Raises:
        InputError: it is empty, too long or hidden, or leads out of the folder.
    """
    if _FORBIDDEN_IN_ID.search(image_id) or not 0 < len(image_id.encode()) <= MOST_BYTES:
        raise InputError(
            f"{what} '{shown(image_id)}' is not a plain name: expected 1 to {MOST_BYTES} bytes of "
            f"UTF-8 without slashes, control characters, '..' or a leading dot"
        )
    return image_id


def check_new_id(image_id: str, what: str = "image id") -> str:
    """Return a name for a new file, if it can be one and all its signs can be printed.

    Raises:
        InputError: it cannot.
    """
    if not is_plain(check_id(image_id, what)):
        raise InputError(
            f"{what} '{shown(image_id)}' has signs that do not print, such as marks of direction; "
            f"rename it"
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
            f"label tag '{shown(name)}' is not a plain name: expected letters, digits, '-' and "
            f"'_', such as final or original"
        )
    return name
