"""UIDs that follow from the id and the content of an image, so they are the same after a restart.

They are UUIDs of version 5 below 2.25 (PS3.5 B.2).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import lru_cache
from pathlib import Path

from lib.files import FileStamp, file_stamp
from lib.io.pixel_files import with_pixel_file

_NAMESPACE = uuid.UUID("0b7e2f4e-8d0f-5a51-9d3c-6b8c9a1de7f2")
_PART = 1 << 16  # bytes read at the start, in the middle and at the end of a file
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LONGEST = 64


def uid_of(*names: object) -> str:
    """Return the UID of what is named so."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(map(str, names))).int}"


def is_uid(text: str) -> bool:
    """Tell whether a text has the form of a UID (PS3.5 9.1)."""
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None


def content_of(path: Path) -> str:
    """Return a text that tells the content of an image's files: their sizes and parts of them."""
    return "".join(_part_of(file, file_stamp(file)) for file in with_pixel_file(path))


@lru_cache(maxsize=65536)
def _part_of(path: Path, stamp: FileStamp) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for start in sorted({0, max(0, (size - _PART) // 2), max(0, size - _PART)}):
            file.seek(start)
            digest.update(file.read(_PART))
    return digest.hexdigest()
