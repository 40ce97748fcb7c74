"""Who works on which image, so that two people do not get the same one.

The leases are in a file, for all servers on the same studies.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b
from pathlib import Path

from lib.files import FileStamp, file_stamp, read_object, write_atomically
from lib.shared_lock import SharedLock

logger = logging.getLogger(__name__)

LEASE_SECONDS = 1800.0
FILE = "leases.json"
MOST_TURNS = 1000  # of finished images that were given out again, which are remembered

Groups = Mapping[str, tuple[str, ...]]  # ids of images by the id of the sample


@dataclass(frozen=True)
class Lease:
    """What is known of an image that was given out.

    Attributes:
        who: a digest of the person's id.
        end: when the lease ends, in seconds since 1970 (UTC).
        task: for which the finished image was given out again; empty for an unlabelled one.
        turn: which one it was of all finished images that were given out again; 0 for none.
    """

    who: str
    end: float
    task: str = ""
    turn: int = 0


class Leases:
    """Images given out for labelling, and to whom; a lease ends after a while.

    The file is read again for each change, under a lock that all servers take. Where it cannot be
    written the leases are kept in memory, for this server alone, and the log says so.

    Args:
        file: of all servers on the same studies; its folder is made when needed.
        seconds: length of a lease; the clocks of the servers may differ by a fraction of it.
    """

    def __init__(self, file: Path, seconds: float = LEASE_SECONDS) -> None:
        self.file, self.seconds = file, seconds
        self._lock = SharedLock(file.with_name(f".{file.name}.lock"))
        self._rows: dict[str, Lease] = {}
        self._stamp: FileStamp | None = None
        self._alone = False  # since the file could not be written

    def free(self, samples: Groups, who: str) -> dict[str, tuple[str, ...]]:
        """Return the samples that nobody else works on; all samples if there is no such one."""
        others = _others(self._read(), who)
        return {id: own for id, own in samples.items() if others.isdisjoint(own)} or dict(samples)

    def take(self, samples: Groups, chosen: str, who: str, again_for: str = "") -> bool:
        """Lease a sample; False if somebody else was faster and another sample is free.

        Args:
            samples: those from which `chosen` was taken.
            again_for: the task for which the sample, a finished one, is given out again.
        """

        def changed(rows: dict[str, Lease]) -> bool:
            others = _others(rows, who)
            if not others.isdisjoint(samples[chosen]):
                return not any(others.isdisjoint(own) for own in samples.values())
            turn = 1 + max((row.turn for row in rows.values()), default=0) if again_for else 0
            for image in samples[chosen]:
                earlier = rows.get(image, Lease("", 0.0))
                end = time.time() + self.seconds
                rows[image] = Lease(_digest(who), end, again_for, turn or earlier.turn)
            return True

        return self._change(changed)

    def is_held(self, images: Iterable[str], who: str | None = None) -> bool:
        """Tell whether somebody, but `who`, works on any of these images."""
        return not _others(self._read(), who).isdisjoint(images)

    def drop(self, images: Iterable[str]) -> None:
        """End the leases of images that were labelled."""

        def changed(rows: dict[str, Lease]) -> bool:
            for image in images:
                if image in rows:
                    rows[image] = replace(rows[image], end=0.0, task="")
            return True

        self._change(changed)

    def reopened_for(self, image: str) -> str:
        """Return the name of the task for which somebody works on a finished image; "" for none."""
        row = self._read().get(image)
        return row.task if row is not None and row.end > time.time() else ""

    def turns(self) -> dict[str, int]:
        """Return the turns of the finished images that were given out again, the last ones."""
        return {image: row.turn for image, row in self._read().items() if row.turn}

    # --- the file --------------------------------------------------------------------------------

    def _change(self, change: Callable[[dict[str, Lease]], bool]) -> bool:
        """Let `change` alter the rows, write them, and return what it returned."""
        try:
            with self._lock.held():
                rows = dict(self._read(anew=True))
                changed = change(rows)
                rows = self._kept(rows)
                if rows != self._rows:
                    self._rows = rows
                    self._write(rows)
                return changed
        except OSError as error:  # the lock: a folder that nobody may write to
            self._say(error)
            rows = dict(self._rows)
            changed = change(rows)
            self._rows = self._kept(rows)
            return changed

    def _write(self, rows: Mapping[str, Lease]) -> None:
        text = json.dumps({image: astuple(row) for image, row in rows.items()})
        try:
            write_atomically(self.file, lambda file: file.write(text.encode()), durable=False)
            self._stamp, self._alone = file_stamp(self.file), False
        except OSError as error:  # a full disk
            self._say(error)

    def _say(self, error: OSError) -> None:
        if not self._alone:
            logger.error(
                f"Who works on which image is known to this server alone: '{self.file}' cannot be "
                f"written ({error.strerror or error})"
            )
        self._alone = True

    def _read(self, anew: bool = False) -> Mapping[str, Lease]:
        """Return the rows by image, read again if the file changed; damaged ones are left out."""
        if self._alone:
            return self._rows
        try:
            stamp = file_stamp(self.file)
        except OSError:
            return self._rows if self._stamp is None else {}
        if anew or stamp != self._stamp:
            found = {image: _row(row) for image, row in read_object(self.file).items()}
            self._rows = {image: row for image, row in found.items() if row is not None}
            self._stamp = stamp
        return self._rows

    def _kept(self, rows: Mapping[str, Lease]) -> dict[str, Lease]:
        """Return the rows without those that tell nothing any more."""
        now = time.time()
        # a clock that was set back must not make a lease longer
        held = {id: row for id, row in rows.items() if now < row.end <= now + 2 * self.seconds}
        given = sorted((row.turn for row in rows.values() if row.turn), reverse=True)
        least = given[MOST_TURNS - 1] if len(given) >= MOST_TURNS else 1
        return {id: row for id, row in rows.items() if id in held or row.turn >= least}


def _others(rows: Mapping[str, Lease], who: str | None) -> set[str]:
    now, own = time.time(), None if who is None else _digest(who)
    return {id for id, row in rows.items() if row.who != own and row.end > now}


def _digest(who: str) -> str:
    """Return letters and digits for whatever a client calls a person."""
    return blake2b(who.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _row(plain: object) -> Lease | None:
    if not isinstance(plain, list) or len(plain) != 4:
        return None
    who, end, task, turn = plain
    fits = isinstance(who, str) and isinstance(task, str) and type(turn) is int
    return Lease(who, float(end), task, turn) if fits and isinstance(end, (int, float)) else None
