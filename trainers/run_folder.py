"""The folder in which one task is trained: one run at a time, and its status for viewers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lib.errors import BusyError
from lib.files import write_json
from lib.training.progress import STATS
from lib.training.resume import STATE

LOCK_SECONDS = 1.0  # longer than `in_progress` holds the lock


class RunFolder:
    """The folder of the runs of one task; made when needed."""

    def __init__(self, path: Path, task: str) -> None:
        self.path, self.task = path, task
        self._lock_file = str(path / ".lock")

    def stats(self) -> dict[str, Any]:
        """Return the status of the last run in the fields that viewers read; empty without one."""
        try:
            # a loss that is not finite has no place in a JSON answer
            text = (self.path / STATS).read_text()
            stats = json.loads(text, parse_constant=lambda _: None)
        except (OSError, ValueError):
            return {}
        # a process that was killed could not write that it ended
        stats["active"] = bool(stats.get("active")) and self.in_progress()
        if not stats["active"]:  # 3D Slicer takes a total time as the end of training
            stats["total_time"] = str(stats.get("seconds", 0))
        return dict(stats)

    def in_progress(self) -> bool:
        """Tell whether a run holds the folder."""
        try:
            with FileLock(self._lock_file, timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other runs of the task out of the folder, and record the end of a failed one.

        Raises:
            BusyError: another run is in progress.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._lock_file, timeout=LOCK_SECONDS):
                (self.path / STATS).unlink(missing_ok=True)  # of the run before
                try:
                    yield
                except BaseException:
                    if stats := self.stats():
                        write_json(self.path / STATS, {**stats, "active": False})
                    raise
        except Timeout:
            raise BusyError(
                f"'{self.task}' is being trained already; wait for it, or stop it with "
                f"DELETE /train/"
            ) from None

    def clear(self) -> None:
        """Drop the state of a finished or stopped run, so that the next starts afresh."""
        (self.path / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
