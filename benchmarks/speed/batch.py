"""Answers on a folder of images, from file to file: ours, and MONAI Label's way.

Ours is `monailabel_app.batch.answer_share`, what `batch-infer` runs; where MONAI Label is not
installed, the same without its datastore: read, network, separation of nuclei, label file. Stock
does for each image what BasicInferTask does with MONAI's transforms: LoadImage, intensities to
0..1, SimpleInferer in float32, sigmoid, threshold, label file; and the same with MONAI's
SlidingWindowInferer on windows of the training patch. All read the weights once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.device_load import device_memory_mib, device_name, watched
from benchmarks.speed.fixtures import SEED, TASK, precision_name, weights
from benchmarks.speed.rounds import measure
from lib.devices import resolve_device
from lib.errors import InputError
from lib.io.pictures import save_picture
from lib.io.read import read_image
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint, load_network
from lib.weights.store import ModelStore

OURS, STOCK = "ours", "stock (BasicInferTask)"
SLIDING = "stock (SlidingWindowInferer)"
SIDE, IMAGES = 512, {"cpu": 60, "cuda": 240}
QUICK = 64, 4


def prepare(
    variant: str, threads: int, task: str, device: str, folder: str, file: str, models: str
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return a function that answers on all images, and one that returns further figures."""
    torch.set_num_threads(threads)
    target, studies = torch.device(device), Path(folder)
    images = sorted(studies.glob("*.png"))
    figures: dict[str, Any] = {}

    def run() -> None:
        with watched(target) as utilisation:
            if variant == OURS and find_spec("monailabel"):
                _answer_share(task, studies, models, device)
            else:
                row, out = get_task(task), studies / "answers"
                out.mkdir(exist_ok=True)
                if variant == OURS:
                    answer = _ours(row, file, target, out)
                else:
                    answer = _stock(row, file, target, out, variant == SLIDING)
                for image in images:
                    answer(image)
        figures["utilisation_percent"] = utilisation.mean

    return run, lambda: {**figures, "peak_device_memory_mib": device_memory_mib(target)}


def _ours(task: TaskSpec, file: str, device: torch.device, out: Path) -> Callable[[Path], object]:
    predictor = Predictor.from_checkpoint(task, load_checkpoint(file), device)

    def answer(image: Path) -> object:
        return save_picture(out / image.name, predictor(read_image(image)).mask)

    return answer


def _answer_share(task: str, studies: Path, models: str, device: str) -> None:
    """Answer by the app's own code, which stands above this room and is found when it is there."""
    from pkgutil import resolve_name

    module = resolve_name("monailabel_app.batch")
    batch = module.Batch(task=task, folder=studies, models=Path(models), device=device)
    answers = module.answer_share(batch)
    if answers.failed:
        raise InputError(f"no answers on {', '.join(answers.failed)}")


def _stock(
    task: TaskSpec, file: str, device: torch.device, out: Path, sliding: bool
) -> Callable[[Path], object]:
    from monai.inferers import SimpleInferer, SlidingWindowInferer
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, ScaleIntensity

    window = task.training.patch_sides(2)
    inferer = SlidingWindowInferer(window) if sliding else SimpleInferer()
    network = load_network(task, load_checkpoint(file)).to(device).eval()
    load = Compose([LoadImage(reader="PILReader", image_only=True), EnsureChannelFirst()])
    scale = ScaleIntensity()

    def answer(image: Path) -> object:
        pixels = scale(load(image)[:1]).repeat(task.map_network.in_channels, 1, 1)
        with torch.no_grad():
            probabilities = torch.sigmoid(inferer(pixels[None].to(device).float(), network))
        mask = (probabilities[0, 0] >= task.output.threshold).cpu().numpy()
        return save_picture(out / image.name, np.ascontiguousarray(mask.T.astype(np.uint8)))

    return answer


def run(
    store: ModelStore,
    on_round: Callable[[], object],
    device: str | None = None,
    quick: bool = False,
    task: str = TASK,
) -> dict[str, Any]:
    """Measure all, and return settings and figures.

    Args:
        device: by default the best there is.
        task: one for nuclei.
        quick: a few tiny images, to see that it runs.

    Raises:
        InputError: no such device, or all failed.
    """
    target = resolve_device(device)
    side, count = QUICK if quick else (SIDE, IMAGES[target.type])
    figures, left_out = {}, {}
    with tempfile.TemporaryDirectory() as work:
        file, origin = weights(store, Path(work), task)
        for number, variant in enumerate((OURS, STOCK, SLIDING)):
            folder = Path(work, f"studies_{number}")
            folder.mkdir()
            for index in range(count):
                image, _ = nuclei_phantom(SEED + index, rows=side, columns=side, nuclei=side // 5)
                save_picture(folder / f"cells_{index:03d}.png", image)
            settings = {"threads": torch.get_num_threads(), "device": str(target)}
            settings |= {"folder": str(folder), "file": str(file), "models": str(store.folder)}
            settings["task"] = task
            try:
                timed = measure(prepare, [variant], settings, 1, 0.0, warm_up=0, min_rounds=1)
            except InputError as error:
                left_out[variant] = str(error)
            else:
                taken = timed[variant].seconds[0]
                figures[variant] = {
                    "images_per_s": round(count / taken, 2),
                    "seconds": round(taken, 3),
                    "peak_memory_mib": round(timed[variant].peak_mib),
                    **timed[variant].result,
                }
            on_round()
    if not figures:
        raise InputError(next(iter(left_out.values())))
    return {
        "what": f"answers of {task} on {count} images of {side}x{side}, from file to file, "
        f"{device_name(target)}",
        "task": task,
        "device": target.type,
        "images": count,
        "ours_runs": "batch-infer" if find_spec("monailabel") else "batch-infer without datastore",
        "ours_computes_in": precision_name(target),
        "weights": origin,
        "unit": "images/s",
        "left_out": left_out,
        "figures": figures,
    }


def table(report: Mapping[str, Any]) -> list[str]:
    """Return lines of the figures."""
    lines = []
    for name, row in report["figures"].items():
        busy = row["utilisation_percent"]
        words = "" if busy is None else f", the GPU {busy:.0f} % busy"
        lines.append(f"{name}: {row['images_per_s']} images/s{words}, {row['peak_memory_mib']} MiB")
    return lines
