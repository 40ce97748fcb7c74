"""A cache of folders with a limit on its size; threads and processes make each folder once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.leftovers import new_folder, remove_left

logger = logging.getLogger(__name__)

GRACE_SECONDS = 600.0  # somebody may still be reading
_MAKING, _GONE, _SIZES = ".making-", ".gone-", ".sizes.json"


class FolderCache:
    """Folders `root/category/key`, each made when it is first needed, whole or not at all.

    Args:
        limit: size of all folders in bytes; beyond it the least recently used ones are removed.
        grace: seconds after its last use during which a folder is not removed.
    """

    def __init__(self, root: Path, limit: int, grace: float = GRACE_SECONDS) -> None:
        self.root, self.limit, self.grace = root, limit, grace
        root.mkdir(parents=True, exist_ok=True)
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()
        self._shrunk = -grace
        self._complete: set[Path] = set()
        self._clear_leftovers()

    def get(self, category: str, key: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of `key`; `make` makes it if it is not there.

        Args:
            make: writes the files into the folder it is given; its errors are passed on.
        """
        path = self.root / category / key
        if self._used(path):
            return path
        with self._guard:
            lock = self._locks[f"{category}/{key}"]
        with lock:
            if self._used(path):
                return path
            with making_folder(path) as new:
                make(new)
                (new / _SIZES).write_text(json.dumps(_sizes(new)))
        if time.monotonic() - self._shrunk >= self.grace / 20:
            self.shrink()
        return path

    def has(self, category: str, key: str) -> bool:
        """Tell whether the folder is there."""
        return (self.root / category / key).is_dir()

    def shrink(self) -> None:
        """Remove the least recently used folders until the rest is within the limit."""
        self._shrunk = time.monotonic()
        found = []
        for path in self.root.glob("*/*"):
            try:
                if path.is_dir() and not path.name.startswith("."):
                    found.append((path.stat().st_mtime, sum(_sizes(path).values()), path))
            except OSError:
                continue
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if total <= self.limit or time.time() - used < self.grace:
                return
            if _remove(path):
                total -= size

    def _used(self, path: Path) -> bool:
        """Tell whether a folder is there and complete, and note the time of its use.

        Files are not synced to the disk, which would take seconds for a series. After a power cut
        some may be empty; such a folder is made again.
        """
        try:
            os.utime(path)
        except OSError:
            return False
        if path in self._complete:
            return True
        try:
            complete = json.loads((path / _SIZES).read_bytes()) == _sizes(path)
        except (OSError, ValueError):
            complete = False
        if complete:
            self._complete.add(path)
        else:
            logger.warning(f"Cached {path.parent.name} {path.name} are incomplete; made again")
            _remove(path)
        return complete

    def _clear_leftovers(self) -> None:
        """Remove folders that a killed process was making."""
        remove_left(self.root.glob(f"*/{_MAKING}*"))
        remove_left(self.root.glob(f"*/{_GONE}*"))


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that becomes `path` when the body ends well, unless somebody was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # its mode is 0700: patients' images are for the server's user alone
    with new_folder(path.parent, _MAKING) as folder:
        yield folder
        try:
            folder.rename(path)
        except OSError:
            if not path.is_dir():
                raise


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each file."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != _SIZES)
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}


def _remove(path: Path) -> bool:
    """Rename a folder, so that nobody finds it any more, then delete it."""
    gone = path.with_name(f"{_GONE}{path.name}")
    try:
        path.rename(gone)
    except OSError:
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True
