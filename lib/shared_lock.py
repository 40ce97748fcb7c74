"""A lock that the threads of a process and the processes of several machines share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

POLL_SECONDS = 0.005  # between tries, while another process holds the lock


class SharedLock:
    """A file that one thread of one process locks at a time; a killed process loses its lock.

    On a file system of several machines, such as NFS 4, it holds between these too. A thread that
    holds it may take it again.

    Args:
        file: made with its folder when the lock is first taken.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._guard = threading.RLock()
        self._lock = FileLock(str(file), thread_local=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it during the context.

        Raises:
            OSError: the file cannot be made.
        """
        with self._guard:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.acquire(poll_interval=POLL_SECONDS):
                yield

    @contextmanager
    def tried(self) -> Iterator[bool]:
        """Hold the lock during the context if it is free; tell whether it was.

        Raises:
            OSError: as `held` does.
        """
        if not self._guard.acquire(blocking=False):
            yield False
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                yield False
                return
            try:
                yield True
            finally:
                self._lock.release()
        finally:
            self._guard.release()
