"""What was measured on each sample with the served weights of a task, one line each on disk."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.files import write_atomically
from lib.uncertainty.informativeness import EDITION, Informativeness

logger = logging.getLogger(__name__)


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
    """The records of one task, for one version of its weights.

    The first line of the file names the version and the edition of the figures. Each further line
    is a record; the last one of a sample counts. Lines are only added, so a killed server loses one
    at most. Records of another version are dropped: figures of two models cannot be compared. Any
    process may read; one alone writes, with `add` and `keep`.

    Attributes:
        version: of the weights; "" until one is opened.
        changes: number of changes; a ranking is up to date if it did not grow.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.version = ""
        self.changes = 0
        self._records: dict[str, Record] = {}
        self._whole = False  # whether the file has these records and nothing else
        self._lock = threading.Lock()

    def open(self, version: str) -> None:
        """Use the records of `version`: those in the file, if it is of that version, else none."""
        if version == self.version:
            return
        found, whole = self._read(version)
        with self._lock:
            self._records, self.version, self._whole = found, version, whole
            self.changes += 1

    def add(self, id: str, record: Record) -> None:
        """Store a record, in memory and on disk."""
        line = json.dumps({"id": id, **record.as_dict()}) + "\n"
        with self._lock:
            self._records[id] = record
            self.changes += 1
            if not self._whole:
                self._write()
                return
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(line)

    def keep(self, ids: Collection[str]) -> None:
        """Drop the records of all samples but these."""
        with self._lock:
            gone = self._records.keys() - set(ids)
            if gone:
                self._records = {id: one for id, one in self._records.items() if id not in gone}
                self.changes += 1
                self._write()

    def all(self) -> dict[str, Record]:
        """Return all records as they are now."""
        with self._lock:
            return dict(self._records)

    def get(self, id: str) -> Record | None:
        """Return the record of a sample."""
        return self._records.get(id)

    def _read(self, version: str) -> tuple[dict[str, Record], bool]:
        """Return the file's records of a version, and whether the file holds nothing else."""
        try:
            first, *lines = self.file.read_text(encoding="utf-8").splitlines()
            if json.loads(first) != {"version": version, "edition": EDITION}:
                return {}, False
        except (OSError, ValueError, KeyError, TypeError):
            return {}, False
        found: dict[str, Record] = {}
        for line in lines:
            try:
                plain = json.loads(line)
                found[plain["id"]] = Record.from_dict(plain)
            except (ValueError, KeyError, TypeError):  # the last line of a server that was killed
                logger.warning(f"{self.file.name}: a damaged line is left out")
        return found, len(found) == len(lines)

    def _write(self) -> None:
        lines = [json.dumps({"version": self.version, "edition": EDITION})]
        lines += [json.dumps({"id": id, **one.as_dict()}) for id, one in self._records.items()]
        text = "\n".join(lines) + "\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, lambda file: file.write(text.encode()))
        self._whole = True
