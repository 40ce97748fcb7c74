"""From prepared image to probabilities: MONAI Label's BasicInferTask's way, ours, and OpenVINO.

Stock is `BasicInferTask.run_inferer` itself (no_grad, contiguous float32, SimpleInferer) and a
sigmoid; where MONAI Label is not installed, the same calls. On CUDA stands MONAI's
SlidingWindowInferer beside it, on windows of the training patch, with its defaults. Ours is
`lib.segmentation.predictor.Predictor.probabilities`, what the server answers with; on CUDA also
without recording it as a CUDA graph, and with the seconds of a whole answer by phase (preparation,
network, separation of nuclei) and of a large image in tiles. OpenVINO is here as a yardstick on
CPUs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.device_load import count_flops, device_name, load_of
from benchmarks.speed.fixtures import (
    FORCED,
    SEED,
    TASK,
    forced_variants,
    phantom,
    precision_name,
    prepared_image,
    random_network,
    weights,
)
from benchmarks.speed.rounds import compare, measure
from lib.devices import cpu_has_bf16_units, resolve_device, resolve_precision
from lib.segmentation.metrics import PIXEL_COUNTS, pixel_counts, pixel_scores
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint, load_network
from lib.weights.openvino_models import load_openvino
from lib.weights.store import ModelStore

SIDE, LARGE_SIDE = 512, 4096
IMAGES = 4
ANSWERS = 9
SECONDS = 90.0
TOLERANCE = 0.002
STOCK, OURS = "stock (BasicInferTask)", "ours"
SLIDING = "stock (SlidingWindowInferer)"
CALLED = "ours, not recorded"
QUICK_SIDE, QUICK_SECONDS = 64, 6.0
OPENVINO, OPENVINO_BF16 = "OpenVINO, default", "OpenVINO, bf16"

Forward = Callable[[np.ndarray], np.ndarray]


def prepare(
    variant: str, threads: int, task: str, file: str, folder: str, device: str, side: int
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return a function that answers one image, and one that returns the masks of all images."""
    torch.set_num_threads(threads)
    target = torch.device(device)
    row, predictor = get_task(task), None
    if variant == STOCK and find_spec("monailabel"):
        forward = _stock(row, file, folder, target)
    elif variant == STOCK:
        forward = _plain(row, file, target)
    elif variant == SLIDING:
        forward = _plain(row, file, target, min(side, row.training.patch_sides(2)[0]))
    elif variant in (OPENVINO, OPENVINO_BF16):
        forward = _openvino(row, file, variant, threads)
    else:
        precision = FORCED.get(variant, "auto")
        predictor = Predictor.from_checkpoint(row, load_checkpoint(file), target, precision)
        if variant == CALLED:
            predictor.recorded = None
        forward = predictor.probabilities
    images = [prepared_image(side, SEED + index, task)[0] for index in range(IMAGES)]
    threshold = row.output.threshold

    def finish() -> dict[str, Any]:
        answers: dict[str, Any] = {
            "masks": [forward(image)[0] >= threshold for image in images],
            **(_whole_answers(predictor, side, target) if predictor else {}),
        }
        if variant in (OPENVINO, OPENVINO_BF16) or target.type == "cpu":
            return answers
        network = random_network(task).to(target)
        image = torch.from_numpy(images[0][np.newaxis]).to(target)
        flops = count_flops(lambda: network(image))
        dtype = resolve_precision(target, FORCED.get(variant, "auto"))
        return {**answers, **load_of(lambda: forward(images[0]), flops, target, dtype)}

    return lambda: forward(images[0]), finish


def run(
    runs: int,
    store: ModelStore,
    on_round: Callable[[], object],
    device: str | None = None,
    quick: bool = False,
    task: str = TASK,
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        device: by default the CPU.
        task: one for nuclei.
        quick: a tiny image and few rounds, to see that it runs.

    Raises:
        InputError: no such device, or a variant failed.
    """
    target, side = resolve_device(device or "cpu"), QUICK_SIDE if quick else SIDE
    variants = [STOCK, OURS, *forced_variants()]
    left_out = {}
    if target.type == "cuda":
        variants = [STOCK, SLIDING, OURS, CALLED]
    elif quick:
        variants = [STOCK, SLIDING, OURS]
    elif find_spec("openvino") is None:
        left_out["OpenVINO"] = "not installed"
    else:
        variants.append(OPENVINO)
        if cpu_has_bf16_units():
            variants.append(OPENVINO_BF16)
        else:
            left_out[OPENVINO_BF16] = "this CPU has no bf16 units"
    with tempfile.TemporaryDirectory() as folder:
        file, origin = weights(store, Path(folder), task)
        settings = {"threads": torch.get_num_threads(), "file": str(file), "folder": folder}
        settings |= {"device": str(target), "side": side, "task": task}
        seconds = QUICK_SECONDS if quick else SECONDS
        timed = measure(prepare, variants, settings, runs, seconds, on_round)
    masks = {name: times.result.pop("masks") for name, times in timed.items()}
    figures = compare(timed, STOCK)
    for name, scores in _agreement(masks, side).items():
        figures[name].update(scores)
    return {
        "what": f"inference of {task} on one {side}x{side} image, {device_name(target)}",
        "task": task,
        "device": target.type,
        "stock": "BasicInferTask" if find_spec("monailabel") else "the calls of BasicInferTask",
        "weights": origin,
        "ours_computes_in": precision_name(target),
        "unit": "ms",
        "tolerance_mean_iou": TOLERANCE,
        "images_compared": IMAGES,
        "left_out": left_out,
        "figures": figures,
    }


def _whole_answers(predictor: Predictor, side: int, device: torch.device) -> dict[str, Any]:
    """Return milliseconds of answers from image to numbered nuclei, by phase; medians.

    On CUDA also the seconds of a large image, which is answered in tiles.
    """
    seconds = [predictor(phantom(side, SEED + n % IMAGES)).seconds for n in range(ANSWERS)][2:]
    found: dict[str, Any] = {
        f"answer_{name}_ms": round(1000 * statistics.median(one[name] for one in seconds), 2)
        for name in ("pre", "infer", "post")
    }
    if device.type == "cpu":
        return found
    times = LARGE_SIDE // side
    prepared = np.tile(prepared_image(side, SEED, predictor.task.name)[0], (1, times, times))
    tile = [axis.side for axis in predictor.tiling(prepared.shape[1:])]
    found["tiles_at_once"] = predictor.at_once(tile)
    for _ in range(2):
        start = time.perf_counter()
        predictor.probabilities(prepared)
        found["large_image_s"] = round(time.perf_counter() - start, 3)
    return found


def _plain(task: TaskSpec, file: str, device: torch.device, window: int | None = None) -> Forward:
    """Return what BasicInferTask calls: no_grad, contiguous float32, and MONAI's inferer."""
    from monai.inferers import SimpleInferer, SlidingWindowInferer

    network = load_network(task, load_checkpoint(file)).to(device).eval()
    inferer = SlidingWindowInferer((window, window)) if window else SimpleInferer()

    def forward(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            answer = inferer(torch.from_numpy(image[np.newaxis]).to(device), network)
        return torch.sigmoid(answer)[0].cpu().numpy()

    return forward


def _stock(spec: TaskSpec, file: str, folder: str, device: torch.device) -> Forward:
    from monailabel.interfaces.tasks.infer_v2 import InferType
    from monailabel.tasks.infer.basic_infer import BasicInferTask

    network = load_network(spec, load_checkpoint(file))
    stored = Path(folder) / "stock.pt"  # it keeps its network for as long as its file is the same
    torch.save({"model": network.state_dict()}, stored)

    class Stock(BasicInferTask):
        """BasicInferTask with its defaults; what it leaves to subclasses is not called."""

        def pre_transforms(self, data: Any = None) -> list[Any]:
            return []

        def post_transforms(self, data: Any = None) -> list[Any]:
            return []

    task = Stock(str(stored), network, InferType.SEGMENTATION, {"nuclei": 1}, 2, spec.name)

    def forward(image: np.ndarray) -> np.ndarray:
        request = {"image": image, "device": str(device)}
        answer = task.run_inferer(request, device=str(device))["pred"]
        return torch.sigmoid(answer).cpu().numpy()

    return forward


def _openvino(task: TaskSpec, file: str, variant: str, threads: int) -> Forward:
    openvino = load_openvino()
    network = load_network(task, load_checkpoint(file))
    example = torch.zeros(1, task.network.in_channels, SIDE, SIDE)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, which OpenVINO does
        model = openvino.convert_model(
            torch.nn.Sequential(network, torch.nn.Sigmoid()).eval(), example_input=example
        )
    hints: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if variant == OPENVINO_BF16:
        hints["INFERENCE_PRECISION_HINT"] = "bf16"
    compiled = openvino.compile_model(model, "CPU", hints)
    return lambda image: compiled(image[np.newaxis])[0][0]


def _agreement(masks: dict[str, list[np.ndarray]], side: int) -> dict[str, dict[str, float]]:
    """Return each variant's mean IoU with the drawn nuclei, and with the stock float32 masks."""
    truths = [prepared_image(side, SEED + index)[1] for index in range(IMAGES)]
    reference = _mean_iou(masks[STOCK], truths)
    scores = {}
    for name, found in masks.items():
        mean_iou = _mean_iou(found, truths)
        scores[name] = {
            "mean_iou": round(mean_iou, 5),
            "mean_iou_minus_fp32": round(mean_iou - reference, 5),
            "mean_iou_with_fp32_masks": round(_mean_iou(found, masks[STOCK]), 5),
        }
    return scores


def _mean_iou(masks: list[np.ndarray], truths: list[np.ndarray]) -> float:
    counts = [pixel_counts(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
    pooled = {name: float(sum(case[name] for case in counts)) for name in PIXEL_COUNTS}
    return float(pixel_scores(pooled)["mean_iou"])
