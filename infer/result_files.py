"""Files of the latest answers, for viewers to fetch; gone with the server."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError, NotFoundError

KEPT = 16  # answers; their files take up to 40 MiB each
MEGABYTES, MINUTES = 1000.0, 60.0  # of all answers that are kept


@dataclass(frozen=True)
class _Kept:
    names: frozenset[str]
    size: int  # bytes
    made: float  # by time.monotonic


class ResultFiles:
    """Keeps the files of the latest `KEPT` answers, each under a key that nobody can guess."""

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self._bytes, self._seconds = MEGABYTES * 1e6, MINUTES * 60
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._answers: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def bound(self, megabytes: float, minutes: float) -> None:
        """Keep no more than so many megabytes from now on, and none for longer."""
        self._bytes, self._seconds = megabytes * 1e6, minutes * 60

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Yield a folder for the files of one answer; its name is their key.

        At the end of the context the files can be found, and those of the oldest answers are
        deleted. If writing fails, the folder is deleted.

        Raises:
            InputError: the files alone are larger than what is kept.
        """
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="monailabel_results_")
        folder = Path(self._folder.name, secrets.token_urlsafe(16))
        folder.mkdir()
        try:
            yield folder
            names = frozenset(os.listdir(folder))
            size = sum((folder / name).stat().st_size for name in names)
            if size > self._bytes:
                raise InputError(
                    f"the files of this answer take {size / 1e6:.1f} MB, the server keeps "
                    f"{self._bytes / 1e6:g} MB; ask for fewer, or start it with more --conf "
                    f"results_mb"
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._answers[folder.name] = _Kept(names, size, time.monotonic())
            self._drop()

    def expire(self) -> None:
        """Delete the files of answers that were kept long enough."""
        with self._lock:
            self._drop()

    def find(self, key: str, name: str) -> Path:
        """Return a file.

        Raises:
            NotFoundError: no answer of this key is kept, or it has no such file.
        """
        with self._lock:
            self._drop()
            answer = self._answers.get(key)
            if answer is None or self._folder is None:
                raise NotFoundError(
                    f"these results are gone, the server keeps those of its last {self.kept} "
                    f"answers for {self._seconds / 60:g} minutes; ask for them again with POST "
                    f"/infer/<model>"
                )
            if name not in answer.names:
                raise NotFoundError(
                    f"no file '{name}' here; there are {', '.join(sorted(answer.names))}"
                )
            return Path(self._folder.name, key, name)

    def _drop(self) -> None:
        """Delete the oldest answers until the others are few, small and young enough."""
        total = sum(answer.size for answer in self._answers.values())
        oldest_allowed = time.monotonic() - self._seconds
        for key, answer in list(self._answers.items()):
            many = len(self._answers) > self.kept or total > self._bytes
            if not many and answer.made >= oldest_allowed:
                return
            del self._answers[key]
            total -= answer.size
            if self._folder is not None:
                shutil.rmtree(Path(self._folder.name, key), ignore_errors=True)
