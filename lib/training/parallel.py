"""Training in several processes: one per GPU (nccl), or several on a CPU (gloo)."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from lib.data.studies import Item
from lib.errors import DivergedError, InputError
from lib.files import write_atomically
from lib.processes import free_port
from lib.tasks.outside import load_given
from lib.tasks.spec import TaskSpec
from lib.training.batches import check_shares
from lib.training.loop import fit
from lib.training.options import FitOptions, FitResult


def backend(device: str | None = None) -> str:
    """Return the backend for `device` on this machine: nccl with GPUs, else gloo."""
    return "gloo" if device == "cpu" or not torch.cuda.is_available() else "nccl"


def launched_by_torchrun() -> bool:
    """Tell whether this process is one of several that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def fit_in_processes(
    task: TaskSpec, items: Sequence[Item], options: FitOptions, processes: int = 1
) -> FitResult:
    """Run `lib.training.loop.fit` in `processes` processes that share each batch.

    The result is that of the same call in one process, except for rounding.

    Raises:
        InputError: more processes than GPUs, or a batch they cannot share.
    """
    if processes < 1:
        raise InputError(f"processes must be at least 1, found {processes}")
    if processes == 1:
        return fit(task, items, options)
    check_shares(task.training.batch_size, processes)
    if backend(options.device) == "nccl" and processes > torch.cuda.device_count():
        raise InputError(
            f"{processes} processes asked for, {torch.cuda.device_count()} GPUs found; one process "
            f"runs per GPU"
        )
    result: FitResult = run_in_processes(
        fit, (task, list(items), options), processes, backend(options.device)
    )
    return result


def run_in_processes(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    processes: int,
    backend: str,
    **group: Any,
) -> Any:
    """Call `function` in processes that form a group, and return the result of the first of them.

    Args:
        group: options of the group, such as ``timeout``.

    Raises:
        InputError, DivergedError: as `function` raised it in one of the processes.
    """
    threads = max(1, torch.get_num_threads() // processes)
    with tempfile.TemporaryDirectory() as folder:
        result, failure = Path(folder, "result"), Path(folder, "failure")
        try:
            idist.spawn(  # `idist.Parallel` calls it too, and logs to standard error
                backend,
                _worker,
                (function, arguments, threads, result, failure),
                nproc_per_node=processes,
                master_addr="127.0.0.1",
                master_port=free_port(),  # the default is fixed, so that two runs would collide
                **group,
            )
        except ProcessRaisedException:  # which has the text of a traceback, not the error
            if failure.is_file():
                raise pickle.loads(failure.read_bytes()) from None
            raise
        return pickle.loads(result.read_bytes())


def _worker(
    local_rank: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    threads: int,
    result: Path,
    failure: Path,
) -> None:
    torch.set_num_threads(threads)
    load_given()
    try:
        found = function(*arguments)
    except (InputError, DivergedError) as error:
        write_atomically(failure, partial(pickle.dump, error))
        raise
    if local_rank == 0:
        result.write_bytes(pickle.dumps(found))
