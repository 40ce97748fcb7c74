"""Several runs at once, each in a process of its own: one that dies does not stop the others."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Job:
    """A call that a process can make: function and arguments can be pickled.

    Attributes:
        name: unique.
        after: names of the jobs that have to end first, whether they succeed or fail.
    """

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    after: frozenset[str] = frozenset()


def torch_job(
    name: str, at_once: int, call: Callable[..., Any], *args: Any, after: str = ""
) -> Job:
    """Return a job in which torch uses its share of the cores, one of `at_once`."""
    threads = max(1, (os.cpu_count() or 1) // at_once)
    return Job(name, _call_with_threads, (threads, call, args), frozenset({after} - {""}))


def _call_with_threads(threads: int, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(threads)
    call(*args)


def run_in_processes(
    jobs: Iterable[Job],
    at_once: int,
    on_end: Callable[[str, int], object],
    on_poll: Callable[[list[str]], object] = lambda names: None,
) -> None:
    """Run the jobs in their order, `at_once` at a time; jobs that have to wait let later ones pass.

    An interruption ends the running processes.

    Args:
        on_end: called with the name and the exit status of each, negative if a signal ended it.
        on_poll: called every few seconds with the names of the running jobs.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(jobs)
    running: dict[str, SpawnProcess] = {}
    try:
        while waiting or running:
            while len(running) < at_once and (job := _next(waiting, running)):
                waiting.remove(job)
                process = context.Process(target=job.call, args=job.args, daemon=True)
                process.start()
                running[job.name] = process
            ready = wait([process.sentinel for process in running.values()], POLL_SECONDS)
            for name, process in list(running.items()):
                if process.sentinel in ready:
                    process.join()
                    del running[name]
                    on_end(name, process.exitcode or 0)
            if not ready:
                on_poll(list(running))
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _next(waiting: Sequence[Job], running: Collection[str]) -> Job | None:
    """Return the first job that waits for no unfinished one."""
    unfinished = {job.name for job in waiting} | set(running)
    return next((job for job in waiting if not job.after & unfinished), None)
