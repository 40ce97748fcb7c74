"""What was measured on each sample with the served weights of a task, one line each on disk."""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.files import FileStamp, file_stamp, write_atomically
from lib.shared_lock import SharedLock
from lib.uncertainty.informativeness import EDITION, Informativeness

logger = logging.getLogger(__name__)

SPARE_LINES = 100  # that may count no more before the file is written anew


@dataclass(frozen=True)
class Record:
    """What was measured on one sample.

    Attributes:
        stamp: of its files when it was measured; see `StudiesProtocol.stamp`.
        passes: number of passes with dropout; 0 for a record without entropy.
        measured: None if it could not be measured.
        error: why it could not.
    """

    stamp: str
    passes: int
    measured: Informativeness | None
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = self.measured.as_dict() if self.measured else None
        return {
            "stamp": self.stamp,
            "passes": self.passes,
            "measured": plain,
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Record:
        """Return what `as_dict` described."""
        measured = Informativeness.from_dict(plain["measured"]) if plain["measured"] else None
        return cls(plain["stamp"], plain["passes"], measured, plain["error"])


class Records:
    """The records of one task, for one version of its weights; several servers share the file.

    The first line of the file names the version and the edition of the figures. Each further line
    is a record; the last one of a sample counts. Lines are added under a lock, so a killed server
    loses one at most, and what others add is read by the next look. Records of another version are
    dropped: figures of two models cannot be compared.

    Attributes:
        version: of the weights; "" until one is opened.
        changes: number of changes; a ranking is up to date if it did not grow.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.version = ""
        self.changes = 0
        self._records: dict[str, Record] = {}
        self._kept: frozenset[str] | None = None  # the samples that there are; None for all
        self._lines = 0  # in the file, with those that count no more
        self._first, self._read_bytes = b"", 0  # of the file
        self._stamp: FileStamp | None = None
        self._guard = threading.RLock()
        self._file_lock = SharedLock(file.with_name(f".{file.name}.lock"))

    def open(self, version: str) -> None:
        """Use the records of `version`: those in the file, if it is of that version, else none."""
        with self._guard:
            if version != self.version:
                self.version = version
                self._forget()
                self.changes += 1
            self._look()

    def add(self, id: str, record: Record) -> None:
        """Store a record, in memory and on disk."""
        line = json.dumps({"id": id, **record.as_dict()}) + "\n"
        with self._guard, self._file_lock.held():
            self._look()
            self._records[id] = record
            self.changes += 1
            if self._stamp is None or self._lines > 2 * len(self._records) + SPARE_LINES:
                self._write()  # it is of another version, or damaged, or mostly outdated
                return
            with open(self.file, "r+b") as file:
                torn = file.seek(0, os.SEEK_END) != self._read_bytes
                file.write((b"\n" if torn else b"") + line.encode())
            self._look()

    def keep(self, ids: Collection[str]) -> None:
        """Leave out the records of all samples but these from now on."""
        with self._guard:
            if self._kept != (kept := frozenset(ids)):
                self._kept = kept
                self.changes += 1

    def all(self) -> dict[str, Record]:
        """Return all records as they are now."""
        with self._guard:
            self._look()
            return self._of_kept()

    def get(self, id: str) -> Record | None:
        """Return the record of a sample."""
        with self._guard:
            self._look()
            return self._records.get(id)

    def _of_kept(self) -> dict[str, Record]:
        kept = self._kept
        return {id: one for id, one in self._records.items() if kept is None or id in kept}

    def _forget(self) -> None:
        self._records, self._lines, self._stamp = {}, 0, None
        self._first, self._read_bytes = b"", 0

    def _look(self) -> None:
        """Read what was added to the file; all of it if it is another file than before."""
        try:
            stamp = file_stamp(self.file)
        except OSError:
            if self._stamp is not None:
                self._stamp = None  # somebody removed it
            return
        if stamp == self._stamp:
            return
        try:
            with open(self.file, "rb") as file:
                first = file.readline()
                if first == self._first and stamp[1] >= self._read_bytes:
                    file.seek(self._read_bytes)
                else:
                    self._forget()
                    if not self._is_first(first):  # of other weights, or damaged
                        return
                    self._first, self._read_bytes = first, file.tell()
                # what is being written has no end yet
                found, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        self._read_bytes += len(found) + len(end)
        self._stamp = stamp
        for line in found.splitlines():
            self._add_line(line)
        self.changes += 1

    def _is_first(self, line: bytes) -> bool:
        try:
            told = json.loads(line)
            return bool((told["version"], told["edition"]) == (self.version, EDITION))
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    def _add_line(self, line: bytes) -> None:
        self._lines += 1
        try:
            plain = json.loads(line)
            self._records[plain["id"]] = Record.from_dict(plain)
        # of a server that was killed
        except (ValueError, KeyError, TypeError, RecursionError):
            if line.strip():
                logger.warning(f"{self.file.name}: a damaged line is left out")

    def _write(self) -> None:
        """Write all records that are kept into a new file."""
        self._records = self._of_kept()
        # by the number others see that it is another file
        first = {"version": self.version, "edition": EDITION, "file": uuid.uuid4().hex}
        self._first = json.dumps(first).encode() + b"\n"
        rows = ({"id": id, **one.as_dict()} for id, one in self._records.items())
        content = self._first + b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, lambda file: file.write(content))
        self._lines, self._read_bytes = len(self._records), len(content)
        self._stamp = file_stamp(self.file)
