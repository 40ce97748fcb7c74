"""Weights from elsewhere are accepted only if they are whole, of the task, finite, and answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib.errors import InputError
from lib.kinds import kind_of
from lib.networks import build_network
from lib.tasks.network_spec import ClassifierSpec
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_checkpoint, load_network
from lib.weights.runner import NetworkRunner
from lib.weights.store import ModelStore
from lib.weights.versions import SHIPPED

BESIDE_WEIGHTS = 16 * 2**20  # bytes of a file for what is no weight
SIDES = {2: 32, 3: 16}  # pixels, or voxels, of a phantom's side, by the number of its axes
LONGEST_INPUT = 4096  # pixels that a side is scaled to
_FACTS = ("name", "kind", "labels")  # of the row, that weights must have in common with it


def largest_file(task: TaskSpec) -> int:
    """Return the bytes that a file of weights of `task` may have."""
    with torch.device("meta"):
        network = build_network(task.network)
    return BESIDE_WEIGHTS + sum(4 * value.numel() for value in network.state_dict().values())


def check_size(name: str, size: int, task: TaskSpec) -> None:
    """Refuse a file that is larger than weights of `task` can be.

    Raises:
        InputError: with both sizes.
    """
    if size > (most := largest_file(task)):
        raise InputError(
            f"{name}: {size / 1e6:.1f} MB, but weights of '{task.name}' have at most "
            f"{most / 1e6:.1f} MB; send a checkpoint of this task"
        )


def accept_weights(file: Path, task: TaskSpec) -> Checkpoint:
    """Return the checkpoint in `file` if it can be served for `task`.

    Raises:
        InputError: it is too large, damaged, of another task or network, has figures or weights
            that are not finite, or cannot answer.
    """
    check_size(file.name, file.stat().st_size, task)
    checkpoint = load_checkpoint(file)
    _check_row(file.name, checkpoint, task)
    check_figures(file.name, checkpoint.metrics)
    for name, weights in checkpoint.weights.items():
        if not weights.is_floating_point() and weights.dtype != torch.int64:
            raise InputError(f"{file.name}: '{name}' is {weights.dtype}, expected real numbers")
        if not bool(torch.isfinite(weights).all()):
            raise InputError(f"{file.name}: '{name}' has weights that are not finite; train again")
    _check_answer(file.name, checkpoint, task)
    return checkpoint


def check_version(store: ModelStore, task: TaskSpec, version: str) -> None:
    """Refuse to serve a version again whose file was damaged; the shipped one is the app's own.

    Raises:
        InputError: it cannot be read, or is of another network.
    """
    for one in store.versions(task.name):
        if one.id == version != SHIPPED:
            load_network(task, load_checkpoint(one.path))


def check_figures(name: str, metrics: Mapping[str, Any]) -> None:
    """Refuse figures that are no finite numbers.

    Raises:
        InputError: with the first such figure.
    """
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
            raise InputError(
                f"{name}: the figure '{key[:40]}' is {str(value)[:40]}, expected a finite number"
            )


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of any length
        return False


def _check_row(name: str, checkpoint: Checkpoint, task: TaskSpec) -> None:
    """Refuse weights that were trained for another row."""
    if checkpoint.task != task.name:
        raise InputError(
            f"{name}: weights of task '{checkpoint.task[:60]}', expected '{task.name}'; send them "
            f"to the task that they were trained for"
        )
    expected = task.as_dict()
    for key in _FACTS:
        if checkpoint.spec.get(key) != expected[key]:
            raise InputError(
                f"{name}: trained with {key} {str(checkpoint.spec.get(key))[:80]}, but task "
                f"'{task.name}' has {expected[key]}; train weights for this row"
            )


def _check_answer(name: str, checkpoint: Checkpoint, task: TaskSpec) -> None:
    """Run the network on noise of the task's shape, as it would be served on the CPU."""
    try:
        runner = kind_of(task).predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
        _check_input(name, runner)
        answer, expected = _run(runner)
    except InputError:
        raise
    except Exception as error:  # what else the checkpoint stores may be anything
        raise InputError(
            f"{name}: no network of '{task.name}' can be made of it ({type(error).__name__}: "
            f"{str(error)[:100]}); send weights that this app trained"
        ) from None
    if tuple(answer.shape) != expected or not bool(torch.isfinite(answer).all()):
        raise InputError(
            f"{name}: the network does not answer with {expected} finite values on a phantom; the "
            f"weights are damaged, or diverged in training"
        )


def _check_input(name: str, runner: NetworkRunner) -> None:
    """Refuse weights that would have images scaled to a size that no network is trained on."""
    size = runner.task.input.size
    sides = (size,) if isinstance(size, int) else tuple(size)
    if not all(isinstance(side, int) and 0 <= side <= LONGEST_INPUT for side in sides):
        raise InputError(
            f"{name}: trained on images of size {str(size)[:60]}, expected at most {LONGEST_INPUT}"
        )


def _run(runner: NetworkRunner) -> tuple[Tensor, tuple[int, ...]]:
    """Return the logits of seeded noise, and the shape that they must have."""
    spec, noise = runner.task.network, torch.Generator().manual_seed(0)
    network = runner.network
    with torch.inference_mode():
        if not isinstance(spec, ClassifierSpec):
            side = spec.input_size(SIDES[spec.spatial_dims])
            sides = (side,) * spec.spatial_dims
            answered = (spec.output_size(side) or 0,) * spec.spatial_dims
            images = torch.rand(1, spec.in_channels, *sides, generator=noise)
            return network(images), (1, spec.out_channels, *answered)
        views = torch.arange(len(spec.views) or 1)
        images = torch.rand(len(views), spec.in_channels, 64, 64, generator=noise)
        return network(images, views), (len(views), spec.out_channels)
