"""Many annotators at once, with 3D Slicer's client library, while a model is trained.

Each of them asks for the next image, has it segmented, clicks on it where a model takes clicks,
looks at it for a while, and saves the label; a training runs all the time. Afterwards every label
is read back. Each label is marked with who saved it, so one that went astray is noticed.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import requests
import SimpleITK as sitk
from PIL import Image

from benchmarks.speed.fixtures import SEED, TASK, weights
from benchmarks.speed.server import TRAINING_START_SECONDS, Server, spread
from lib.errors import InputError
from lib.io.read import extension
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies
from lib.weights.store import ModelStore

SLICER = Path("monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py")
CLICKS = "nuclei_click"  # served too where it has weights
ANNOTATORS, MINUTES = 20, 5.0
STRATEGY = "random"
PAUSE_S = (2.0, 6.0)  # that an annotator looks at an image; a person takes longer
LABELLED = 8
PHANTOMS = 24  # different ones; the other images are shifted copies
SPARE = 1.3  # images per one that is expected to be labelled
GOAL_S = 0.3
NEXT, INFER, CLICK, SAVE = "next sample", "infer", "click", "save label"


@dataclass
class Log:
    """What happened; annotators write to it from their threads."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    given: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    saved: dict[str, bytes] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    ran_out: int = 0


def run(
    annotators: int,
    seconds: float,
    models: Path,
    shipped: Path,
    app: Path,
    on_label: Callable[[], object] | None = None,
    studies: Path | None = None,
    pause_s: tuple[float, float] = PAUSE_S,
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        seconds: for how long images are labelled.
        studies: folder with images, which are copied; None makes phantoms of nuclei.
        pause_s: least and most seconds that an annotator looks at an image.
    """
    library = slicer_library()
    expected = round(annotators * seconds / (sum(pause_s) / 2) * SPARE) + annotators
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live = folder / "models"
        live.mkdir()
        _prepare(folder / "studies", expected, studies)
        file, story = weights(models, shipped, folder)
        shutil.copyfile(file, live / f"{TASK}.pt")
        served = [TASK]
        if clicks := ModelStore(models, shipped).served_path(CLICKS):
            shutil.copyfile(clicks, live / f"{CLICKS}.pt")
            served.append(CLICKS)
        server = Server(app, folder / "studies", live, folder, ",".join(served))
        log, training = Log(), Training(server)
        try:
            server.start()
            training.start()
            _label(annotators, seconds, server, library, folder, log, on_label, pause_s, served)
            training.stop()
            lost = _lost(log, library.MONAILabelClient(server.url, tmpdir=str(folder)))
        finally:
            training.stop()
            server.stop()
    twice = sorted(image for image, who in log.given.items() if len(who) > 1)
    figures = {call: spread(taken) for call, taken in log.seconds.items()}
    return {
        "what": f"{annotators} annotators for {seconds:g} s with the client library of 3D Slicer, "
        f"on {studies.name if studies else 'phantoms of 256x256'}, a training running",
        "models": served,
        "weights": story,
        "annotators": annotators,
        "seconds": seconds,
        "pause_s": list(pause_s),
        "strategy": STRATEGY,
        "labels": len(log.saved),
        "errors": log.errors,
        "lost": lost,
        "given_to_two": twice,
        "annotators_without_images": log.ran_out,
        "training": training.report(),
        "goal": {
            "next_sample_p95_s": GOAL_S,
            "met": not (log.errors or lost or twice) and figures[NEXT]["p95_s"] < GOAL_S,
        },
        "figures": figures,
    }


def table(report: dict[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    lines = [f"{'':12}  {'median':>9}  {'p95':>9}  {'max':>9}  {'requests':>8}"]
    for name, row in report["figures"].items():
        values = "  ".join(f"{row[key] * 1000:>6.0f} ms" for key in ("median_s", "p95_s", "max_s"))
        lines.append(f"{name:12}  {values}  {row['requests']:>8}")
    counts = {key: len(report[key]) for key in ("errors", "lost", "given_to_two")}
    lines.append(
        f"{report['labels']} labels saved, {counts['lost']} of them lost, "
        f"{counts['given_to_two']} images given to two, {counts['errors']} errors; "
        f"{report['training']['steps']} training steps meanwhile"
    )
    lines += report["errors"][:3]
    return lines


def slicer_library() -> ModuleType:
    """Load the client library of the 3D Slicer plugin, which is in MONAI Label's wheel."""
    file = Path(sys.prefix) / SLICER
    spec = importlib.util.spec_from_file_location("slicer_client", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise InputError(f"no {SLICER} in this environment; install monailabel from its wheel")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Training:
    """Keeps a training running on the server, again and again, in a thread."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.begun, self.steps, self.looks, self.active = 0, 0, 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_running)

    def start(self) -> None:
        """Begin; returns when the first steps are taken."""
        self._begin()
        deadline = time.monotonic() + TRAINING_START_SECONDS
        while self.server.training_steps() == 0:
            if time.monotonic() > deadline:
                raise InputError(f"benchmark: no training step in {TRAINING_START_SECONDS} s")
            time.sleep(0.5)
        self._thread.start()

    def stop(self) -> None:
        """Leave it to itself from now on."""
        self._stop.set()
        if self._thread.is_alive():
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


def _prepare(folder: Path, count: int, studies: Path | None) -> None:
    """Write images, `LABELLED` of them with labels to train on, and `count` without."""
    write_nuclei_studies(folder, count=LABELLED, labelled=LABELLED, seed=SEED)
    if studies is not None:
        files = [file for file in studies.iterdir() if extension(file)]
        if not files:
            raise InputError(f"no images in '{studies}'; give a folder with images at its top")
        for file in files:
            shutil.copyfile(file, folder / file.name)
        return
    drawn = [nuclei_phantom(SEED + 1 + number)[0] for number in range(PHANTOMS)]
    for number in range(count):
        pixels = np.roll(drawn[number % PHANTOMS], 8 * (number // PHANTOMS), axis=1)
        Image.fromarray(pixels).save(folder / f"image_{number:05d}.png", compress_level=1)


def _label(
    annotators: int,
    seconds: float,
    server: Server,
    library: ModuleType,
    folder: Path,
    log: Log,
    on_label: Callable[[], object] | None,
    pause_s: tuple[float, float],
    served: list[str],
) -> None:
    """Let all annotators work until the time is over."""
    end = time.monotonic() + seconds
    threads = []
    for number in range(annotators):
        own = folder / f"annotator_{number}"
        own.mkdir()
        client = library.MONAILabelClient(server.url, tmpdir=str(own), client_id=f"a{number}")
        arguments = (client, number, own, end, log, on_label or (lambda: None), pause_s, served)
        threads.append(threading.Thread(target=_annotate, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _annotate(
    client: Any,
    number: int,
    folder: Path,
    end: float,
    log: Log,
    on_label: Callable[[], object],
    pause_s: tuple[float, float],
    served: list[str],
) -> None:
    """Label images, one after the other; an error ends that image, not the work."""
    rng = random.Random(SEED + number)
    time.sleep(rng.uniform(0, min(1.0, pause_s[1])))  # people do not begin in the same moment

    def timed(call: str, function: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments)
        log.seconds[call].append(time.perf_counter() - begin)
        return result

    while time.monotonic() < end:
        try:
            sample = timed(NEXT, client.next_sample, STRATEGY, {})
            if not sample:
                log.ran_out += 1
                return
            image = sample["id"]
            log.given[image].add(number)
            params: dict[str, Any] = {"result_extension": ".nrrd"}
            file, _ = timed(INFER, client.infer, TASK, image, dict(params))
            if CLICKS in served:
                point = [rng.randrange(256), rng.randrange(256), 0]
                params |= {"foreground": [point], "background": []}
                file, _ = timed(CLICK, client.infer, CLICKS, image, dict(params))
            time.sleep(rng.uniform(*pause_s))
            label = _marked(Path(file), folder / f"{len(log.saved)}.nrrd", number, rng)
            timed(SAVE, client.save_label, image, str(label), "", {"label_info": []})
            log.saved[image] = label.read_bytes()
            on_label()
        except Exception as error:  # whatever it is, it is an error of the server to an annotator
            log.errors.append(f"{type(error).__name__}: {getattr(error, 'msg', error)}"[:300])
            time.sleep(pause_s[0])


def _marked(answer: Path, file: Path, number: int, rng: random.Random) -> Path:
    """Write an answer with marks of who corrects it, as the label to save."""
    image = sitk.ReadImage(str(answer))
    label = sitk.GetArrayFromImage(image).astype(np.uint16)
    flat = label.reshape(-1)
    flat[0], flat[1] = number + 1, rng.randrange(1, 2**16)
    marked = sitk.GetImageFromArray(label)
    marked.CopyInformation(image)
    sitk.WriteImage(marked, str(file), True)
    return file


def _lost(log: Log, client: Any) -> list[str]:
    """Return the images whose label is not, whole and unchanged, what was saved."""
    listed = client.datastore()["objects"]
    lost = []
    for image, content in log.saved.items():
        if "final" not in listed.get(image, {}).get("labels", {}):
            lost.append(image)
        elif Path(client.download_label(image, "final")).read_bytes() != content:
            lost.append(image)
    return sorted(lost)


__all__ = ["run", "slicer_library", "table"]
