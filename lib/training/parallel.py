"""Training in several processes: one per GPU (nccl), or several on a CPU (gloo)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from lib.data.studies import Item
from lib.errors import DivergedError, InputError
from lib.files import write_json
from lib.processes import free_port
from lib.tasks.spec import TaskSpec
from lib.training.batches import check_shares
from lib.training.loop import fit
from lib.training.options import FitOptions, FitResult

RESULT = "result.json"
FAILURE = "failure.json"


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
    threads = max(1, torch.get_num_threads() // processes)
    options.out.mkdir(parents=True, exist_ok=True)
    run_in_processes(
        _worker,
        (task, list(items), options, threads),
        processes,
        backend(options.device),
        options.out / FAILURE,
    )
    result = json.loads((options.out / RESULT).read_text())
    return FitResult(**{**result, "weights": options.out / result["weights"]})


def run_in_processes(
    worker: Callable[..., None],
    arguments: tuple[Any, ...],
    processes: int,
    backend: str,
    failure: Path,
    **group: Any,
) -> None:
    """Call `worker` with its rank and `arguments` in `processes` processes that form a group.

    Args:
        failure: file in which a worker records its error; see `recording_errors`.
        group: options of the group, such as ``timeout``.

    Raises:
        InputError, DivergedError: what a worker recorded.
    """
    failure.unlink(missing_ok=True)
    try:
        idist.spawn(  # `idist.Parallel` calls it too, and logs to standard error
            backend,
            worker,
            arguments,
            nproc_per_node=processes,
            master_addr="127.0.0.1",
            master_port=free_port(),  # the default is fixed, so that two runs would collide
            **group,
        )
    except ProcessRaisedException:  # which has the text of a traceback, not the error
        if failure.is_file():
            raise _error(json.loads(failure.read_text())) from None
        raise


@contextmanager
def recording_errors(file: Path) -> Iterator[None]:
    """Write an error of the body to `file`, for the process that waits for this one."""
    try:
        yield
    except (InputError, DivergedError) as error:
        write_json(file, {"kind": type(error).__name__, "message": str(error)})
        raise


def _worker(
    local_rank: int, task: TaskSpec, items: Sequence[Item], options: FitOptions, threads: int
) -> None:
    torch.set_num_threads(threads)
    with recording_errors(options.out / FAILURE):
        result = fit(task, items, replace(options, progress=options.progress and local_rank == 0))
    if idist.get_rank() == 0:
        write_json(options.out / RESULT, {**asdict(result), "weights": result.weights.name})


def _error(failure: dict[str, str]) -> Exception:
    """Return the error that a worker recorded."""
    kind = DivergedError if failure["kind"] == DivergedError.__name__ else InputError
    return kind(failure["message"])
