"""From prepared image to probabilities: MONAI Label's BasicInferTask's way, ours, and OpenVINO.

Stock is `BasicInferTask.run_inferer` itself (no_grad, contiguous float32, SimpleInferer) and a
sigmoid. Ours is `lib.segmentation.predictor.Predictor.probabilities`, what the server answers with.
OpenVINO is an optional package that the product does not use; it is here as a yardstick.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.fixtures import (
    FORCED,
    SEED,
    TASK,
    forced_variants,
    precision_name,
    prepared_image,
    weights,
)
from benchmarks.speed.rounds import compare, measure
from lib.devices import cpu_has_bf16_units
from lib.segmentation.metrics import PIXEL_COUNTS, pixel_counts, pixel_scores
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint, load_network
from lib.weights.store import ModelStore

SIDE = 512
IMAGES = 4
SECONDS = 90.0
TOLERANCE = 0.002
STOCK, OURS = "stock (BasicInferTask)", "ours"
OPENVINO, OPENVINO_BF16 = "OpenVINO, default", "OpenVINO, bf16"

Forward = Callable[[np.ndarray], np.ndarray]


def prepare(
    variant: str, threads: int, file: str, folder: str
) -> tuple[Callable[[], object], Callable[[], list[np.ndarray]]]:
    """Return a function that answers one image, and one that returns the masks of all images."""
    torch.set_num_threads(threads)
    if variant == STOCK:
        forward = _stock(file, folder)
    elif variant in (OPENVINO, OPENVINO_BF16):
        forward = _openvino(file, variant, threads)
    else:
        precision = FORCED.get(variant, "auto")
        predictor = Predictor.from_checkpoint(
            get_task(TASK), load_checkpoint(file), "cpu", precision
        )
        forward = predictor.probabilities
    images = [prepared_image(SIDE, SEED + index)[0] for index in range(IMAGES)]
    threshold = get_task(TASK).output.threshold
    return lambda: forward(images[0]), lambda: [forward(image)[0] >= threshold for image in images]


def run(runs: int, store: ModelStore, on_round: Callable[[], object]) -> dict[str, Any]:
    """Measure, and return settings and figures."""
    variants = [STOCK, OURS, *forced_variants()]
    left_out = {}
    if find_spec("openvino") is None:
        left_out["OpenVINO"] = "not installed"
    else:
        variants.append(OPENVINO)
        if cpu_has_bf16_units():
            variants.append(OPENVINO_BF16)
        else:
            left_out[OPENVINO_BF16] = "this CPU has no bf16 units"
    with tempfile.TemporaryDirectory() as folder:
        file, origin = weights(store, Path(folder))
        settings = {"threads": torch.get_num_threads(), "file": str(file), "folder": folder}
        timed = measure(prepare, variants, settings, runs, SECONDS, on_round)
    figures = compare(timed, STOCK)
    for name, scores in _agreement({name: times.result for name, times in timed.items()}).items():
        figures[name].update(scores)
    return {
        "what": f"inference of {TASK} on one {SIDE}x{SIDE} image, CPU",
        "task": TASK,
        "weights": origin,
        "ours_computes_in": precision_name(),
        "unit": "ms",
        "tolerance_mean_iou": TOLERANCE,
        "images_compared": IMAGES,
        "left_out": left_out,
        "figures": figures,
    }


def _stock(file: str, folder: str) -> Forward:
    from monailabel.interfaces.tasks.infer_v2 import InferType
    from monailabel.tasks.infer.basic_infer import BasicInferTask

    network = load_network(get_task(TASK), load_checkpoint(file))
    stored = Path(folder) / "stock.pt"  # it keeps its network for as long as its file is the same
    torch.save({"model": network.state_dict()}, stored)

    class Stock(BasicInferTask):
        """BasicInferTask with its defaults; what it leaves to subclasses is not called."""

        def pre_transforms(self, data: Any = None) -> list[Any]:
            return []

        def post_transforms(self, data: Any = None) -> list[Any]:
            return []

    task = Stock(str(stored), network, InferType.SEGMENTATION, {"nuclei": 1}, 2, TASK)

    def forward(image: np.ndarray) -> np.ndarray:
        answer = task.run_inferer({"image": image, "device": "cpu"}, device="cpu")["pred"]
        return torch.sigmoid(answer).numpy()

    return forward


def _openvino(file: str, variant: str, threads: int) -> Forward:
    import openvino

    network = load_network(get_task(TASK), load_checkpoint(file))
    example = torch.zeros(1, 1, SIDE, SIDE)
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


def _agreement(masks: dict[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Return each variant's mean IoU with the drawn nuclei, and with the stock float32 masks."""
    truths = [prepared_image(SIDE, SEED + index)[1] for index in range(IMAGES)]
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
