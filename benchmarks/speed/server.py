"""A real `monailabel start_server`: its start, an inference request, and /info/ under load.

Load is a training, or the scoring of images for active learning.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from benchmarks.speed.fixtures import SEED, TASK, weights
from lib.errors import InputError
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies

SIDE = 512
RUNS = 40
START_SECONDS = 300  # of patience; a quiet machine takes a tenth
LOAD_SECONDS = 15.0
TRAINING_START_SECONDS = 300  # the same
INFO_PAUSE = 0.05
THOUGHT_SECONDS = 0.6  # between requests of one person; scoring goes on after 0.3
SCORED = 64  # images that come in, more than are scored meanwhile
SCORES_SECONDS = 90  # of patience; the look for new images is every 20
QUICK = {"max_epochs": 500, "train_batch_size": 4, "patch_size": 128, "val_split": 0.2}


def run(
    runs: int, models: Path, shipped: Path, app: Path, on_round: Callable[[], object] | None = None
) -> dict[str, Any]:
    """Measure, and return settings and figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies, live = folder / "studies", folder / "models"
        live.mkdir()
        write_nuclei_studies(studies, count=8, labelled=8, seed=SEED)
        image, _ = nuclei_phantom(SEED, rows=SIDE, columns=SIDE, nuclei=120)
        Image.fromarray(image).save(studies / "benchmark.png")
        file, story = weights(models, shipped, folder)
        shutil.copyfile(file, live / f"{TASK}.pt")
        server = Server(app, studies, live, folder)
        try:
            start = server.start()
            first = server.infer()
            _wait_for_scores(studies, len(list(studies.glob("*.png"))))
            alone = []
            for _ in range(runs):
                alone.append(server.infer())
                if on_round:
                    on_round()
            idle = [server.info() for _ in range(runs)]
            apart = _apart(server, runs)
            scored, beside = _while_scored(server, studies, runs)
            loaded, inferring = _under_load(server)
        finally:
            server.stop()
    return {
        "what": f"monailabel start_server with {TASK}; {SIDE}x{SIDE} PNG in the store to mask "
        "in the reply (output=image) over HTTP",
        "task": TASK,
        "weights": story,
        "unit": "ms",
        "start_to_first_info_s": round(start, 2),
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


def spread(seconds: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and maximum."""
    ordered = sorted(seconds)
    return {
        "median_s": round(statistics.median(ordered), 4),
        "p95_s": round(ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))], 4),
        "max_s": round(ordered[-1], 4),
        "requests": len(ordered),
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


class Server:
    """The server's process, and requests to it."""

    def __init__(
        self, app: Path, studies: Path, models: Path, folder: Path, task: str = TASK
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.command = [sys.executable, "-m", "monailabel.main", "start_server"]
        self.command += ["--app", str(app), "--studies", str(studies), "--host", "127.0.0.1"]
        self.command += ["--port", str(port), "--conf", "model_dir", str(models)]
        self.command += ["--conf", "models", task]
        self.folder, self.process, self.task = folder, None, task

    process: subprocess.Popen[bytes] | None

    def start(self) -> float:
        """Start the server; returns the seconds to its first answer."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MONAI_LABEL_")}
        environment["MONAI_LABEL_SESSION_PATH"] = str(self.folder / "sessions")
        environment["MONAI_LABEL_AUTO_UPDATE_SCORING"] = "false"
        begin = time.perf_counter()
        with open(self.folder / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        while time.perf_counter() - begin < START_SECONDS:
            if self.process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/info/", timeout=5).ok:
                    return time.perf_counter() - begin
            except requests.RequestException:
                time.sleep(0.05)
        tail = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()
        raise InputError(f"benchmark: the server did not start: {tail[-1] if tail else 'no log'}")

    def infer(self) -> float:
        """Return the seconds of a request for a mask."""
        query = {"image": "benchmark", "output": "image"}
        return self._timed("POST", f"/infer/{TASK}", params=query, data={"params": "{}"})[0]

    def click(self, image: str, points: list[list[int]]) -> float:
        """Return the seconds of a request for the label image that positive clicks make."""
        query = {"image": image, "output": "image"}
        form = {"params": json.dumps({"foreground": points, "background": []})}
        return self._timed("POST", f"/infer/{self.task}", params=query, data=form)[0]

    def ask(self, image: str, params: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Return the seconds of a request for the JSON of an answer, and the answer."""
        query, form = {"image": image, "output": "json"}, {"params": json.dumps(params)}
        seconds, reply = self._timed("POST", f"/infer/{self.task}", params=query, data=form)
        return seconds, reply.json()

    def get(self, path: str) -> bytes:
        """Return what lies at `path`."""
        return self._timed("GET", path)[1].content

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self.process is None:
            raise ValueError("the server was not started")
        return self.process.pid

    def info(self) -> float:
        """Return the seconds of a request for /info/."""
        return self._timed("GET", "/info/")[0]

    def training_steps(self) -> int:
        """Return the steps the running training has done, 0 before its first."""
        stats = requests.get(f"{self.url}/info/", timeout=60).json()["train_stats"].get(TASK) or {}
        return int(stats.get("step", 0)) if stats.get("active") else 0

    def train(self) -> None:
        """Begin a short training."""
        self._timed("POST", f"/train/{TASK}", json=QUICK)

    def _timed(self, method: str, path: str, **arguments: Any) -> tuple[float, requests.Response]:
        begin = time.perf_counter()
        reply = requests.request(method, self.url + path, timeout=120, **arguments)
        taken = time.perf_counter() - begin
        if not reply.ok:
            raise InputError(
                f"benchmark: {method} {path} answered {reply.status_code}: {reply.text}"
            )
        return taken, reply

    def stop(self) -> None:
        """End the process."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            requests.delete(f"{self.url}/train/", timeout=20)
        except requests.RequestException:
            pass
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _apart(server: Server, runs: int) -> list[float]:
    """Return the seconds of requests for masks with pauses, as of one person who looks at them."""
    seconds = []
    for _ in range(runs):
        time.sleep(THOUGHT_SECONDS)
        seconds.append(server.infer())
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
    deadline = time.monotonic() + TRAINING_START_SECONDS
    while server.training_steps() == 0:
        if time.monotonic() > deadline:
            raise InputError(f"benchmark: no training step in {TRAINING_START_SECONDS} s")
        time.sleep(0.5)
    stop = threading.Event()
    inferring: list[float] = []
    failures: list[Exception] = []

    def infer() -> None:
        try:
            while not stop.is_set():
                inferring.append(server.infer())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=infer)
    thread.start()
    answers = []
    end = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < end:
        answers.append(server.info())
        time.sleep(INFO_PAUSE)
    stop.set()
    thread.join()
    if failures:
        raise failures[0]
    if server.training_steps() == 0:
        raise InputError("benchmark: the training ended too early; nothing was measured beside it")
    return answers, inferring
