"""Several runs at once, each in a process of its own, so that one that dies takes none with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Work:
    """A call that a process can make: the function and its arguments can be pickled.

    Attributes:
        name: of this call alone.
        after: names of those that have to end before, in whatever way.
    """

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    after: frozenset[str] = frozenset()


def run_in_processes(
    work: Iterable[Work],
    at_once: int,
    on_end: Callable[[str, int], object],
    on_poll: Callable[[list[str]], object] = lambda names: None,
) -> None:
    """Make the calls in their order, `at_once` at a time, past those that wait for others.

    An interruption ends the processes that run.

    Args:
        on_end: called with the name and the exit status of each, negative if a signal ended it.
        on_poll: called every few seconds with the names that run.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(work)
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


def _next(waiting: Sequence[Work], running: Collection[str]) -> Work | None:
    """Return the first that waits for none that is still to end."""
    unfinished = {job.name for job in waiting} | set(running)
    return next((job for job in waiting if not job.after & unfinished), None)
