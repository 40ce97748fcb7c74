"""A studies folder made of the archive for a training: images, accepted labels, patients."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.data.groups import Grouped, is_nobody, write_groups
from lib.data.studies import FINAL_LABELS

_KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Entry:
    """A file of a snapshot: an image, or the label called `name`."""

    file: Path
    name: str
    label: bool = False
    patient: str = ""


def make_snapshot(root: Path, entries: Iterable[Entry]) -> Path:
    """Return a folder that holds the files of `entries`, in the layout of a studies folder.

    They are linked and take no room. What is trained on cannot be removed or replaced under it:
    neither by the cache that makes room, nor by a newer label.

    Args:
        root: of the snapshots of this process; on the file system of the files.
    """
    wanted = sorted(entries, key=lambda entry: (entry.label, entry.name))
    digest = hashlib.sha256()
    for entry in wanted:
        stat = entry.file.stat()
        digest.update(f"{entry.file}|{stat.st_ino}|{entry.name}|{entry.patient}\n".encode())
    own = root / str(os.getpid())
    own.mkdir(parents=True, exist_ok=True)
    _remove_old(root)
    folder = own / digest.hexdigest()[:16]
    if folder.is_dir():
        os.utime(folder)
        return folder
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=own))
    (making / FINAL_LABELS).mkdir(parents=True)
    for entry in wanted:
        _link(entry.file, making / (FINAL_LABELS / entry.name if entry.label else entry.name))
    rows = [
        Grouped(entry.name.removesuffix(entry.file.suffix), entry.patient)
        for entry in wanted
        if entry.patient and not is_nobody(entry.patient)
    ]
    if rows:
        write_groups(making, rows)
    try:
        making.rename(folder)
    except OSError:  # another thread was faster
        shutil.rmtree(making, ignore_errors=True)
        if not folder.is_dir():
            raise
    return folder


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # a file system without links
        shutil.copy2(file, target)


def _remove_old(root: Path) -> None:
    """Remove snapshots of processes that ended, and those a day old of this one."""
    for folder in root.iterdir():
        if folder.name.isdigit() and not _is_running(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (root / str(os.getpid())).iterdir():
        if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
