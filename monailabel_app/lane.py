"""A pool of threads with a short queue in front, for requests that are slow for one reason."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NoReturn, ParamSpec, TypeVar

from fastapi import HTTPException

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")


class Lane:
    """A pool of threads with a short queue in front.

    Args:
        name: in the names of its threads.
        threads: how many work at once.
        waiting: requests that may wait for one.
        patience: seconds that they wait at most.
        niceness: of the threads.
    """

    def __init__(
        self, name: str, threads: int, waiting: int, patience: float, niceness: int = 0
    ) -> None:
        self.name, self.limit, self.patience = name, threads + waiting, patience
        self._pool = ThreadPoolExecutor(threads, name, initializer=_lower, initargs=(niceness,))
        self._open = 0
        self._guard = threading.Lock()

    async def run(self, work: Callable[[], Value], admitted: bool = False) -> Value:
        """Return what `work` returns, called in a thread of this pool.

        Args:
            admitted: whether it is part of a request that is being answered: never refused.

        Raises:
            HTTPException: 503 with ``Retry-After``, there is no thread for it.
        """
        with self._guard:
            if self._open >= self.limit and not admitted:
                self._refuse()
            self._open += 1
        job = self._pool.submit(copy_context().run, work)
        job.add_done_callback(self._close)
        try:
            result = asyncio.wrap_future(job)
            await asyncio.wait({result}, timeout=None if admitted else self.patience)
            if not result.done() and job.cancel():
                self._refuse()
            return await result
        finally:
            job.cancel()

    def _close(self, job: Future[Any]) -> None:
        with self._guard:
            self._open -= 1

    def _refuse(self) -> NoReturn:
        raise HTTPException(
            503,
            f"the server is busy with {self.limit} requests of this kind ({self.name}); ask again "
            f"in some seconds",
            {"Retry-After": str(max(1, round(self.patience / 2)))},
        )

    def wrap(
        self, endpoint: Callable[Arguments, Value]
    ) -> Callable[Arguments, Coroutine[Any, Any, Value]]:
        """Return an endpoint that runs in a thread of this pool."""

        @functools.wraps(endpoint)
        async def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Value:
            return await self.run(functools.partial(endpoint, *arguments, **options))

        run.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
        return run


def _lower(niceness: int) -> None:
    """Give the calling thread, and those that it starts, a lower priority (Linux)."""
    if niceness and hasattr(os, "sched_getaffinity"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
