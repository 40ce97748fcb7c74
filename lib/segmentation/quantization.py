"""Post-training quantisation to int8, kept only where the figures stay what they were."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.data.studies import Item, fingerprint_of, read_item, split_items
from lib.errors import InputError
from lib.segmentation.evaluation import evaluate
from lib.segmentation.predictor import Predictor
from lib.tasks.spec import TaskSpec
from lib.weights.backends import Backend
from lib.weights.calibrated import calibrated_folder, keep_calibrated
from lib.weights.checkpoint import Checkpoint, utc_now
from lib.weights.openvino_models import (
    Forward,
    compiled,
    converted,
    is_for,
    is_installed,
    load_openvino,
)

LOSS = 0.002  # of a figure, that is allowed
FIGURES = ("mean_iou", "ap50", "ap")
WINDOWS = 256  # inputs of the network that it is calibrated on
OF_AN_IMAGE = 2  # of them, at most


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """What became of a network in int8.

    Attributes:
        kept: whether it answers from now on where "auto" may choose.
        figures: of torch in float32 and of int8, by name, on the held-out images.
        seconds: that both took for those images.
        calibrated, measured: numbers of windows, and of images.
    """

    kept: bool
    figures: dict[str, tuple[float, float]]
    seconds: tuple[float, float]
    calibrated: int
    measured: int


def quantize(
    task: TaskSpec,
    checkpoint: Checkpoint,
    items: Sequence[Item],
    models: Path,
    on_case: Callable[[Item], object] | None = None,
) -> Quantized:
    """Calibrate the network in int8 on training images, and measure it on those held out.

    It is kept in `models`, with its figures, if none of `FIGURES` is more than `LOSS` below that of
    torch in float32; otherwise nothing changes.

    Args:
        items: labelled; a part is held out as in training.

    Raises:
        InputError: a package is missing, the task has another kind of network, or there are too few
            images.
    """
    if not is_installed() or find_spec("nncf") is None:
        raise InputError(
            "quantising needs openvino and nncf, which are not installed; "
            "pip install -r requirements-openvino.txt"
        )
    if not is_for(task):
        raise InputError(
            f"'{task.name}' cannot be quantised: its network takes more than an image; choose a "
            f"task of segmentation without clicks"
        )
    training, held_out = split_items(items, task.training.val_split)
    model = converted(task, checkpoint)
    windows = _windows(task, checkpoint, training, compiled(model, torch.float32))
    quantized = _quantized(model, windows)

    reports = []
    for backend in (Backend(), Backend("openvino int8", compiled(quantized, torch.bfloat16))):
        predictor = Predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
        predictor.backend = backend
        reports.append(evaluate(predictor, held_out, on_case=on_case))
    before, after = (report.pooled for report in reports)
    figures = {name: (before[name], after[name]) for name in FIGURES if name in before}
    seconds = [sum(row["seconds"] for row in report.images) for report in reports]
    result = Quantized(
        kept=all(found >= wanted - LOSS for wanted, found in figures.values()),
        figures=figures,
        seconds=(seconds[0], seconds[1]),
        calibrated=len(windows),
        measured=len(held_out),
    )
    if result.kept:
        about = {
            "task": task.name,
            "time": utc_now(),
            "data": fingerprint_of(items),
            "versions": {name: version(name) for name in ("openvino", "nncf", "torch")},
        }
        folder = calibrated_folder(models, task, checkpoint)
        keep_calibrated(folder, quantized, {**about, **vars(result)})
    return result


def _windows(
    task: TaskSpec,
    checkpoint: Checkpoint,
    items: Sequence[Item],
    forward: Forward,
) -> list[np.ndarray]:
    """Return inputs that the network gets when images are answered, evenly chosen."""
    seen: list[np.ndarray] = []

    def watched(window: Tensor) -> tuple[Tensor, Tensor | None]:
        if len(seen) < most:
            seen.append(window.numpy().copy())
        return forward(window)

    predictor = Predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    predictor.backend = Backend("watched", watched)
    step = max(1, len(items) * 2 // WINDOWS)
    for item in items[::step]:
        most = min(WINDOWS, len(seen) + OF_AN_IMAGE)
        predictor(read_item(item, task), instances=False)
    return seen


def _quantized(model: Any, windows: Sequence[np.ndarray]) -> Any:
    """Return an `openvino.Model` in int8 of one in float32."""
    load_openvino()  # before nncf, which would tell its maker too
    import nncf

    logging.getLogger("nncf").setLevel(
        logging.ERROR
    )  # not its handlers: others may have added some
    return nncf.quantize(
        model,
        nncf.Dataset(list(windows)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(windows),
    )
