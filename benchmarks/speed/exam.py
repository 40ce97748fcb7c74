"""One request on a mammography exam to a real server: its time, its files and its memory.

The request names one view; the answer is on the exam, with overlays of Grad-CAM, the maps as scalar
images and the dense tissue of all four views, which are fetched afterwards. Memory is measured on a
second exam, of large DICOM files.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image as PillowImage

from benchmarks.speed.fixtures import RANDOM, SEED, random_network, served_weights
from benchmarks.speed.serving import Server
from lib.errors import InputError
from lib.mammography.exam_files import is_image
from lib.mammography.exams import Exam, group_exams
from lib.phantoms.mammograms.dicom import mammogram_dataset
from lib.phantoms.mammograms.exams import exam_phantom
from lib.tasks.registry import get_task
from lib.weights.checkpoint import Checkpoint, save_checkpoint
from lib.weights.store import ModelStore

TASK = "density_birads"
ROWS, COLUMNS = 2600, 2000  # of the phantom's views
LARGE = (4096, 3328)  # rows and columns of the DICOM views that memory is measured on
LARGE_RUNS = 3
LIMIT_S, LIMIT_GIB = 6.0, 2.0
PARAMS = {"saliency": "gradcam"}
_ENCODINGS = ("uncompressed", "JPEG 2000", "JPEG Lossless", "uncompressed")


def run(
    runs: int,
    store: ModelStore,
    on_round: Callable[[], object],
    exam: Path | None = None,
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        exam: folder of the views of an exam; None makes a phantom.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies = folder / "studies"
        studies.mkdir()
        views, what = _views(exam, studies)
        large = _write_large(studies)
        file, origin = served_weights(TASK, store) or _random_weights(folder)
        with Server(studies, {TASK: file}, folder) as server:
            first, _ = server.ask(views[0], PARAMS)
            rounds = []
            for _ in range(runs):
                before = _cpu_seconds(server.process.pid)
                seconds, answer = server.ask(views[0], PARAMS)
                rounds.append((seconds, _cpu_seconds(server.process.pid) - before, answer))
                on_round()
            files = {path: len(server.get(path)) for path in _paths(rounds[-1][2])}
            before_large = _peak_gib(server.process.pid)
            large_seconds = [server.ask(large[0], PARAMS)[0] for _ in range(LARGE_RUNS)]
            peak = _peak_gib(server.process.pid)
    answer = rounds[-1][2]
    times = [seconds for seconds, _, _ in rounds]
    phases = {
        phase: round(statistics.median(reply["latencies"][phase] for _, _, reply in rounds), 3)
        for phase in answer["latencies"]
    }
    return {
        "what": f"monailabel start_server with {TASK} at {get_task(TASK).input.size} pixels; POST "
        f"/infer by one view's id, {what}, with overlays of all views",
        "task": TASK,
        "weights": origin,
        "params": PARAMS,
        "views_used": answer["views_used"],
        "unit": "s",
        "first_request_s": round(first, 3),
        "request": _spread(times),
        "processor_time": _spread([busy for _, busy, _ in rounds]),
        "phases_s": phases,
        "limit_s": LIMIT_S,
        "below_limit": statistics.median(times) < LIMIT_S,
        "files": {path.rsplit("/", 1)[-1]: size for path, size in files.items()},
        "large": {
            "what": f"four DICOM views of {LARGE[1]} x {LARGE[0]} pixels in 16 bit: "
            + ", ".join(_ENCODINGS),
            "request": _spread(large_seconds),
            "peak_gib_before": before_large,
            "peak_gib": peak,
            "limit_gib": LIMIT_GIB,
            "below_limit": None if peak is None else peak < LIMIT_GIB,
        },
    }


def _paths(answer: Mapping[str, Any]) -> list[str]:
    """Return the paths of all files that an answer names."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for inner in value.values():
                yield from walk(inner)
        else:
            yield str(value)

    return [*walk(answer["dense_tissue"]), *walk(answer["saliency"])]


def _views(exam: Path | None, studies: Path) -> tuple[list[str], str]:
    """Copy the views of an exam to the studies; return their ids, and what they are in words."""
    if exam is None:
        return _write_phantom(studies), f"a phantom of four PNG of {COLUMNS} x {ROWS} pixels"
    if not exam.is_dir():
        raise InputError(f"exam '{exam}' is no folder; give a folder with the views of one exam")
    found = group_exams(sorted(path for path in exam.iterdir() if is_image(path)))
    best: Exam | None = max(found, key=lambda one: len(one.views), default=None)
    if best is None or not best.views:
        raise InputError(
            f"no views of an exam in '{exam}': expected DICOM, or names such as EXAM_R-CC.png"
        )
    for file in best.views.values():
        shutil.copyfile(file, studies / file.name)
    ids = [file.name.split(".")[0] for file in best.views.values()]
    return ids, f"{len(ids)} views of the exam given with --exam"


def _write_phantom(folder: Path) -> list[str]:
    """Write a seeded exam as 8-bit PNG; returns its ids, R-CC first."""
    ids = []
    for view in exam_phantom(SEED, 0, 0.25).views:
        top = 2**view.detector.bits - 1
        grey = np.rint(view.pixels / top * 255).astype(np.uint8)
        ids.append(f"phantom_{view.view.name}")
        PillowImage.fromarray(grey).resize((COLUMNS, ROWS)).save(folder / f"{ids[-1]}.png")
    return ids


def _write_large(folder: Path) -> list[str]:
    """Write a seeded exam of 16-bit DICOM, encoded as `_ENCODINGS`; returns its ids."""
    exam = exam_phantom(SEED, 1, 0.125)
    ids = []
    for index, (view, encoding) in enumerate(zip(exam.views, _ENCODINGS, strict=True)):
        grey = view.pixels.astype(np.float32) / (2**view.detector.bits - 1)
        large = PillowImage.fromarray(grey).resize(LARGE[::-1], PillowImage.Resampling.BILINEAR)
        noise = np.random.default_rng((SEED, index)).normal(0, 40, LARGE).astype(np.float32)
        pixels = np.clip(np.asarray(large) * 60000 + noise, 0, 65535).astype("<u2")
        data = mammogram_dataset(view, SEED, 1, index)
        data.Rows, data.Columns = LARGE
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit = 15
        data.PhotometricInterpretation, data.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
        data.PixelIntensityRelationshipSign = -1
        data.WindowCenter, data.WindowWidth = "32768", "65536"
        _encode(data, pixels, encoding)
        ids.append(f"large_{view.view.name}")
        data.save_as(folder / f"{ids[-1]}.dcm", enforce_file_format=True)
    return ids


def _encode(data: Any, pixels: np.ndarray, encoding: str) -> None:
    """Store pixels `(rows, columns)`, uint16, in a dataset, in one of `_ENCODINGS`."""
    import pydicom
    import SimpleITK as sitk

    if encoding == "uncompressed":
        data.PixelData = pixels.tobytes()
        return
    with tempfile.TemporaryDirectory() as name:
        file = str(Path(name, "encoded.dcm"))
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(file)
        writer.UseCompressionOn()
        writer.SetCompressor({"JPEG 2000": "JPEG2000", "JPEG Lossless": "JPEG"}[encoding])
        writer.Execute(sitk.GetImageFromArray(pixels))
        encoded = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
    data.PixelData = encoded.PixelData
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"


def _random_weights(folder: Path) -> tuple[Path, str]:
    """Write seeded random weights, and return their file and what they are in words."""
    network = random_network(TASK)
    made = Checkpoint(task=TASK, spec=get_task(TASK).as_dict(), weights=dict(network.state_dict()))
    return save_checkpoint(folder / "random.pt", made), RANDOM


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median_s": round(statistics.median(values), 3),
        "min_s": round(min(values), 3),
        "max_s": round(max(values), 3),
        "requests": len(values),
    }


def _cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken, all its threads together."""
    user, system, *_ = psutil.Process(pid).cpu_times()
    return float(user + system)


def _peak_gib(pid: int) -> float | None:
    """Return the largest resident set that a process had; None where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next(
        (round(int(ln.split()[1]) / 2**20, 3) for ln in lines if ln.startswith("VmHWM:")), None
    )


def table(report: Mapping[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    lines = [f"{'':34}  {'median':>9}  {'min':>9}  {'max':>9}"]
    rows = {
        "warm request": report["request"],
        "processor time of it": report["processor_time"],
        "request of large DICOM": report["large"]["request"],
    }
    for name, row in rows.items():
        values = "  ".join(f"{row[key]:>7.2f} s" for key in ("median_s", "min_s", "max_s"))
        lines.append(f"{name:34}  {values}")
    lines.append(f"{'first request':34}  {report['first_request_s']:>7.2f} s")
    lines.append(f"phases: {json.dumps(report['phases_s'])}")
    verdict = "below" if report["below_limit"] else "NOT below"
    lines.append(f"the median is {verdict} {report['limit_s']:g} s")
    large = report["large"]
    if large["peak_gib"] is not None:
        verdict = "below" if large["below_limit"] else "NOT below"
        lines.append(
            f"the server's peak is {large['peak_gib']:.2f} GiB, {verdict} {large['limit_gib']:g} "
            f"GiB; {large['peak_gib_before']:.2f} GiB before the large DICOM"
        )
    for name, size in report["files"].items():
        lines.append(f"  {name:24} {size / 2**20:>6.2f} MiB")
    return lines
