"""Names of uploaded files, which MONAI Label makes part of the names of temporary files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lib.errors import InputError, shown
from lib.image import has_extension
from lib.io.read import extension
from monailabel_app.services import AppServices
from monailabel_app.studies.names import check_new_id
from monailabel_app.web.ownership import check_session

_SEGMENTATION = ".seg"  # before .nrrd, as 3D Slicer names its files
_SUFFIX = re.compile(r"\.[a-z0-9]{1,12}")
_ODD = re.compile(r"[^A-Za-z0-9_-]+")  # a dot too: MONAI Label takes what follows for a suffix
_BASE_LENGTH = 60
_OF_SESSIONS = "meta.info"  # MONAI Label's own record in the folder of a session


def take_name(upload: Any, name: str) -> str:
    """Give an uploaded file a short name of plain letters, and return the one it had.

    Args:
        name: if it had none.
    """
    sent = str(upload.filename or "")
    suffix = _suffix(sent)
    base = re.split(r"[/\\]", sent)[-1]
    base = base[: len(base) - len(suffix)] if base.lower().endswith(suffix) else base
    upload.filename = f"{_ODD.sub('-', base)[:_BASE_LENGTH] or name}{suffix}"
    return sent


def _suffix(sent: str) -> str:
    """Return the suffix of a file name as far as it says what the file is, in lower case."""
    if known := extension(sent):
        stem = sent[: -len(known)]
        return f"{_SEGMENTATION}{known}" if has_extension(stem, (_SEGMENTATION,)) else known
    end = sent.lower().rpartition(".")[2]
    return f".{end}" if _SUFFIX.fullmatch(f".{end}") and "." in sent else ""


def check_session_files(uploads: list[Any]) -> None:
    """Refuse names that no file in the folder of a session can have.

    Raises:
        InputError: a name is none, or is there twice.
    """
    names = set()
    for upload in uploads:
        name = re.split(r"[/\\]", str(upload.filename or ""))[-1]
        check_new_id(name, "file name")
        if name == _OF_SESSIONS or name in names:
            raise InputError(f"file name '{shown(name)}' is taken; rename the file, send it again")
        names.add(name)
        upload.filename = name


def require_one_image(sessions: Any, session: str) -> None:
    """Refuse a session of several files, which MONAI Label keeps as a folder.

    Raises:
        InputError: it is one.
    """
    image = Path(sessions.get_session(session).image)
    if image.is_dir():
        raise InputError(
            f"session '{session}' holds {len(list(image.iterdir()))} files, expected one image; "
            f"send them as one volume or as sessions of their own"
        )


def require_source(app: AppServices, arguments: dict[str, Any]) -> None:
    """Refuse a request for an answer that names no image that there is.

    Raises:
        InputError: it names none, or a file that is sent has no plain name.
        NotFoundError: there is no such image, or no such session of who asks.
    """
    if arguments.get("file"):
        take_name(arguments["file"], "image")
    elif arguments.get("session_id"):
        check_session(app.sessions(), arguments["session_id"])
        require_one_image(app.sessions(), arguments["session_id"])
    elif arguments.get("image"):
        app.datastore().require_image(arguments["image"])
    else:
        raise InputError("give an image id, a session id or a file to run the model on")
