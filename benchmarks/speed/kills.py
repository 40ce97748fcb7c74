"""Kill -9 at random moments of saves, uploads, publishing, retraining and consensus labels.

Each series is a folder on which processes do one kind of work with the app's own functions, one
process after the other, each killed. After each kill the folder is opened as at the next start:
what was acknowledged must be there, every file whole, the index that of the files, nothing left.
A series of the kind "server" kills the real server while clients save labels and send weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.files import read_object, write_json
from lib.processes import end

# of 100 kills; the server takes long to start
SHARES = {
    "saves": 37,
    "publishing": 25,
    "uploads": 12,
    "consensus": 18,
    "retraining": 7,
    "server": 1,
}
SERIES = 27  # kills of a series at most


def run(
    on_round: Callable[[], object], kills: int = 300, state: Path | None = None
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        on_round: called after each series.
        kills: at least so many.
        state: file of the series that are done, for a run that goes on; None begins anew.
    """
    done = read_object(state) if state else {}
    wanted = [series for series in plan(kills) if _key(*series) not in done]
    for result in _run(wanted):
        done[_key(result["kind"], result["seed"], result["kills"])] = result
        if state:
            write_json(state, done)
        on_round()
    figures: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    faults = []
    for kind, seed, count in plan(kills):
        series = done[_key(kind, seed, count)]
        for key in ("kills", "begun", "acknowledged", "fault_count"):
            figures[kind][key] += series[key]
        faults += [f"{kind} {seed}: {fault}" for fault in series["faults"]]
    total = {key: sum(row[key] for row in figures.values()) for key in figures["saves"]}
    return {
        "what": f"{total['kills']} kills -9 at random moments",
        "series": SERIES,
        "figures": {kind: dict(row) for kind, row in figures.items()},
        "total": total,
        "faults": faults,
        "goal": {"kills": kills, "met": not total["fault_count"] and total["kills"] >= kills},
    }


def plan(kills: int) -> list[tuple[str, int, int]]:
    """Return kind, seed and kills of each series."""
    found = []
    for kind, share in SHARES.items():
        left, seed = max(1, -(-kills * share // 100)), 0
        while left > 0:
            found.append((kind, seed, min(SERIES, left)))
            left, seed = left - SERIES, seed + 1
    return found


def table(report: Mapping[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    lines = [f"{'':10}  {'kills':>6}  {'begun':>6}  {'acknowledged':>12}  {'faults':>6}"]
    for name, row in {**report["figures"], "all": report["total"]}.items():
        lines.append(
            f"{name:10}  {row['kills']:>6}  {row['begun']:>6}  {row['acknowledged']:>12}  "
            f"{row['fault_count']:>6}"
        )
    return [*lines, *report["faults"][:5]]


def _key(kind: str, seed: int, kills: int) -> str:
    return f"{kind} {seed} {kills}"


def _run(series: Sequence[tuple[str, int, int]]) -> Iterator[dict[str, Any]]:
    """Run series in a process of their own, which is forked, and so may have one thread alone."""
    if not series:
        return
    words = [str(word) for one in series for word in one]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "monailabel_app.kills", folder, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
        finally:
            end(process)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines()
            raise InputError(f"benchmark: kills: {lines[-1] if lines else 'ended by themselves'}")
