"""Processes that work on one folder, one after the other, each killed at a random moment."""

from __future__ import annotations

import os
import random
import select
import signal
import statistics
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monailabel_app.kills.checks import CHECKS, Faults
from monailabel_app.kills.journal import DONE, Journal, say
from monailabel_app.kills.server import kill_servers
from monailabel_app.kills.work import ROW, SMALL, WORK, Site, prepare

FIRST_SECONDS = 120.0  # of patience with the first word of a process
MOST_PIECES = 3  # of work that a process may finish before it is killed
KEPT_FAULTS = 20
SERVER = "server"  # the kind of which the real server is killed


class Worker:
    """A forked process that does one kind of work until it is killed."""

    def __init__(self, kind: str, site: Site, seed: int) -> None:
        self._reading, writing = os.pipe()
        self._unread = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)  # so that it ends, at its next word, when nobody listens
            try:
                WORK[kind](site, random.Random(seed), partial(say, writing))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(3)  # only a fault ends it
        os.close(writing)

    def lines(self, seconds: float) -> Iterator[bytes]:
        """Yield what it says within so many seconds."""
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                yield line
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._reading], [], [], left)[0]:
                return
            if not (data := os.read(self._reading, 1 << 16)):
                return
            self._unread += data

    def kill(self) -> list[bytes]:
        """Kill it, and return what it said before; one that failed by itself is told of."""
        os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        rest = list(self.lines(0.2))
        os.close(self._reading)
        if not os.WIFSIGNALED(status):
            raise RuntimeError("a process at work failed by itself; what it printed says why")
        return rest


def run_series(kind: str, seed: int, kills: int, folder: Path) -> dict[str, Any]:
    """Kill so many processes on a new folder, and return what was found wrong after each kill."""
    site, rng = Site(folder), random.Random(f"{kind} {seed}")
    if kind == SERVER:
        journals, faults = kill_servers(site, rng, kills)
        return _result(kind, seed, kills, journals, faults)
    prepare(site, SMALL if kind == "retraining" else ROW)
    journal = Journal(fixed=kind in ("uploads", "publishing"))
    faults = []
    lengths = [0.02]  # seconds of a piece of work
    for kill in range(kills):
        worker = Worker(kind, site, rng.randrange(2**32))
        begun, wanted = time.monotonic(), rng.randint(1, MOST_PIECES)
        for line in worker.lines(FIRST_SECONDS):
            if journal.add(line) == DONE:
                lengths.append(time.monotonic() - begun)
                continue
            begun = time.monotonic()
            wanted -= 1
            if not wanted:
                break
        time.sleep(rng.uniform(0, 1.2) * statistics.median(lengths[-20:]))
        for line in worker.kill():
            journal.add(line)
        faults += [f"kill {kill + 1}: {fault}" for fault in CHECKS[kind](site, journal)]
    return _result(kind, seed, kills, [journal], faults)


def _result(
    kind: str, seed: int, kills: int, journals: Sequence[Journal], faults: Faults
) -> dict[str, Any]:
    return {
        "kind": kind,
        "seed": seed,
        "kills": kills,
        "begun": sum(journal.begun for journal in journals),
        "acknowledged": sum(len(journal.done) for journal in journals),
        "faults": faults[:KEPT_FAULTS],
        "fault_count": len(faults),
    }
