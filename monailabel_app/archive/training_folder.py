"""A studies folder with images, accepted labels and patients of an archive, made for a training."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lib.data.groups import Grouped, is_nobody, write_groups
from lib.data.studies import FINAL_LABELS
from lib.leftovers import process_folder
from monailabel_app.archive.cache import making_folder

_KEPT_SECONDS = 24 * 3600.0
_OF_PROCESS = "process-"  # begins the names of the folders of processes


@dataclass(frozen=True)
class Entry:
    """A file of a training folder.

    Attributes:
        name: of the file there.
        folder: of a label; that of the images is the training folder itself.
        patient: of the image; empty if it is not known.
    """

    file: Path
    name: str
    folder: Path = Path()
    patient: str = ""


def make_training_folder(root: Path, entries: Iterable[Entry]) -> Path:
    """Return a folder with the files of `entries`, in the layout of a studies folder.

    They are hard links and take no room. During a training neither the cache, when it makes room,
    nor a newer label can remove or replace them.

    Args:
        root: folder for the training folders, on the file system of the files.
    """
    files = sorted(entries, key=lambda entry: (entry.folder, entry.name))
    digest = hashlib.sha256()
    for entry in files:
        stat = entry.file.stat()
        digest.update(
            f"{entry.file}|{stat.st_ino}|{entry.folder / entry.name}|{entry.patient}\n".encode()
        )
    own = _own_folder(root, os.getpid())
    folder = own / digest.hexdigest()[:16]
    _remove_old(own)
    if folder.is_dir():
        os.utime(folder)
        return folder
    rows = [
        Grouped(entry.name.removesuffix(entry.file.suffix), entry.patient)
        for entry in files
        if entry.patient and not is_nobody(entry.patient)
    ]
    with making_folder(folder) as new:
        (new / FINAL_LABELS).mkdir(parents=True)
        for entry in files:
            (new / entry.folder).mkdir(parents=True, exist_ok=True)
            _link(entry.file, new / entry.folder / entry.name)
        if rows:
            write_groups(new, rows)
    return folder


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # a file system without links
        shutil.copy2(file, target)


@lru_cache
def _own_folder(root: Path, process: int) -> Path:
    """Return the folder of this process; those of processes that ended, anywhere, are removed."""
    root.mkdir(parents=True, exist_ok=True)
    return process_folder(root, _OF_PROCESS)


def _remove_old(own: Path) -> None:
    """Remove the training folders of this process that are a day old."""
    own.mkdir(exist_ok=True)
    for folder in own.iterdir():
        if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
