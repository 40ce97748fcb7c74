"""What a training run may choose beside the recipe in the task's row, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lib.data.case import Figures, Prepared
from lib.tasks.training_spec import Compile
from lib.training.batches import CACHE_BYTES
from lib.weights.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a run may choose beside the recipe in the task's row.

    Attributes:
        out: folder of the run: state, best weights, history, TensorBoard.
        seed: of initial weights, order and augmentation.
        device: name of the device; None for the best there is.
        precision: "auto", "fp32", "bf16" or "fp16".
        init: weights to start from; None starts from random ones.
        resume: continue an interrupted run of the same task, data, recipe and seed in `out`.
        cache_bytes: memory budget for prepared cases.
        progress: show a bar, or lines, on standard error.
        tensorboard: write event files to `out`.
        command: how the run was started, for the record.
        validation_ids: ids of the cases to hold out; the others are trained on. None splits by the
            recipe's `val_split`.
        keep: which weights to keep: those that score ``best`` on the held-out cases, or those of
            the ``last`` validation, which were not selected on these cases.
        new_ids: ids of cases that `init` was not trained on; see `lib.training.replay`.
        compile: whether to compile the network on a GPU: "on", "off", or "auto" for long runs;
            see `lib.training.compiling`.
        on_validation: called after each validation with its step and figures.
        prepared: cases that earlier runs in this process prepared with the same input and target,
            by image file; this run adds its own. None prepares all anew.
        at_once: runs at the same time on one device, which share its memory.
    """

    out: Path
    seed: int = 0
    device: str | None = None
    precision: str = "auto"
    init: Checkpoint | None = None
    resume: bool = True
    cache_bytes: int = CACHE_BYTES
    progress: bool = True
    tensorboard: bool = True
    command: str = ""
    validation_ids: frozenset[str] | None = None
    keep: Literal["best", "last"] = "best"
    new_ids: frozenset[str] = frozenset()
    compile: Compile = "auto"
    on_validation: Callable[[int, Figures], object] | None = None
    prepared: Prepared | None = None
    at_once: int = 1


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a run.

    Attributes:
        weights: checkpoint with the best score on the held-out cases, or as `keep` says.
        metrics: figures of these weights on the held-out cases.
        initial_metrics: figures of the weights the run started from.
        history: one entry per validation: step, mean loss since the last, figures.
        steps: optimiser steps done.
        first_step: from which an interrupted run went on, else 0.
        stopped_early: whether patience ran out before the last step.
    """

    weights: Path
    metrics: dict[str, float]
    initial_metrics: dict[str, float]
    history: list[dict[str, float]]
    steps: int
    first_step: int
    stopped_early: bool
    training_ids: list[str] = field(default_factory=list)
    validation_ids: list[str] = field(default_factory=list)
