"""Seconds until a study can be worked on in OHIF, in a real browser on a real server.

A page counts as useful once an image is drawn and the panel is filled. Beside the server as it is
stands the same server asked for nothing early and for nothing compressed, in turns, so that a slow
spell of the machine meets both.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image

from benchmarks.speed.fixtures import SEED, served_weights
from benchmarks.speed.serving import Server
from lib.errors import InputError
from lib.phantoms.mammograms.exams import write_exams
from lib.phantoms.nuclei import nuclei_phantom
from lib.weights.store import ModelStore

TASK = "nuclei"
LIMIT_S = 2.0
SCALE = 0.25  # of the exam's views: 650 x 500 pixels
PICTURE = "cells"
VISITS = ("first visit", "again")
# path of the page, and what the browser takes; the path with a slash asks for nothing early
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    "as it is": ("ohif/monai-label", {}),
    "nothing early, nothing compressed": ("ohif/monai-label/", {"Accept-Encoding": "identity"}),
}
_FLAGS = ("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader")
_PATIENCE_MS = 120_000
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRAWN = """() => window.cornerstone?.getRenderingEngines()
    .some(engine => engine.getViewports().some(viewport => viewport.getImageData?.()))
    && performance.now()"""
_USEFUL = """() => document.querySelector('.ml-status')?.dataset.kind === 'done'
    && performance.now()"""
_ASKED = """() => performance.getEntriesByType('resource').map(one => ({
    path: new URL(one.name).pathname, start: one.startTime, bytes: one.transferSize }))"""


def run(runs: int, store: ModelStore, on_round: Callable[[], object]) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Raises:
        InputError: there is no browser, or no weights of the task.
    """
    served = served_weights(TASK, store)
    if served is None:
        raise InputError(f"no weights of '{TASK}'; name a folder that has them with --models")
    measured: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        studies = Path(name) / "studies"
        studies.mkdir()
        Image.fromarray(nuclei_phantom(SEED, rows=512, columns=512)[0]).save(
            studies / f"{PICTURE}.png"
        )
        write_exams(studies, seed=SEED, exams=1, scale=SCALE, labelled=0)
        with Server(studies, {TASK: served[0]}, Path(name)) as server, _Browser() as browser:
            opened = _opened(server.url)
            _prepare(browser, server.url, opened)
            for _ in range(runs):
                for variant, (path, headers) in VARIANTS.items():
                    for study, uid in opened.items():
                        address = f"{server.url}/{path}?StudyInstanceUIDs={uid}"
                        for visit, times in zip(
                            VISITS, browser.visit(address, headers), strict=True
                        ):
                            measured[study, variant, visit].append(times)
                on_round()
    figures = [
        {"study": study, "variant": variant, "visit": visit, **_summary(times)}
        for (study, variant, visit), times in measured.items()
    ]
    ours, _ = VARIANTS
    return {
        "what": "a study opened in OHIF in headless Chromium, WebGL in software, on the server's "
        "machine",
        "unit": "s",
        "runs": runs,
        "limit_s": LIMIT_S,
        "below_limit": all(
            statistics.median(one["useful_s"] for one in times) < LIMIT_S
            for (_, variant, _), times in measured.items()
            if variant == ours
        ),
        "figures": figures,
    }


def table(report: Mapping[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    lines = [f"{'':70}  {'scripts':>8}  {'image':>8}  {'useful':>8}  {'busy':>8}  {'MiB':>6}"]
    for row in report["figures"]:
        name = f"{row['study']}, {row['visit']}, {row['variant']}"
        keys = ("scripts_s", "image_s", "useful_s", "busy_s")
        times = "  ".join(f"{row[key]:>6.2f} s" for key in keys)
        lines.append(f"{name:70}  {times}  {row['mib']:>6.2f}")
    return lines


class _Browser:
    """Headless Chromium, from the beginning of a `with` block to its end."""

    def __enter__(self) -> _Browser:
        executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
        if executable is None:
            raise InputError("benchmark: needs a browser; on Debian and Ubuntu install chromium")
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            raise InputError("benchmark: needs playwright; pip install playwright") from None
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(
            executable_path=executable, args=list(_FLAGS), timeout=_PATIENCE_MS
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._chromium.close()
        self._playwright.stop()

    def visit(self, address: str, headers: Mapping[str, str]) -> list[dict[str, float]]:
        """Open an address in a new profile, and once more; return the times of each visit."""
        context = self._chromium.new_context(
            viewport={"width": 1280, "height": 720}, extra_http_headers=dict(headers)
        )
        try:
            return [self._times(context, address) for _ in VISITS]
        finally:
            context.close()

    def _times(self, context: Any, address: str) -> dict[str, float]:
        page = context.new_page()
        before = _busy_seconds()
        page.goto(address, wait_until="commit", timeout=_PATIENCE_MS)
        drawn, useful = (
            page.wait_for_function(what, polling="raf", timeout=_PATIENCE_MS).json_value()
            for what in (_DRAWN, _USEFUL)
        )
        busy = _busy_seconds() - before
        asked = page.evaluate(_ASKED)
        page.close()
        scripts = min(one["start"] for one in asked if one["path"].endswith("/qido/studies"))
        return {
            "scripts_s": scripts / 1000,
            "image_s": drawn / 1000,
            "useful_s": useful / 1000,
            "busy_s": busy,
            "mib": sum(one["bytes"] for one in asked) / 2**20,
        }


def _busy_seconds() -> float:
    """Return the processor time of all processes of the browser so far."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "chrom" in process.name():
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _opened(url: str) -> dict[str, str]:
    """Return the UIDs of the studies by what they are."""
    rows = requests.get(f"{url}/proxy/dicom/studies", timeout=60).json()
    uids = {row["00100010"]["Value"][0]["Alphabetic"]: row["0020000D"]["Value"][0] for row in rows}
    exam = next(uid for patient, uid in uids.items() if patient != PICTURE)
    return {"picture of nuclei": uids[PICTURE], "four mammograms": exam}


def _prepare(browser: _Browser, url: str, opened: Mapping[str, str]) -> None:
    """Let the server read the studies and compress the scripts, which it does once."""
    path = next(iter(VARIANTS.values()))[0]
    for uid in opened.values():
        browser.visit(f"{url}/{path}?StudyInstanceUIDs={uid}", {})
    time.sleep(2)


def _summary(times: list[dict[str, float]]) -> dict[str, float]:
    """Return the medians of several visits, and the range of what counts."""
    found = {name: round(statistics.median(one[name] for one in times), 3) for name in times[0]}
    useful = [one["useful_s"] for one in times]
    return {**found, "min_s": round(min(useful), 3), "max_s": round(max(useful), 3)}
