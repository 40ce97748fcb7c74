"""One volume on the CPU, from image to mask: MONAI's SlidingWindowInferer and ours.

Stock is `SlidingWindowInferer(roi_size=...)` with its defaults (overlap 0.25, equal weights, one
window at a time) on windows of the size that the row is trained with, then sigmoid and threshold,
all in float32. Ours is `lib.segmentation.predictor.Predictor.__call__`, what the server answers
with, in the precision that it picks. Where that is not float32, each is measured in the other's
precision too. All prepare the same volume in the same way and compute with the same network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from benchmarks.speed.fixtures import (
    CPU,
    RANDOM,
    SEED,
    precision_name,
    random_network,
    served_weights,
)
from benchmarks.speed.rounds import compare, measure, peak_mib, speedup
from lib.data.transforms import prepare_image
from lib.devices import autocast, resolve_precision
from lib.image import Geometry, Image
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint, load_network
from lib.weights.store import ModelStore

TASK = "ultrasound3d_vnet"
SIDE = 256
SECONDS = 900.0  # no further round is begun after these; one of 256 voxels a side takes minutes
LIMIT_GIB = 4.0
STOCK, OURS = "stock (SlidingWindowInferer)", "ours"
STOCK_BF16, OURS_FP32 = "stock, bfloat16", "ours, float32"


def prepare(
    variant: str, threads: int, side: int, file: str | None
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return a function that segments the volume, and one that returns facts on windows and memory.

    Args:
        side: voxels of the volume along each axis.
        file: the weights; None for random ones.
    """
    torch.set_num_threads(threads)
    task = get_task(TASK)
    network = load_network(task, load_checkpoint(file)) if file else random_network(TASK)
    windows: list[tuple[int, ...]] = []  # the sizes that the network is run on
    network.eval().register_forward_pre_hook(lambda _, x: windows.append(tuple(x[0].shape[2:])))
    image = volume(side)
    answer: Callable[[Image], np.ndarray]
    if variant in (OURS, OURS_FP32):
        predictor = Predictor(task, network, "cpu", "auto" if variant == OURS else "fp32")

        def answer(image: Image) -> np.ndarray:
            return predictor(image).mask
    else:
        answer = _stock(task, network, torch.bfloat16 if variant == STOCK_BF16 else torch.float32)
    held = peak_mib()
    shares: list[float] = []

    def run() -> None:
        windows.clear()
        mask = answer(image)
        shares.append(np.count_nonzero(mask) / mask.size)

    def finish() -> dict[str, Any]:
        return {
            "window": list(windows[0]),
            "windows": len(windows),
            "voxels_computed": sum(int(np.prod(size)) for size in windows),
            "held_before_mib": round(held),
            "foreground": round(shares[-1], 5),
        }

    return run, finish


def volume(side: int) -> Image:
    """Return a seeded volume of `side` voxels along each axis: a bright ball in speckle, 8 bit.

    It is made slice by slice, so that making it takes no more memory than the volume itself.
    """
    rng = np.random.default_rng(SEED)
    voxels = np.empty((side, side, side), dtype=np.uint8)
    offset = (np.arange(side) - (side - 1) / 2) / side
    flat = offset[:, np.newaxis] ** 2 + offset**2
    for index, height in enumerate(offset):
        mean = np.where(flat + height**2 < 0.3**2, 130.0, 60.0)
        voxels[index] = np.minimum(mean * rng.rayleigh(0.8, (side, side)), 255)
    return Image(voxels, Geometry.flat(*voxels.shape), Path("phantom.nrrd"))


def run(
    runs: int, store: ModelStore, on_round: Callable[[], object], size: int = SIDE
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        size: voxels of the volume along each axis.
    """
    file, origin = served_weights(TASK, store) or (None, RANDOM)
    settings = {
        "threads": torch.get_num_threads(),
        "side": size,
        "file": str(file) if file else None,
    }
    others = [OURS_FP32, STOCK_BF16] if resolve_precision(CPU) != torch.float32 else []
    timed = measure(
        prepare,
        [STOCK, OURS, *others],
        settings,
        runs,
        SECONDS,
        on_round,
        warm_up=0,
        min_rounds=1,
    )
    figures = compare(timed, STOCK)
    peak = round(timed[OURS].peak_mib / 2**10, 3)
    return {
        "what": f"{TASK} on one volume of {size}x{size}x{size} voxels, image to mask, CPU",
        "task": TASK,
        "weights": origin,
        "ours_computes_in": precision_name(),
        "unit": "s",
        "memory_limit_gib": LIMIT_GIB,
        "ours_peak_gib": peak,
        "ours_below_limit": peak < LIMIT_GIB,
        "ours_times_as_fast": figures[OURS]["speedup"],
        "figures": figures,
    }


def table(report: dict[str, Any]) -> list[str]:
    """Return aligned lines of the figures, and what ours needs of the memory allowed."""
    figures = report["figures"]
    width = max(len(name) for name in figures)
    lines = [
        f"{'':{width}}  {'median':>9}  {'speed-up (min..max)':>20}  {'windows':>16}  peak (before)"
    ]
    for name, row in figures.items():
        windows = f"{row['windows']} x {'x'.join(map(str, row['window']))}"
        lines.append(
            f"{name:{width}}  {row['median_s']:>7.2f} s  {speedup(row):>20}  {windows:>16}  "
            f"{row['peak_memory_mib']} MiB ({row['held_before_mib']})"
        )
    verdict = "below" if report["ours_below_limit"] else "NOT below"
    lines.append(
        f"ours: {report['ours_peak_gib']:.2f} GiB at most, {verdict} "
        f"{report['memory_limit_gib']:g} GiB"
    )
    return lines


def _stock(task: TaskSpec, network: nn.Module, dtype: torch.dtype) -> Callable[[Image], np.ndarray]:
    inferer = SlidingWindowInferer(task.training.patch_sides(task.network.spatial_dims))

    def answer(image: Image) -> np.ndarray:
        batch = torch.from_numpy(prepare_image(image, task.input))[np.newaxis]
        with torch.no_grad(), autocast(CPU, dtype):
            logits = inferer(batch, network)
        assert isinstance(logits, Tensor)
        return (torch.sigmoid(logits[0, 0]) >= task.output.threshold).numpy().astype(np.uint8)

    return answer
