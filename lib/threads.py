"""Work on several things at once, in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

BESIDE = 3  # images at once: one is read, one runs through the network, one is separated, written
MOST_BESIDE = 8  # with a GPU, where reading, separating and writing take longer than the network

Item = TypeVar("Item")


def images_beside(gpu: bool) -> int:
    """Return how many images to answer at once: with a GPU one for each core, up to a few."""
    if not gpu:
        return BESIDE
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(BESIDE, min(MOST_BESIDE, cores or 1))


def do_beside(work: Callable[[str], object], items: Iterable[str], beside: int) -> None:
    """Do `work` on every item, on so many at once, each in a thread; begin them in their order.

    The first error that `work` raises is raised, and no further item is begun.
    """
    with ThreadPoolExecutor(beside, thread_name_prefix="batch") as pool:
        begun: deque[Future[object]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) >= beside:  # no item is asked for before one is done
                    begun.popleft().result()
            while begun:
                begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield `items`, of which the next is made in a thread while one is used."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]
