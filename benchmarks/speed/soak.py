"""Many requests of all kinds, and what the server holds meanwhile: memory, handles, files.

A server with a login on phantoms is asked, by several clients at once, for answers and clicks, next
samples, labels and images; labels and images are sent to it, damaged files, wrong passwords, and
requests that break off. Which request comes when is seeded. Afterwards all that was held must be
given back.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.speed.fixtures import SEED, TASK, served_weights, weights
from benchmarks.speed.serving import APP, Server, spread
from benchmarks.speed.soak_client import CLICKS, IMAGES, Client
from lib.phantoms.nuclei import write_nuclei_studies
from lib.weights.store import ModelStore

REQUESTS = 10_000
CLIENTS = 4
SIDE = 256  # pixels of an image
LOOKS = 60  # at the server, during all requests
WARM = 0.25  # share of the requests after which memory must be flat
QUIET_SECONDS = 5.0
FLAT_MIB = 48.0  # growth from the first look after warm-up to the last that counts as noise
FLAT_HANDLES = 8


def run(
    store: ModelStore,
    on_round: Callable[[], object],
    requests: int = REQUESTS,
    minutes: float = math.inf,
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        on_round: called after each request.
        minutes: after which no further request is sent.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies, temporary = folder / "studies", folder / "tmp"
        temporary.mkdir()
        write_nuclei_studies(studies, count=IMAGES, labelled=2, seed=SEED)
        file, origin = weights(store, folder)
        files = {TASK: file}
        if clicks := served_weights(CLICKS, store):
            files[CLICKS] = clicks[0]
        users, token = _login(folder)
        conf = {"users": str(users), "scoring": "off"}
        with Server(studies, files, folder, conf=conf, temporary=temporary) as server:
            watch = Watch(server.process.pid, temporary)
            people = [
                Client(server.url, token, number, CLICKS in files, folder)
                for number in range(CLIENTS)
            ]
            for person in people:
                person.all_kinds()  # what is loaded once
            watch.look(0)
            done = _send_all(people, requests, 60 * minutes, watch, on_round)
            time.sleep(QUIET_SECONDS)
            watch.look(done)
    seconds = {kind: [t for one in people for t in one.seconds[kind]] for kind in people[0].seconds}
    answers = Counter(f"{kind} {status}" for one in people for kind, status in one.answers)
    errors = [error for one in people for error in one.errors]
    return {
        "what": f"{done} requests of {CLIENTS} clients at once, on {SIDE}x{SIDE} phantoms: "
        f"answers, clicks, samples, labels, images, damaged files, wrong passwords, broken "
        f"connections",
        "models": list(files),
        "weights": origin,
        "requests": done,
        "asked_for": requests,
        "clients": CLIENTS,
        "answers": dict(sorted(answers.items())),
        "errors": errors[:20],
        "error_count": len(errors),
        "looks": watch.looks,
        "held": held(watch.looks),
        "goal": {"flat_mib": FLAT_MIB, "met": not errors and is_flat(watch.looks)},
        "figures": {kind: spread(times) for kind, times in seconds.items() if times},
    }


def table(report: dict[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    lines = [f"{'':14}  {'median':>9}  {'p95':>9}  {'max':>9}  {'requests':>8}"]
    for name, row in report["figures"].items():
        values = "  ".join(f"{row[key] * 1000:>6.0f} ms" for key in ("median_s", "p95_s", "max_s"))
        lines.append(f"{name:14}  {values}  {row['requests']:>8}")
    lines.append(f"{'held':14}  {'warm':>9}  {'end':>9}  {'most':>9}")
    for name, row in report["held"].items():
        cells = "  ".join(f"{row[key]:>9}" for key in ("warm", "end", "most"))
        slope = f"  {row['per_1000']:+.1f} per 1000 requests" if name == "memory_mib" else ""
        lines.append(f"{name:14}  {cells}{slope}")
    verdict = "flat" if report["goal"]["met"] else "not flat, or errors"
    lines.append(f"{report['error_count']} errors; {verdict}")
    return [*lines, *report["errors"][:3]]


class Watch:
    """Looks at a server: what it and its child processes hold.

    Args:
        process: id of the server.
        temporary: its folder for temporary files.
    """

    def __init__(self, process: int, temporary: Path) -> None:
        self.looks: list[dict[str, float]] = []
        self._process, self._temporary = psutil.Process(process), temporary
        self._begin = time.monotonic()

    def look(self, requests: int) -> None:
        """Note what is held after so many requests."""
        memory = handles = threads = processes = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                memory += process.memory_info().rss
                handles += process.num_fds()
                threads += process.num_threads()
                processes += 1
            except psutil.Error:  # it ended meanwhile
                continue
        files = [file for file in self._temporary.rglob("*") if file.is_file()]
        self.looks.append(
            {
                "requests": requests,
                "seconds": round(time.monotonic() - self._begin, 1),
                "memory_mib": round(memory / 2**20, 1),
                "handles": handles,
                "threads": threads,
                "processes": processes,
                "temporary_files": len(files),
            }
        )


def held(looks: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return, of each thing, what is held when the server is warm, at the end, and at most.

    Of the memory also the growth after warm-up by least squares, ``per_1000`` requests.
    """
    warm = warm_looks(looks)
    rows = {
        name: {"warm": warm[0][name], "end": warm[-1][name], "most": max(x[name] for x in looks)}
        for name in ("memory_mib", "handles", "threads", "processes", "temporary_files")
    }
    slope = 0.0
    if len(warm) > 2:
        counts, memory = ([look[name] for look in warm] for name in ("requests", "memory_mib"))
        slope = float(np.polyfit(counts, memory, 1)[0])
    rows["memory_mib"]["per_1000"] = round(1000 * slope, 2)
    return rows


def warm_looks(looks: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the looks after warm-up."""
    last = looks[-1]["requests"]
    return [look for look in looks if look["requests"] >= WARM * last] or looks[-1:]


def is_flat(looks: list[dict[str, float]]) -> bool:
    """Tell whether memory stays after warm-up, and handles and files are given back."""
    warm = warm_looks(looks)
    half = max(1, len(warm) // 2)
    early = float(np.median([look["memory_mib"] for look in warm[:half]]))
    late = float(np.median([look["memory_mib"] for look in warm[-half:]]))
    first, last = looks[0], looks[-1]
    return (
        late - early <= FLAT_MIB
        and last["handles"] <= first["handles"] + FLAT_HANDLES
        and last["temporary_files"] <= first["temporary_files"]
    )


def _login(folder: Path) -> tuple[Path, str]:
    """Make a file of users with one administrator, and return it with a token."""
    file = folder / "users.json"
    command = [sys.executable, "-m", "monailabel_app", "user", "soak", "--file", str(file)]
    command += ["--role", "admin", "--password", "right horse", "--token"]
    ended = subprocess.run(
        command, cwd=APP.parent, capture_output=True, text=True, check=True, timeout=120
    )
    return file, ended.stdout.split()[-1]


def _send_all(
    people: list[Client],
    requests: int,
    seconds: float,
    watch: Watch,
    on_round: Callable[[], object],
) -> int:
    """Send the requests, each client its share, and look at the server meanwhile."""
    every, counted, guard = max(1, requests // LOOKS), [0], threading.Lock()
    end = time.monotonic() + seconds

    def counted_round() -> None:
        with guard:
            counted[0] += 1
            on_round()
            if counted[0] % every == 0:
                watch.look(counted[0])

    shares = [requests // len(people) + (n < requests % len(people)) for n in range(len(people))]
    threads = [
        threading.Thread(target=person.work, args=(share, end, counted_round))
        for person, share in zip(people, shares, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counted[0]
