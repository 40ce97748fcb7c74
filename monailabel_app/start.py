"""What is made sure of before the server, or a process beside it, starts to work."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from lib.errors import DivergedError, InputError
from lib.leftovers import leave_private_folder, use_private_folder, why_not_writable

logger = logging.getLogger(__name__)

BACKGROUND_NICENESS = 10
_STARTS = "action_start_server"  # the function of `monailabel start_server`
_IN_STUDIES = ("labels", "labels/final", "labels/original")


@contextmanager
def starting() -> Iterator[None]:
    """Let errors of the user or the disk within the context end the process with one line.

    uvicorn would print a traceback.
    """
    try:
        yield
    except InputError as error:
        refuse_to_start(str(error))
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        refuse_to_start(f"the server cannot start: {error.strerror or error}{where}")


def refuse_to_start(reason: str) -> NoReturn:
    """End the process with one line and the status 2."""
    logger.error(reason)
    print(f"Error: {reason}", flush=True)
    leave_private_folder()
    os._exit(2)


def considerate(work: Callable[[], dict[str, Any]], alone: bool) -> dict[str, Any]:
    """Do what a client asked for; in a process of its own at a lower priority than the server.

    Args:
        alone: whether this is such a process; an error of the user ends it with one line.
    """
    if not alone:
        return work()
    os.nice(BACKGROUND_NICENESS)
    try:
        return work()
    except (InputError, DivergedError) as error:
        sys.exit(f"Error: {error}")  # one line in the task's details, not a traceback


def prepare_temporary_folder() -> None:
    """Keep temporary files in a folder of this process, and remove those of killed ones.

    Raises:
        InputError: there is no folder for temporary files.
    """
    _remove_log_config()
    try:
        use_private_folder()
    except OSError as error:
        raise InputError(
            f"no folder for temporary files ({error.strerror or error}); set TMPDIR to one that "
            f"can be written to"
        ) from None


def _remove_log_config() -> None:
    """Remove the file from which uvicorn read how to log, which MONAI Label (0.8.5) leaves.

    Only the function that made it knows its name; it called what called this.
    """
    frame = sys._getframe()
    while (caller := frame.f_back) is not None:
        frame = caller
        file = frame.f_locals.get("log_config")
        if frame.f_code.co_name == _STARTS and file and file != frame.f_locals["args"].log_config:
            Path(file).unlink(missing_ok=True)
            return


def check_studies(folder: Path) -> None:
    """Make sure that images can be read from a studies folder, and labels written into it.

    Raises:
        InputError: it is none, cannot be read or written to, or its labels lie elsewhere.
    """
    check_folder("studies folder", folder)
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        raise InputError(
            f"studies folder '{folder}' cannot be read ({error.strerror}); {_RIGHTS}"
        ) from None
    root = folder.resolve()
    for name in _IN_STUDIES:
        inner = folder / name
        if os.path.lexists(inner):
            if not Path(os.path.realpath(inner)).is_relative_to(root):
                raise InputError(
                    f"'{name}' of studies folder '{folder}' is a link that leads out of it; move "
                    f"the labels into the folder"
                )
            check_folder(f"'{name}' of the studies,", inner)


def check_folder(what: str, folder: Path) -> None:
    """Make sure that files can be written into a folder; it is made if it is missing.

    Raises:
        InputError: it cannot be made or written to, or is a file; the message begins with `what`.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{what} '{folder}' is a file, or a link to nothing; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{what} '{folder}' cannot be made ({error.strerror}); make it, or give another"
        ) from None
    if reason := why_not_writable(folder):
        raise InputError(f"{what} '{folder}' cannot be written to ({reason}); {_RIGHTS}")


def check_models(folder: Path) -> bool:
    """Tell whether weights can be kept in a folder; one that is read only serves its weights.

    Raises:
        InputError: it cannot be made, or is a file.
    """
    if folder.is_dir() and (reason := why_not_writable(folder)):
        logger.warning(
            f"model_dir '{folder}' cannot be written to ({reason}): its weights are served, and "
            f"trainings and uploads refused"
        )
        return False
    check_folder("model_dir", folder)
    return True


_RIGHTS = "give the user of the server the right to, or copy its files to another folder"
