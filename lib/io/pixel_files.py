"""Volumes whose header names another file that holds their pixels: .mhd, and some NRRD."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lib.errors import InputError
from lib.image import META_EXTENSIONS, damaged, has_extension
from lib.io.stored import HEADER_BYTES

_WITH_HEADER = (".nrrd", *META_EXTENSIONS)  # may name another file that holds the pixels
_PIXEL_FILES = (".raw", ".zraw", ".raw.gz")
_META_DATA_FILE = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:](.*)$", re.MULTILINE)
_NRRD_DATA_FILE = re.compile(rb"^data ?file:(.*)$", re.MULTILINE | re.IGNORECASE)
_LONGEST_NAME = 255  # bytes; file systems allow no more
_ADVICE = "save it as .mha or .nrrd in one file (an upload to the server carries one only)"


def pixel_file(path: Path) -> Path | None:
    """Return the file beside the header `path` that holds its pixels, and only its.

    None where `path` holds its pixels itself; where the pixel file is missing, lies in another
    folder or has another extension than ``.raw``, ``.zraw`` and ``.raw.gz``; and where another
    header names it too.
    """
    name = named_pixels(path)
    if not name.lower().endswith(_PIXEL_FILES):
        return None
    others = (other for other in path.parent.iterdir() if other != path and other.is_file())
    headers = (other for other in others if has_extension(other, _WITH_HEADER))
    return None if any(named_pixels(other) == name for other in headers) else path.parent / name


def named_pixels(path: Path) -> str:
    """Return the name of the file beside `path` that holds its pixels; empty if there is none."""
    try:
        return data_file(path)
    except (InputError, OSError):
        return ""


def data_file(path: Path) -> str:
    """Return the name of the file beside `path` that holds its pixels; empty if `path` does.

    Raises:
        InputError: there is no such file, or the header names one in another folder, or a link to
            one. Links to both, as data sets have that keep their content elsewhere, are followed.
    """
    name = data_file_name(path)
    pixels = path.parent / name
    if name and not pixels.is_file():
        raise InputError(
            f"{path.name}: its pixel file '{name}' is not beside it; copy both, or {_ADVICE}"
        )
    if name and not path.is_symlink() and pixels.resolve().parent != path.parent.resolve():
        raise InputError(
            f"{path.name}: its pixel file '{name}' is a link to another folder, expected the file "
            f"itself; copy it, or {_ADVICE}"
        )
    return name


def data_file_name(path: Path) -> str:
    """Return the name that the header gives of the file that holds its pixels, empty for itself.

    Raises:
        InputError: it is in another folder: a file from outside must not choose what is read on
            this machine.
    """
    if not has_extension(path, _WITH_HEADER):
        return ""
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if has_extension(path, META_EXTENSIONS):
        found = _META_DATA_FILE.search(header)
        cut = found is None
    else:
        header, *pixels = re.split(rb"\r?\n\r?\n", header, maxsplit=1)
        found = _NRRD_DATA_FILE.search(header)
        cut = not pixels and len(header) == HEADER_BYTES
    if cut:
        raise damaged(path, ValueError("its header has no end"))
    name = found.group(1).decode(errors="replace").strip() if found else "LOCAL"
    if name.upper() == "LOCAL":
        return ""
    name = name.removeprefix("./")
    several = name.startswith("LIST") or "%" in name
    if several or name != Path(name).name or len(name.encode()) > _LONGEST_NAME:
        raise InputError(
            f"{path.name}: its pixels lie in '{name[:_LONGEST_NAME]}', expected one file beside "
            f"it; {_ADVICE}"
        )
    return name


def with_pixel_file(path: str | os.PathLike[str], *_: object) -> list[Path]:
    """Return the files that a volume consists of, that of its header first."""
    path = Path(path)
    named = named_pixels(path)
    return [path, path.parent / named] if named else [path]
