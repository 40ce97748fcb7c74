"""Several runs at once, each in a process of its own: one that dies does not stop the others."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any, NoReturn

POLL_SECONDS = 5.0
END_SECONDS = 10.0  # for a call that is to end
CORES, MOST_AT_ONCE = 4, 4  # cores of a run, and runs at once, where no number is asked for


@dataclass(frozen=True)
class Job:
    """A call that a process can make: function and arguments can be pickled.

    Attributes:
        name: unique.
        after: names of the jobs that have to end first, whether they succeed or fail.
        late: returns further arguments when the job is about to start; None for none.
    """

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    after: frozenset[str] = frozenset()
    late: Callable[[], tuple[Any, ...]] | None = None


def choose_at_once() -> int:
    """Return how many trainings to run at once where nobody asked: one for every four cores.

    A training on a GPU has a core for its steps and some for its batches, one on a CPU computes
    with all that it gets; beyond `MOST_AT_ONCE` memory may be lacking.
    """
    return max(1, min(MOST_AT_ONCE, _cores() // CORES))


def torch_job(
    name: str,
    at_once: int,
    call: Callable[..., Any],
    *args: Any,
    after: str = "",
    late: Callable[[], tuple[Any, ...]] | None = None,
) -> Job:
    """Return a job in which torch uses its share of the cores, one of `at_once`."""
    threads = max(1, _cores() // at_once)
    return Job(name, _call_with_threads, (threads, call, *args), frozenset({after} - {""}), late)


def _call_with_threads(threads: int, call: Callable[..., Any], *args: Any) -> None:
    import torch

    from lib.tasks.outside import load_given

    torch.set_num_threads(threads)
    load_given()  # kinds and losses of own tasks
    call(*args)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_processes(
    jobs: Iterable[Job],
    at_once: int,
    on_end: Callable[[str, int], object],
    on_poll: Callable[[list[str]], object] = lambda names: None,
) -> None:
    """Run the jobs in their order, `at_once` at a time; jobs that have to wait let later ones pass.

    An interruption ends the running processes, and so does whatever ends this one.

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
                args = (job.call, *job.args, *(job.late() if job.late else ()))
                process = context.Process(target=_call_for_parent, args=args, daemon=True)
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
            process.join(END_SECONDS)
            process.kill()
            process.join()


def _call_for_parent(call: Callable[..., Any], *args: Any) -> None:
    """Make a call for the process that started this one, and end with it."""
    signal.signal(signal.SIGTERM, _end)  # so that what the call began is put in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        call(*args)
    except KeyboardInterrupt:  # whoever interrupted knows
        sys.exit(1)


def _end(*_: object) -> NoReturn:
    sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _thread.interrupt_main(signal.SIGTERM)
    threading.Event().wait(END_SECONDS)
    os._exit(1)


def _next(waiting: Sequence[Job], running: Collection[str]) -> Job | None:
    """Return the first job that waits for no unfinished one."""
    unfinished = {job.name for job in waiting} | set(running)
    return next((job for job in waiting if not job.after & unfinished), None)
