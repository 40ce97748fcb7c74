"""What computes a network's answers: torch, or OpenVINO on CPUs. Chosen here and nowhere else."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from lib.tasks.spec import TaskSpec
from lib.weights.backend_names import OPENVINO, TORCH, check_backend
from lib.weights.calibrated import calibrated_model
from lib.weights.checkpoint import Checkpoint
from lib.weights.openvino_models import (
    Forward,
    compiled,
    converted,
    is_for,
    is_installed,
    precision_hint,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """What computes the logits.

    Attributes:
        name: with the number format, such as "openvino int8".
        forward: computes them; None where the torch network does.
    """

    name: str = TORCH
    forward: Forward | None = None


def wants_openvino(backend: str, task: TaskSpec, device: torch.device) -> bool:
    """Tell whether OpenVINO is to answer; on CUDA, and for other kinds of networks, torch does."""
    check_backend(backend)
    if backend == TORCH or device.type != "cpu" or not is_for(task):
        return False
    return backend == OPENVINO or is_installed()


def openvino_backend(
    task: TaskSpec, checkpoint: Checkpoint, precision: str, dtype: torch.dtype, models: Path | None
) -> Backend:
    """Return the backend of OpenVINO, or that of torch, with a warning, where it cannot answer.

    Args:
        task: as the weights were trained.
        precision: the one asked for. With "auto" a model in int8 answers where one was calibrated
            for these weights.
        dtype: what `precision` is on this device.
        models: folder of models, which may hold calibrated ones; see `lib.weights.calibrated`.
    """
    if not is_installed():
        logger.warning(
            f"'{task.name}' is answered by torch: openvino is not installed; install "
            f"requirements-openvino.txt, or choose backend torch"
        )
        return Backend()
    try:
        found = calibrated_model(models, task, checkpoint) if precision == "auto" else None
        if found is not None:
            return Backend(f"{OPENVINO} int8", compiled(found, dtype))
        name = f"{OPENVINO} {precision_hint(dtype)}"
        return Backend(name, compiled(converted(task, checkpoint), dtype))
    except (RuntimeError, ImportError, OSError) as error:
        logger.warning(f"'{task.name}' is answered by torch: {error}")
        return Backend()
