"""Training in several processes: one per GPU (nccl), or several on a CPU (gloo)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import ignite.distributed as idist
import torch

from lib.datasets.studies import Item
from lib.errors import InputError
from lib.files import write_json
from lib.tasks import TaskSpec
from lib.training import FitOptions, FitResult, fit

RESULT = "result.json"


def backend() -> str:
    """Return the backend for this machine: nccl with GPUs, else gloo."""
    return "nccl" if torch.cuda.is_available() else "gloo"


def launched_by_torchrun() -> bool:
    """Tell whether this process is one of several that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def fit_in_processes(
    task: TaskSpec, items: Sequence[Item], options: FitOptions, processes: int = 1
) -> FitResult:
    """Run `lib.training.fit` in `processes` processes that share each batch.

    The result is that of the same call in one process, to rounding.

    Raises:
        InputError: more processes than GPUs, or a batch they cannot share.
    """
    if processes < 1:
        raise InputError(f"processes must be at least 1, found {processes}")
    if processes == 1:
        return fit(task, items, options)
    if task.training.batch_size % processes:
        raise InputError(
            f"batch_size {task.training.batch_size} cannot be shared by {processes} processes; "
            f"choose a multiple of {processes}"
        )
    if backend() == "nccl" and processes > torch.cuda.device_count():
        raise InputError(
            f"{processes} processes asked for, {torch.cuda.device_count()} GPUs found; one process "
            f"runs per GPU"
        )
    threads = max(1, torch.get_num_threads() // processes)
    with idist.Parallel(backend=backend(), nproc_per_node=processes) as parallel:
        parallel.run(_worker, task, list(items), options, threads)
    return read_result(options.out)


def _worker(
    local_rank: int, task: TaskSpec, items: Sequence[Item], options: FitOptions, threads: int
) -> None:
    torch.set_num_threads(threads)
    result = fit(task, items, replace(options, progress=options.progress and local_rank == 0))
    if idist.get_rank() == 0:
        write_result(options.out, result)


def write_result(folder: Path, result: FitResult) -> None:
    """Write a result's figures beside its weights."""
    write_json(folder / RESULT, {**asdict(result), "weights": result.weights.name})


def read_result(folder: Path) -> FitResult:
    """Read back what `write_result` wrote."""
    content = json.loads((folder / RESULT).read_text())
    return FitResult(**{**content, "weights": folder / content["weights"]})
