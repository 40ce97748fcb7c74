"""What the app keeps in its own objects beside what DICOM has a place for, in private tags.

The tag of a label (final, original ...) and what the client said of it: so a server with an empty
cache finds again what a person accepted. Other programs ignore it and archives keep it.
"""

from __future__ import annotations

import json
from typing import Any

from pydicom import Dataset

from lib.dicom.objects import MANUFACTURER
from lib.errors import InputError

GROUP, CREATOR = 0x0069, MANUFACTURER.upper()
_TAG, _INFO = 0x01, 0x02
_INFO_BYTES = 200_000


def mark(data: Dataset, tag: str, info: dict[str, Any]) -> None:
    """Write tag and client's information into an object.

    Raises:
        InputError: more information than a label has.
    """
    text = json.dumps(info, default=str)
    if len(text) > _INFO_BYTES:
        raise InputError(
            f"{len(text)} characters of information with a label, at most {_INFO_BYTES} are kept; "
            f"send less in params"
        )
    block = data.private_block(GROUP, CREATOR, create=True)
    block.add_new(_TAG, "LO", tag)
    block.add_new(_INFO, "UT", text)


def tag_of(data: Dataset) -> str:
    """Return the tag of an object of this app; empty of any other."""
    return _text(data, _TAG)


def info_of(data: Dataset) -> dict[str, Any]:
    """Return what the client said of a label; nothing where it is no object of this app."""
    try:
        info = json.loads(_text(data, _INFO) or "{}")
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def _text(data: Dataset, element: int) -> str:
    try:
        value = data.private_block(GROUP, CREATOR)[element].value
    except KeyError:
        return ""
    if isinstance(value, bytes):  # archives that do not know the tag give it without its type
        value = value.decode("utf-8", "replace")
    return str(value).strip(" \0")
