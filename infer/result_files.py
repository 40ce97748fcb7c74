"""Files of the latest answers, for viewers to fetch; gone with the server."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import NotFoundError

KEPT = 16  # answers; their files take up to 40 MiB each


class ResultFiles:
    """Keeps the files of the latest `KEPT` answers, each under a key that nobody can guess."""

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._names: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Yield a folder for the files of one answer; its name is their key.

        At the end of the context the files can be found, and those of the oldest answer are
        deleted. If writing fails, the folder is deleted.
        """
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="monailabel_results_")
        folder = Path(self._folder.name, secrets.token_urlsafe(16))
        folder.mkdir()
        try:
            yield folder
            names = frozenset(os.listdir(folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._names[folder.name] = names
            while len(self._names) > self.kept:
                oldest, _ = self._names.popitem(last=False)
                shutil.rmtree(folder.with_name(oldest), ignore_errors=True)

    def find(self, key: str, name: str) -> Path:
        """Return a file.

        Raises:
            NotFoundError: no answer of this key is kept, or it has no such file.
        """
        with self._lock:
            names = self._names.get(key)
            if names is None or self._folder is None:
                raise NotFoundError(
                    f"these results are gone, the server keeps those of its last {self.kept} "
                    f"answers; ask for them again with POST /infer/<model>"
                )
            if name not in names:
                raise NotFoundError(f"no file '{name}' here; there are {', '.join(sorted(names))}")
            return Path(self._folder.name, key, name)
