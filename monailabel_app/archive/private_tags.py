"""Private tags of this app's DICOM objects, for what DICOM has no standard tag for.

They hold the label tag (final, original ...) and the information that the client sent with the
label. With them a server with an empty cache finds again what a person accepted. Other programs
ignore private tags and archives keep them.
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


def write_private_tags(data: Dataset, tag: str, info: dict[str, Any]) -> None:
    """Write the label tag and the client's information into an object.

    Raises:
        InputError: the information is too long.
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


def read_label_tag(data: Dataset) -> str:
    """Return the label tag of an object; empty if this app did not write the object."""
    return _text(data, _TAG)


def read_label_info(data: Dataset) -> dict[str, Any]:
    """Return the client's information on a label; empty if this app did not write the object."""
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
    if isinstance(value, bytes):  # an archive that does not know the tag drops its type
        value = value.decode("utf-8", "replace")
    return str(value).strip(" \0")
