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
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image

from benchmarks.speed.fixtures import SEED, TASK, served_weights, weights
from benchmarks.speed.serving import Server, Training, spread
from lib.errors import InputError
from lib.io.read import extension
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies
from lib.weights.store import ModelStore

SLICER = Path("monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py")
CLICKS = "nuclei_click"  # served too where it has weights
STRATEGY = "random"
PAUSE_S = (2.0, 6.0)  # that an annotator looks at an image; a person takes longer
LABELLED = 8
PHANTOMS = 24  # different ones; the other images are shifted copies
SPARE = 1.3  # images per one that is expected to be labelled
GOAL_S = 0.3
NEXT, INFER, CLICK, SAVE = "next sample", "infer", "click", "save label"


@dataclass(kw_only=True)
class Log:
    """What happened; annotators write to it from their threads.

    Attributes:
        seconds: of each call to the server.
        given: numbers of the annotators that an image was given to.
        saved: content of the label of each image.
        ran_out: annotators that found no image left.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    given: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    saved: dict[str, bytes] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    ran_out: int = 0
    on_label: Callable[[], object] = lambda: None


def run(
    store: ModelStore,
    on_round: Callable[[], object],
    annotators: int = 20,
    minutes: float = 5.0,
    studies: Path | None = None,
    pause_s: tuple[float, float] = PAUSE_S,
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        on_round: called after each label.
        minutes: for how long images are labelled.
        studies: folder with images, which are copied; None makes phantoms of nuclei.
        pause_s: least and most seconds that an annotator looks at an image.
    """
    library, seconds = slicer_library(), 60 * minutes
    expected = round(annotators * seconds / (sum(pause_s) / 2) * SPARE) + annotators
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder / "studies", expected, studies)
        file, origin = weights(store, folder)
        files = {TASK: file}
        if clicks := served_weights(CLICKS, store):
            files[CLICKS] = clicks[0]
        log = Log(on_label=on_round)
        with Server(folder / "studies", files, folder) as server:

            def annotator(number: int) -> Annotator:
                home = folder / f"annotator_{number}"
                home.mkdir()
                return Annotator(
                    client=library.MONAILabelClient(
                        server.url, tmpdir=str(home), client_id=f"a{number}"
                    ),
                    number=number,
                    folder=home,
                    log=log,
                    rng=random.Random(SEED + number),
                    pause_s=pause_s,
                    clicks=CLICKS in files,
                )

            people = [annotator(number) for number in range(annotators)]
            with Training(server) as training, ThreadPoolExecutor(annotators) as pool:
                end = time.monotonic() + seconds
                list(pool.map(lambda one: one.label_until(end), people))
            lost = _lost(log, library.MONAILabelClient(server.url, tmpdir=str(folder)))
    twice = sorted(image for image, who in log.given.items() if len(who) > 1)
    figures = {call: spread(durations) for call, durations in log.seconds.items()}
    return {
        "what": f"{annotators} annotators for {seconds:g} s with the client library of 3D Slicer, "
        f"on {studies.name if studies else 'phantoms of 256x256'}, a training running",
        "models": list(files),
        "weights": origin,
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


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """A person who labels images with the client library.

    Attributes:
        client: of `slicer_library`, with a folder of its own.
        number: marks the labels.
        pause_s: least and most seconds that an image is looked at.
        clicks: whether each answer is clicked on before it is saved.
    """

    client: Any
    number: int
    folder: Path
    log: Log
    rng: random.Random
    pause_s: tuple[float, float]
    clicks: bool

    def label_until(self, end: float) -> None:
        """Label images, one after the other; an error ends that image, not the work.

        Args:
            end: by `time.monotonic`.
        """
        time.sleep(self.rng.uniform(0, min(1.0, self.pause_s[1])))  # not all in the same moment
        while time.monotonic() < end:
            try:
                if not self._label_next():
                    self.log.ran_out += 1
                    return
            except Exception as error:  # whatever it is, to an annotator the server failed
                message = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
                self.log.errors.append(message[:300])
                time.sleep(self.pause_s[0])

    def _label_next(self) -> bool:
        """Label the next image; False where there is none."""
        sample = self._timed(NEXT, self.client.next_sample, STRATEGY, {})
        if not sample:
            return False
        image, rng = sample["id"], self.rng
        self.log.given[image].add(self.number)
        params: dict[str, Any] = {"result_extension": ".nrrd"}
        file, _ = self._timed(INFER, self.client.infer, TASK, image, dict(params))
        if self.clicks:
            point = [rng.randrange(256), rng.randrange(256), 0]
            params |= {"foreground": [point], "background": []}
            file, _ = self._timed(CLICK, self.client.infer, CLICKS, image, dict(params))
        time.sleep(rng.uniform(*self.pause_s))
        label = self.folder / f"{len(self.log.saved)}.nrrd"
        _write_marked(Path(file), label, self.number, rng)
        self._timed(SAVE, self.client.save_label, image, str(label), "", {"label_info": []})
        self.log.saved[image] = label.read_bytes()
        self.log.on_label()
        return True

    def _timed(self, call: str, function: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.perf_counter()
        result = function(*arguments)
        self.log.seconds[call].append(time.perf_counter() - begin)
        return result


def _write_marked(answer: Path, file: Path, number: int, rng: random.Random) -> None:
    """Write an answer, marked with who corrects it, as the label to save."""
    image = sitk.ReadImage(str(answer))
    label = sitk.GetArrayFromImage(image).astype(np.uint16)
    flat = label.reshape(-1)
    flat[0], flat[1] = number + 1, rng.randrange(1, 2**16)
    marked = sitk.GetImageFromArray(label)
    marked.CopyInformation(image)
    sitk.WriteImage(marked, str(file), True)


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
