"""One run over one target, in a process of its own that may crash, hang or be killed.

The file is written before it is read, so it is still there after a crash. Counts are printed as
lines of JSON; the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky, FlakyReplay

from fuzz.damage import damaged
from fuzz.readers import TARGETS
from lib.errors import InputError
from lib.isolation.calls import read_in_workers

ROUND = 250  # inputs after which Hypothesis starts anew
SLOW_SECONDS = 10.0
_MEMORY_BYTES = 16 << 30  # of addresses; PyTorch maps many
_REPORT_SECONDS = 1.0
# how files are refused that broke, or kept busy, the process in which they are read
_CONTAINED = (
    "breaks the program",
    "takes over the program",
    "reading it takes",
    "reading it needs",
)


class FindingError(Exception):
    """A reader did something else than to return or to refuse."""


class Run:
    """Counts of one run, and what was found."""

    def __init__(self, name: str, folder: Path, findings: Path) -> None:
        self.target, self.findings = TARGETS[name], findings
        suffix = self.target.suffix
        self.file = folder / (f"input{suffix}" if suffix.startswith(".") else suffix)
        self.counts: dict[str, Any] = {
            **{"inputs": 0, "read": 0, "refused": 0, "contained": 0, "slowest_s": 0.0}
        }
        self.found: dict[str, str] = {}
        self.last = ""
        self._reported = 0.0

    def once(self, content: bytes) -> None:
        """Read one file; a finding that is new is raised, so that it is made small."""
        self.file.write_bytes(content)
        self.report()
        before = time.monotonic()
        try:
            self.target.read(self.file)
            self.counts["read"] += 1
            finding = ""
        except InputError as error:
            self.counts["refused"] += 1
            self.counts["contained"] += any(words in str(error) for words in _CONTAINED)
            finding = _wrong_words(str(error))
        except Exception as error:
            finding = _signature(error)
        seconds = time.monotonic() - before
        self.counts["inputs"] += 1
        self.counts["slowest_s"] = max(self.counts["slowest_s"], round(seconds, 2))
        if seconds > SLOW_SECONDS:
            finding = finding or "slow"
        if finding and finding not in self.found:
            self.last = finding
            raise FindingError(finding)

    def keep(self, finding: str) -> None:
        """Remember a finding, with its file."""
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()[:12]
        kept = self.findings / f"{digest}-{self.file.name}"
        kept.write_bytes(self.file.read_bytes())
        self.found[finding], self.last = kept.name, ""
        self.report(at_once=True)

    def report(self, at_once: bool = False) -> None:
        """Print the counts."""
        if not at_once and time.monotonic() - self._reported < _REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        print(json.dumps({**self.counts, "peak_mb": _peak_mb(), "found": self.found}), flush=True)


def _peak_mb() -> int:
    """Return the most memory of this process; `getrusage` would count that of its parent too."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) // 1024 if found else 0


def _wrong_words(message: str) -> str:
    """Return what is wrong with the words of an error; empty for one short line."""
    if "\n" in message or len(message) > 1000 or not message.isprintable():
        return f"words: {message[:80]!r}"
    return ""


def _signature(error: BaseException) -> str:
    """Return the type of an error and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if re.search(r"/(lib|monailabel_app)/", frame.filename)]
    last = (ours or list(frames))[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno} {last.name}"


def main(name: str, number: int, seconds: float, inputs: int, folder: Path, findings: Path) -> None:
    """Damage and read files until the time is over, or as many as `inputs` were read."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    read_in_workers()  # as the server does
    run = Run(name, folder, findings)
    files = run.target.seeds()
    run.report(at_once=True)
    start, end = number, time.monotonic() + seconds

    def goes_on() -> bool:
        return time.monotonic() < end and run.counts["inputs"] < inputs

    while goes_on():

        @seed(start)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(damaged(files))
        def round_of(content: bytes) -> None:
            if goes_on() or run.last:  # what was found is made small first
                run.once(content)

        try:
            round_of()
        except FindingError as error:
            run.keep(str(error))
        except (Flaky, FlakyReplay):
            run.keep(f"not every time: {run.last}")
        start += 1
    run.report(at_once=True)


if __name__ == "__main__":
    target, number, seconds, inputs, folder, findings = sys.argv[1:]
    main(target, int(number), float(seconds), int(inputs), Path(folder), Path(findings))
