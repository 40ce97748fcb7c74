"""A process of `monailabel start_server`, and timed requests to it."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import requests

from lib.errors import InputError
from lib.processes import end, free_port, wait_until_answers

APP = Path(__file__).resolve().parents[2] / "monailabel_app"
START_SECONDS = 300  # of patience; a quiet machine takes a tenth
TRAINING_START_SECONDS = 300  # the same
NONE: Mapping[str, str] = MappingProxyType({})
QUICK = {"max_epochs": 500, "train_batch_size": 4, "patch_size": 128, "val_split": 0.2}


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, 95th percentile and maximum."""
    return {
        "median_s": round(statistics.median(seconds), 4),
        "p95_s": round(float(np.percentile(seconds, 95, method="nearest")), 4),
        "max_s": round(max(seconds), 4),
        "requests": len(seconds),
    }


class Server:
    """The server, from the beginning of a `with` block to its end.

    Attributes:
        process: of the server, once it is started.
        start_seconds: from the start of the process to its first answer.
    """

    def __init__(
        self,
        studies: Path,
        weights: Mapping[str, Path],
        folder: Path,
        *,
        untrained: Sequence[str] = (),
        temporary: Path | None = None,
        conf: Mapping[str, str] = NONE,
    ) -> None:
        """Prepare the server.

        Args:
            weights: files of the tasks that are served; the first is trained and asked.
            folder: for copies of the weights, sessions and the log.
            untrained: tasks that are served without weights.
            temporary: the server's TMPDIR; by default that of this process.
            conf: further options, as of ``--conf``.
        """
        models = folder / "models"
        models.mkdir()
        for task, file in weights.items():
            shutil.copyfile(file, models / f"{task}.pt")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.task = next(iter(weights))
        self._command = [sys.executable, "-m", "monailabel.main", "start_server"]
        self._command += ["--app", str(APP), "--studies", str(studies), "--host", "127.0.0.1"]
        self._command += ["--port", str(port), "--conf", "model_dir", str(models)]
        for key, value in {"models": ",".join([*weights, *untrained]), **conf}.items():
            self._command += ["--conf", key, value]
        self._folder, self._temporary = folder, temporary

    def __enter__(self) -> Server:
        """Start the process, and wait for its first answer."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MONAI_LABEL_")}
        environment["MONAI_LABEL_SESSION_PATH"] = str(self._folder / "sessions")
        environment["MONAI_LABEL_AUTO_UPDATE_SCORING"] = "false"
        if self._temporary is not None:
            environment["TMPDIR"] = str(self._temporary)
        log_file = self._folder / "server.log"
        begin = time.perf_counter()
        with open(log_file, "wb") as log:
            self.process = subprocess.Popen(
                self._command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        if wait_until_answers(self.process, f"{self.url}/info/", START_SECONDS):
            self.start_seconds = time.perf_counter() - begin
            return self
        self.__exit__()
        tail = log_file.read_text(errors="replace").strip().splitlines()
        raise InputError(f"benchmark: the server did not start: {tail[-1] if tail else 'no log'}")

    def __exit__(self, *error: object) -> None:
        """End the process."""
        if self.process.poll() is not None:
            return
        try:
            requests.delete(f"{self.url}/train/", timeout=20)
        except requests.RequestException:
            pass
        end(self.process)

    def infer(self, image: str, **params: Any) -> float:
        """Return the seconds of an inference request for a label image."""
        return self._infer(image, "image", params)[0]

    def ask(self, image: str, params: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        """Return the seconds of an inference request for the JSON of an answer, and the answer."""
        seconds, reply = self._infer(image, "json", params)
        return seconds, reply.json()

    def get(self, path: str) -> bytes:
        """Return what lies at `path`."""
        return self._timed("GET", path)[1].content

    def info(self) -> float:
        """Return the seconds of a request for /info/."""
        return self._timed("GET", "/info/")[0]

    def train(self) -> None:
        """Begin a short training."""
        self._timed("POST", f"/train/{self.task}", json=QUICK)

    def wait_for_training(self) -> None:
        """Wait for the first step of a training."""
        deadline = time.monotonic() + TRAINING_START_SECONDS
        while self.training_steps() == 0:
            if time.monotonic() > deadline:
                raise InputError(f"benchmark: no training step in {TRAINING_START_SECONDS} s")
            time.sleep(0.5)

    def training_steps(self) -> int:
        """Return the steps that the running training has taken, 0 where none runs."""
        info = requests.get(f"{self.url}/info/", timeout=60).json()
        stats = info["train_stats"].get(self.task) or {}
        return int(stats.get("step", 0)) if stats.get("active") else 0

    def _infer(
        self, image: str, output: str, params: Mapping[str, Any]
    ) -> tuple[float, requests.Response]:
        query, form = {"image": image, "output": output}, {"params": json.dumps(params)}
        return self._timed("POST", f"/infer/{self.task}", params=query, data=form)

    def _timed(self, method: str, path: str, **arguments: Any) -> tuple[float, requests.Response]:
        begin = time.perf_counter()
        reply = requests.request(method, self.url + path, timeout=120, **arguments)
        seconds = time.perf_counter() - begin
        if not reply.ok:
            raise InputError(
                f"benchmark: {method} {path} answered {reply.status_code}: {reply.text}"
            )
        return seconds, reply


class Training:
    """Keeps a training running on the server, again and again, during a `with` block."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.begun, self.steps, self.looks, self.active = 0, 0, 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_running)

    def __enter__(self) -> Training:
        """Begin; returns when the first steps are taken."""
        self._begin()
        self.server.wait_for_training()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Begin no further training."""
        self._stop.set()
        self._thread.join()

    def report(self) -> dict[str, Any]:
        """Return trainings begun, steps taken and the share of time with a process at work."""
        share = round(self.active / max(1, self.looks), 3)
        return {"begun": self.begun, "steps": self.steps, "share_of_the_time": share}

    def _begin(self) -> None:
        self.server.train()
        self.begun += 1

    def _keep_running(self) -> None:
        before = self.server.training_steps()
        while not self._stop.wait(1.0):
            running = requests.get(
                f"{self.server.url}/train/", params={"check_if_running": True}, timeout=60
            ).ok
            self.looks += 1
            self.active += running
            now = self.server.training_steps()
            self.steps += max(0, now - before)
            before = now
            if not running:
                self._begin()
