"""Temporary files and folders that say by a lock on them whether whoever made them still works.

A killed process loses its locks with its life, whatever its number was, and in whatever container
on the machine it ran. So what lies about unlocked belongs to nobody, and goes. Where a file system
has no such locks (and on Windows), what is an hour old counts as left behind.
"""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY_SUFFIX = ".partial"
PRIVATE = "monailabel-app-"  # begins the names of folders of running programs
OLD_SECONDS = 3600.0

Handle = int | None
"""What keeps the lock, for `release`; None where there are no locks."""


def new_file(folder: Path, prefix: str, suffix: str) -> tuple[Path, Handle]:
    """Make an empty file of its own name that is known to be in use until `release`."""

    def make() -> Path:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=folder)
        os.close(handle)
        return Path(name)

    return _made(make)


@contextmanager
def new_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder, for its owner alone, that is known to be in use; it is removed after."""
    path, handle = _made(lambda: Path(tempfile.mkdtemp(prefix=prefix, dir=parent)))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        release(handle)


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Let a file or folder that is there be known as in use."""
    handle = _open(path)
    if handle is not None:
        _lock(handle)
    try:
        yield
    finally:
        release(handle)


def release(handle: Handle) -> None:
    """Say that what was made is no longer in use."""
    if handle is not None:
        os.close(handle)


def remove_left(paths: Iterable[Path]) -> None:
    """Delete those of these files and folders that nobody uses any more; links are left alone."""
    for path in paths:
        handle = _open(path)
        if handle is None:
            locked = None
        elif not (locked := _lock(handle)):
            release(handle)
        try:
            facts = path.lstat()
            old = time.time() - facts.st_mtime > OLD_SECONDS
            if locked or (locked is None and old):
                _remove(path, facts.st_mode)
        except OSError:
            pass  # somebody else's, or gone
        finally:
            if locked:
                release(handle)


def use_private_folder() -> Path:
    """Let `tempfile` make all files of this process in a folder of its own, gone with it.

    The folders of processes that were killed are removed. It lies in ``TMPDIR``, which stays as it
    is for the programs that this one starts.
    """
    parent = Path(tempfile.gettempdir())
    if parent.name.startswith(PRIVATE) and parent.is_dir():  # the app was loaded before
        return parent
    path = process_folder(parent, PRIVATE)
    tempfile.tempdir = str(path)
    return path


def process_folder(parent: Path, prefix: str) -> Path:
    """Make a folder that is known to be in use until this process ends, and is removed then.

    The folders of processes that were killed are removed.
    """
    remove_left(parent.glob(f"{prefix}*"))
    started, owner = time.strftime("%Y%m%dT%H%M%S"), os.getpid()
    name = f"{prefix}{owner}-{started}-"
    path, _ = _made(lambda: Path(tempfile.mkdtemp(prefix=name, dir=parent)))

    def remove() -> None:
        if os.getpid() == owner:  # a fork may end, too
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return path


def leave_private_folder() -> None:
    """Remove the folder of `use_private_folder` before an end that runs no clean-up."""
    if tempfile.tempdir and Path(tempfile.tempdir).name.startswith(PRIVATE):
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)


def why_not_writable(folder: Path) -> str:
    """Return why no file can be made in a folder; empty if one can, or only room is lacking."""
    try:
        path, handle = new_file(folder, ".check-", TEMPORARY_SUFFIX)
    except OSError as error:
        return "" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
    path.unlink(missing_ok=True)
    release(handle)
    return ""


def _made(make: Callable[[], Path]) -> tuple[Path, Handle]:
    while True:
        path = make()
        handle = _open(path)
        if handle is None:
            return path, None
        # before it was locked it may have been taken for a leftover
        if _lock(handle) is not False and _is_at(handle, path):
            return path, handle
        os.close(handle)


def _open(path: Path) -> Handle:
    if fcntl is None:
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _lock(handle: int) -> bool | None:
    """Tell whether the lock was free; None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _remove(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        shutil.rmtree(path, ignore_errors=True)
    elif stat.S_ISREG(mode):
        path.unlink()
