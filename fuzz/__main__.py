"""`python -m fuzz`: all readers in turn, in processes of their own; exits with 1 on a finding."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from fuzz.readers import TARGETS
from lib.files import write_json

_SLICE_SECONDS = 30.0  # of one process; its memory and its state end with it
_HANG_SECONDS = 30.0  # without a line from it
_START_SECONDS = 300.0  # until its first one: what it imports takes a minute on a busy machine
ROUTES = "routes"  # of the server, beside the readers
_SHARE_OF_ROUTES = 0.3  # of the time of one process


@dataclass
class Counts:
    """What came of the inputs of one target.

    Attributes:
        read: inputs that were read, whatever the damage.
        refused: inputs refused with an `InputError`.
        contained: those of them that broke, or kept too busy, the worker that read them.
        slowest_s: seconds of the slowest input.
        peak_mb: most memory of a process that read them, in MiB.
        crashes: processes that were ended by a signal.
        hangs: inputs that had not been read after half a minute.
        findings: what went wrong, and the file that did it.
    """

    inputs: int = 0
    read: int = 0
    refused: int = 0
    contained: int = 0
    slowest_s: float = 0.0
    peak_mb: int = 0
    crashes: int = 0
    hangs: int = 0
    findings: dict[str, str] = field(default_factory=dict)

    def add(self, told: dict[str, Any]) -> None:
        """Add what a process told last."""
        for name in ("inputs", "read", "refused", "contained"):
            setattr(self, name, getattr(self, name) + told.get(name, 0))
        for name in ("slowest_s", "peak_mb"):
            setattr(self, name, max(getattr(self, name), told.get(name, 0)))
        self.findings.update(told.get("found", {}))


class Campaign:
    """Runs the targets in turn until the time is over, or each has read `inputs`."""

    def __init__(
        self, targets: list[str], seed: int, seconds: float, inputs: int | None, findings: Path
    ) -> None:
        self.counts = {name: Counts() for name in targets}
        self.seed, self.findings, self.inputs = seed, findings, inputs
        self._end = time.monotonic() + seconds
        # short campaigns visit each target too
        self._slice = min(_SLICE_SECONDS, max(seconds / max(len(targets), 1), 5.0))
        self._turns, self._lock = self._take_turns(targets), threading.Lock()

    def _take_turns(self, targets: list[str]) -> Iterator[tuple[str, int]]:
        number = self.seed * 1_000_000
        while True:
            for name in targets:
                number += 1000
                yield name, number
            if self.inputs is not None:
                return

    def work(self) -> None:
        """Run one target after the other; call it in as many threads as there are processors."""
        while (left := self._end - time.monotonic()) > 1:
            with self._lock:
                turn = next(self._turns, None)
            if turn is None:
                return
            self._run(*turn, left if self.inputs is not None else min(self._slice, left))

    def _run(self, name: str, number: int, seconds: float) -> None:
        counts, told = self.counts[name], dict[str, Any]()
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            command = [sys.executable, "-m", "fuzz.worker", name, str(number), str(seconds)]
            command.append(str(sys.maxsize if self.inputs is None else self.inputs))
            process = subprocess.Popen(
                [*command, folder, str(self.findings)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            heard = [time.monotonic() + _START_SECONDS - _HANG_SECONDS]
            hung = threading.Event()

            def watch() -> None:
                while process.poll() is None:
                    if time.monotonic() - heard[0] > _HANG_SECONDS:
                        hung.set()
                        process.kill()
                    time.sleep(0.2)

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            assert process.stdout is not None
            for line in process.stdout:
                heard[0] = time.monotonic()
                if line.startswith("{"):
                    told = json.loads(line)
            code = process.wait()
            watcher.join()
            counts.add(told)
            if code == 0:
                return
            if hung.is_set():
                counts.hangs += 1
                what = f"hangs (seed {number})"
            elif code < 0:
                counts.crashes += 1
                what = f"{signal.Signals(-code).name} (seed {number})"
            else:
                what = f"the fuzzer itself failed with {code} (seed {number})"
            counts.findings[what] = self._keep(Path(folder), number)

    def _keep(self, folder: Path, number: int) -> str:
        """Keep the file that was being read; the newest of the folder."""
        files = sorted(folder.glob("*"), key=lambda file: file.stat().st_mtime_ns)
        if not files:
            return ""
        kept = self.findings / f"{number}-{files[-1].name}"
        shutil.copyfile(files[-1], kept)
        return kept.name


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.05), default=2.0, show_default=True)
@click.option(
    "--inputs",
    type=click.IntRange(min=1),
    help="Stop after as many files of each type and requests: the same ones on every machine.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another one, other damage.")
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--target", "targets", multiple=True, type=click.Choice([*TARGETS, ROUTES]))
@click.option(
    "--findings",
    type=click.Path(path_type=Path),
    default=Path(".cache/fuzz"),
    show_default=True,
    help="Folder for the files that caused findings.",
)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for the counts.")
def main(
    minutes: float,
    inputs: int | None,
    seed: int,
    processes: int,
    targets: tuple[str, ...],
    findings: Path,
    out: Path | None,
) -> None:
    """Read damaged files with every reader, ask every route, and count what comes of it.

    The damage follows from the seed; how far it gets from the time and the machine, or from
    `inputs`.
    """
    findings.mkdir(parents=True, exist_ok=True)
    chosen = list(targets or (*TARGETS, ROUTES))
    readers = [name for name in chosen if name != ROUTES]
    campaign = Campaign(readers, seed, 60 * minutes, inputs, findings)
    routes: dict[str, Any] = {}

    def work(number: int) -> None:
        if number == 0 and ROUTES in chosen:
            routes.update(
                _ask(
                    60 * minutes * (_SHARE_OF_ROUTES if readers and not inputs else 1), seed, inputs
                )
            )
        if readers:
            campaign.work()

    with ThreadPoolExecutor(processes) as pool:
        for done in [pool.submit(work, number) for number in range(processes)]:
            done.result()
    rows = {name: asdict(counts) for name, counts in campaign.counts.items()}
    _print(rows)
    found = [finding for row in rows.values() for finding in row["findings"]]
    if routes:
        click.echo(f"routes: {routes['requests']} requests, answers {routes['statuses']}")
        click.echo("".join(f"  FOUND {finding}\n" for finding in routes["findings"]), nl=False)
        found += routes["findings"]
    read = sum(row["inputs"] for row in rows.values())
    click.echo(f"{read} files read, {len(found)} findings")
    if out is not None:
        from lib.weights.checkpoint import utc_now, versions  # imports torch

        facts: dict[str, Any] = {"minutes": minutes, "inputs_per_target": inputs, "seed": seed}
        facts |= {"processes": processes, "ended": utc_now()}
        facts |= {"inputs": read, "findings": len(found), "versions": versions()}
        write_json(out, {**facts, "targets": rows, ROUTES: routes})
    if found:
        click.echo(f"the files that caused findings are in {findings}")
        sys.exit(1)


def _ask(seconds: float, seed: int, most: int | None) -> dict[str, Any]:
    """Send hostile requests to a server of its own; return what came of them."""
    from fuzz.rest import fuzz

    counts = fuzz(seconds, seed, most)
    return {
        "requests": counts.requests,
        "statuses": {str(status): count for status, count in sorted(counts.statuses.items())},
        "slowest_s": round(counts.slowest, 2),
        "findings": counts.findings,
    }


def _print(rows: dict[str, dict[str, Any]]) -> None:
    columns = ("inputs", "read", "refused", "contained", "slowest_s", "peak_mb", "crashes", "hangs")
    click.echo("target".ljust(14) + "".join(column.rjust(11) for column in columns))
    for name, row in rows.items():
        click.echo(name.ljust(14) + "".join(str(row[column]).rjust(11) for column in columns))
        for finding, file in row["findings"].items():
            click.echo(f"  FOUND {finding} [{file}]")


if __name__ == "__main__":
    main()
