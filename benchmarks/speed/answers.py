"""From image to numbered nuclei on the CPU, by each backend that is here.

`Predictor.__call__`, what the server answers with, on one synthetic image of SIDE x SIDE pixels,
with torch and with OpenVINO, in int8 where `quantize` made a model in the folder of models.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.fixtures import SEED, served_weights
from benchmarks.speed.rounds import WARM_UP, compare, measure
from lib.devices import cpu_has_bf16_units
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.weights.calibrated import calibrated_model
from lib.weights.checkpoint import load_checkpoint
from lib.weights.openvino_models import converted, is_installed
from lib.weights.store import ModelStore

TASK, PHANTOM = "nuclei", 512
SIDE, LARGE = 512, 2048  # a larger image is not answered in float32, nor twice to warm up
SECONDS = 240.0  # no further round is begun after these
VARIANTS = {
    "torch, float32": ("fp32", "torch"),
    "torch, bfloat16": ("bf16", "torch"),
    "OpenVINO, float32": ("fp32", "openvino"),
    "OpenVINO, bfloat16": ("bf16", "openvino"),
    "OpenVINO, int8": ("auto", "openvino"),
}


def prepare(
    variant: str, threads: int, side: int, file: str, models: str
) -> tuple[Callable[[], object], Callable[[], int]]:
    """Return a function that answers the image, and one that returns the number of its nuclei.

    Args:
        side: rows and columns of the image, in pixels.
        file: the weights.
        models: folder of models, with one in int8 or without.
    """
    torch.set_num_threads(threads)
    precision, backend = VARIANTS[variant]
    predictor = Predictor.from_checkpoint(
        get_task(TASK), load_checkpoint(file), "cpu", precision, backend, Path(models)
    )
    pixels = nuclei_phantom(SEED, rows=PHANTOM, columns=PHANTOM, nuclei=120)[0]
    tiles = -(-side // PHANTOM)
    pixels = np.tile(pixels, (tiles, tiles))[:side, :side]
    image = Image(pixels, Geometry.flat(side, side), Path("phantom.png"))
    objects: list[int] = []

    def answer() -> None:
        found = predictor(image).instances
        assert found is not None
        objects[:] = [int(found.max())]

    return answer, lambda: objects[0]


def run(
    runs: int, store: ModelStore, on_round: Callable[[], object], size: int | None = None
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        size: rows and columns of the image, in pixels; 512 by default.

    Raises:
        InputError: the task has no weights here.
    """
    side = size or SIDE
    served = served_weights(TASK, store)
    if served is None:
        raise InputError(f"'{TASK}' has no weights to answer with; train it first")
    file, origin = served
    variants, left_out = _variants(file, store, large=side > LARGE)
    settings = {"threads": torch.get_num_threads(), "side": side, "file": str(file)}
    settings |= {"models": str(store.folder)}
    warm_up = 0 if side > LARGE else WARM_UP
    timed = measure(
        prepare, variants, settings, runs, SECONDS, on_round, warm_up=warm_up, min_rounds=1
    )
    nuclei = {name: times.result for name, times in timed.items()}
    figures = compare(timed, variants[0])
    for name, row in figures.items():
        row["nuclei"] = nuclei[name]
    return {
        "what": f"{TASK} on one {side}x{side} image, from image to numbered nuclei, CPU",
        "task": TASK,
        "side": side,
        "weights": origin,
        "unit": "s" if side > LARGE else "ms",
        "warm_up": warm_up,
        "left_out": left_out,
        "figures": figures,
    }


def _variants(file: Path, store: ModelStore, large: bool) -> tuple[list[str], dict[str, str]]:
    """Return the variants that can be measured here, and why the others can not."""
    left_out: dict[str, str] = {}
    variants = list(VARIANTS)
    task, checkpoint = get_task(TASK), load_checkpoint(file)
    if not is_installed():
        left_out = dict.fromkeys(variants[2:], "openvino is not installed")
    else:
        converted(task, checkpoint)  # the variants find it in the cache
        if calibrated_model(store.folder, task, checkpoint) is None:
            left_out["OpenVINO, int8"] = "no model in int8 for these weights; see quantize"
    if not cpu_has_bf16_units():
        left_out["torch, bfloat16"] = left_out["OpenVINO, bfloat16"] = "this CPU has no bf16 units"
    if large:
        for name in variants[:1] + variants[2:3]:
            left_out.setdefault(name, "takes minutes")
    return [name for name in variants if name not in left_out], left_out
