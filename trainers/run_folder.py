"""The folder in which one task is trained: one run at a time, and its status for viewers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from socket import gethostname
from typing import Any

from filelock import FileLock, Timeout

from lib.errors import BusyError
from lib.files import read_object, remove_leftovers, write_json
from lib.training.progress import STATS
from lib.training.resume import STATE

HOLDER = "holder.json"  # who trains, or did last
ASK_SECONDS = 0.05  # longer than `in_progress` holds the lock
LOCK_SECONDS = 1.0


class RunFolder:
    """The folder of the runs of one task; made when needed."""

    def __init__(self, path: Path, task: str) -> None:
        self.path, self.task = path, task
        self._lock_file = str(path / ".lock")

    def stats(self) -> dict[str, Any]:
        """Return the status of the last run in the fields that viewers read; empty without one."""
        stats = read_object(self.path / STATS)
        # a process that was killed could not write that it ended
        in_progress = bool(stats.get("active")) and self.in_progress()
        if in_progress:  # another run may have begun since it was read, and drops it first
            stats = read_object(self.path / STATS)
        if not stats:
            return {}
        stats["active"] = bool(stats.get("active")) and in_progress
        if not stats["active"]:  # 3D Slicer takes a total time as the end of training
            stats["total_time"] = str(stats.get("seconds", 0))
        return stats

    def note(self, outcome: Mapping[str, Any]) -> None:
        """Add to the status of the run what became of its weights."""
        write_json(self.path / STATS, {**self.stats(), "active": False, "outcome": dict(outcome)})

    def holder(self) -> str:
        """Return who trains now: process, machine and time; empty if nobody does."""
        if not self.in_progress():
            return ""
        told = read_object(self.path / HOLDER)
        if not told.keys() >= {"process", "machine", "since"}:
            return "by another process"
        return f"by process {told['process']} on {told['machine']} since {told['since']}"

    def require_free(self) -> None:
        """Refuse another run while one is in progress, of whatever server.

        Raises:
            BusyError: it says who trains.
        """
        if holder := self.holder():
            raise BusyError(
                f"'{self.task}' is being trained already, {holder}; wait for it, or stop it there "
                f"with DELETE /train/"
            )

    def in_progress(self) -> bool:
        """Tell whether a run holds the folder; none does where nothing may be written."""
        try:
            # others who ask hold the lock for a moment
            with FileLock(self._lock_file).acquire(timeout=ASK_SECONDS, poll_interval=0.005):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other runs of the task out of the folder, and record the end of a failed one.

        Raises:
            BusyError: another run is in progress.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._lock_file, timeout=LOCK_SECONDS):
                (self.path / STATS).unlink(missing_ok=True)  # of the run before, maybe killed
                remove_leftovers(self.path)
                since = datetime.now(timezone.utc).isoformat(timespec="seconds")
                holder = {"process": os.getpid(), "machine": gethostname(), "since": since}
                write_json(self.path / HOLDER, holder)
                try:
                    yield
                except BaseException:
                    if stats := self.stats():
                        write_json(self.path / STATS, {**stats, "active": False})
                    raise
        except Timeout:
            self.require_free()
            raise BusyError(f"'{self.task}' was being trained until now; ask again") from None

    def clear(self) -> None:
        """Drop the state of a finished or stopped run, so that the next starts afresh."""
        (self.path / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
