"""A real `monailabel start_server`: its start, an inference request, and /info/ under load.

Load is a training, or the scoring of images for active learning.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.speed.fixtures import SEED, TASK, weights
from benchmarks.speed.serving import Server, spread
from lib.errors import InputError
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies
from lib.weights.store import ModelStore

SIDE = 512
LOAD_SECONDS = 15.0
INFO_PAUSE = 0.05
THOUGHT_SECONDS = 0.6  # between requests of one person; scoring goes on after 0.3
SCORED = 64  # images that come in, more than are scored meanwhile
SCORES_SECONDS = 90  # of patience; the look for new images is every 20
IMAGE = "benchmark"


def run(runs: int, store: ModelStore, on_round: Callable[[], object]) -> dict[str, Any]:
    """Measure, and return settings and figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies = folder / "studies"
        write_nuclei_studies(studies, count=8, labelled=8, seed=SEED)
        image, _ = nuclei_phantom(SEED, rows=SIDE, columns=SIDE, nuclei=120)
        Image.fromarray(image).save(studies / f"{IMAGE}.png")
        file, origin = weights(store, folder)
        with Server(studies, {TASK: file}, folder) as server:
            first = server.infer(IMAGE)
            _wait_for_scores(studies, len(list(studies.glob("*.png"))))
            alone = []
            for _ in range(runs):
                alone.append(server.infer(IMAGE))
                on_round()
            idle = [server.info() for _ in range(runs)]
            apart = _apart(server, runs)
            scored, beside = _while_scored(server, studies, runs)
            loaded, inferring = _under_load(server)
    return {
        "what": f"monailabel start_server with {TASK}; {SIDE}x{SIDE} PNG in the store to mask "
        "in the reply (output=image) over HTTP",
        "task": TASK,
        "weights": origin,
        "unit": "ms",
        "start_to_first_info_s": round(server.start_seconds, 2),
        "first_inference_s": round(first, 3),
        "images_scored_meanwhile": scored,
        "figures": {
            "inference request": spread(alone),
            "inference request, while a training runs": spread(inferring),
            f"inference request, {THOUGHT_SECONDS:g} s apart": spread(apart),
            "the same, while images are scored": spread(beside),
            "/info/": spread(idle),
            "/info/, while inferences and a training run": spread(loaded),
        },
    }


def table(report: dict[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    width = max(len(name) for name in report["figures"])
    lines = [
        f"{'start to the first /info/':{width}}  {report['start_to_first_info_s']:>7.1f} s",
        f"{'first inference request':{width}}  {report['first_inference_s']:>7.2f} s",
        f"{'':{width}}  {'median':>10}  {'p95':>10}  {'max':>10}",
    ]
    for name, row in report["figures"].items():
        values = "  ".join(f"{row[key] * 1000:>7.0f} ms" for key in ("median_s", "p95_s", "max_s"))
        lines.append(f"{name:{width}}  {values}")
    return lines


def _apart(server: Server, runs: int) -> list[float]:
    """Return the seconds of requests for masks with pauses, as of one person who looks at them."""
    seconds = []
    for _ in range(runs):
        time.sleep(THOUGHT_SECONDS)
        seconds.append(server.infer(IMAGE))
    return seconds


def _while_scored(server: Server, studies: Path, runs: int) -> tuple[int, list[float]]:
    """Return how many images were scored during `_apart`, and its seconds."""
    coming = studies.with_name("coming")  # to come in all at once
    coming.mkdir()
    pixels, _ = nuclei_phantom(SEED + 1, rows=SIDE, columns=SIDE, nuclei=120)
    for index in range(SCORED):
        moved = np.roll(pixels, index * SIDE // SCORED, axis=1)  # another file, made at once
        Image.fromarray(moved).save(coming / f"unscored_{index:03}.png")
    before = _count_scores(studies)
    for file in coming.iterdir():
        file.rename(studies / file.name)
    start = _wait_for_scores(studies, before + 1)
    seconds = _apart(server, runs)
    end = _count_scores(studies)
    scored = end - start
    if scored == 0 or end == before + SCORED:
        raise InputError(
            f"benchmark: {scored} of {SCORED} images were scored meanwhile, expected some but not "
            f"all; give fewer --runs"
        )
    return scored, seconds


def _count_scores(studies: Path) -> int:
    """Return how many images have scores; the first line of the records names the version."""
    records = studies / ".scores" / f"{TASK}.jsonl"
    return len(records.read_text().splitlines()) - 1 if records.exists() else 0


def _wait_for_scores(studies: Path, images: int) -> int:
    """Wait until so many images have scores, and return how many have."""
    deadline = time.monotonic() + SCORES_SECONDS
    while (found := _count_scores(studies)) < images:
        if time.monotonic() > deadline:
            raise InputError(f"benchmark: {found} of {images} images scored in {SCORES_SECONDS} s")
        time.sleep(0.5)
    return found


def _under_load(server: Server) -> tuple[list[float], list[float]]:
    """Return the seconds of /info/ and of inferences while a training takes steps."""
    server.train()
    server.wait_for_training()
    stop = threading.Event()

    def infer_on() -> list[float]:
        inferring = []
        while not stop.is_set():
            inferring.append(server.infer(IMAGE))
        return inferring

    answers = []
    end = time.monotonic() + LOAD_SECONDS
    with ThreadPoolExecutor() as pool:
        inferring = pool.submit(infer_on)
        try:
            while time.monotonic() < end:
                answers.append(server.info())
                time.sleep(INFO_PAUSE)
        finally:
            stop.set()
    if server.training_steps() == 0:
        raise InputError("benchmark: the training ended too early; nothing was measured beside it")
    return answers, inferring.result()
