"""Cases in memory, and the batches of each training step."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from torch.utils.data import Dataset

from lib.data.case import Batch, Case, Prepared
from lib.data.studies import Item
from lib.errors import InputError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.replay import cases_of_pass

CACHE_BYTES = 2 * 2**30


class PreparedCases(Dataset[Case]):
    """Cases prepared as the task's spec says, and kept in memory within a budget.

    A case begins with image and target. In segmentation these are float16 `(channels, *spatial)`
    in 0..1 and `(maps, *spatial)` as `lib.data.targets.make_target` returns it. A case that does
    not fit the budget is read again each time.

    Attributes:
        largest: the longest side along each axis of the network, of the cases read so far; empty
            before the first.

    Args:
        items: labelled items.
        cache_bytes: memory budget for all cases together.
        prepared: cases prepared before with the same input and target, by the files of image and
            label; the cases read here are added, within the budget.
    """

    def __init__(
        self,
        items: Sequence[Item],
        task: TaskSpec,
        cache_bytes: int = CACHE_BYTES,
        prepared: Prepared | None = None,
    ) -> None:
        self.items = list(items)
        self.task = task
        self.largest: tuple[int, ...] = ()
        self._cache: Prepared = {} if prepared is None else prepared
        self._bytes_left = cache_bytes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Case:
        """Return the prepared case; an unreadable file raises `InputError` that names it."""
        item = self.items[index]
        files = item.image, item.label
        cached = self._cache.get(files)
        case = cached or kind_of(self.task).cases.load(item, self.task)
        sides = case[0].shape[-self.task.network.spatial_dims :]
        self.largest = tuple(np.maximum(sides, self.largest or sides).tolist())
        size = sum(array.nbytes for array in case)
        if cached is None and size <= self._bytes_left:
            self._bytes_left -= size
            self._cache[files] = case
        return case

    def read_all(self) -> None:
        """Read every file once, so that a damaged one is found before the first step."""
        for index in range(len(self)):
            self[index]


class StepBatches(Dataset[Batch]):
    """The batch of a step, as a function of seed and step alone.

    Entry `step` holds this process's share of the step's global batch. In segmentation these are
    patches and targets, float32, `(batch_size / world_size, channels, *patch)`. A patch is no
    larger than the largest case read before, as anything beyond would be mirrored. Any number of
    processes sees the same patches, and a resumed run continues with the patches that come next.

    Args:
        new_ids: ids of cases that are drawn more often; see `lib.training.replay`.
    """

    def __init__(
        self,
        cases: PreparedCases,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        new_ids: frozenset[str] = frozenset(),
    ) -> None:
        batch_size = cases.task.training.batch_size
        check_shares(batch_size, world_size)
        self.cases, self.seed, self.new_ids = cases, seed, new_ids
        self._functions, self.batch_size = kind_of(cases.task).cases, batch_size
        self.task = self._functions.fitted(cases.task, cases.largest)
        share = batch_size // world_size
        self.positions = range(rank * share, (rank + 1) * share)  # in the global batch
        self._order = lru_cache(maxsize=4)(self._shuffled)

    @property
    def patch(self) -> tuple[int, ...]:
        """Sides of the patches, for tasks that are trained on patches."""
        return self.task.training.patch_sides(self.task.network.spatial_dims)

    def __getitem__(self, step: int) -> Batch:
        cases = [self._draw(step * self.batch_size + position) for position in self.positions]
        return tuple(torch.from_numpy(np.stack(arrays)) for arrays in zip(*cases, strict=True))

    def _draw(self, position: int) -> Case:
        """Draw the case at `position` of the endless shuffled sequence of cases."""
        epoch, rank = divmod(position, len(self._order(0)))
        case = self.cases[int(self._order(epoch)[rank])]
        rng = np.random.default_rng((self.seed, 1, position))
        return self._functions.draw(case, self.task, rng)

    def _shuffled(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 0, epoch))
        items = self.cases.items
        indices = cases_of_pass(items, self.new_ids, rng)
        drawn = [items[index] for index in indices]
        order = indices[self._functions.order(drawn, self.cases.task, rng)]
        # passes over different cases may fill different numbers of batches; all get the first's
        return np.resize(order, len(self._order(0))) if epoch else order


def check_shares(batch_size: int, processes: int) -> None:
    """Raise `InputError` if `processes` cannot share a batch equally."""
    if batch_size % processes:
        raise InputError(
            f"batch_size {batch_size} cannot be shared by {processes} processes; choose a multiple "
            f"of {processes}"
        )


def loading_threads() -> int:
    """Return how many threads may prepare batches: a quarter of this process's cores, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, max(1, (cores or 1) // 4))


def prefetch(
    batches: StepBatches, steps: Iterable[int], threads: int = 1
) -> Generator[Batch, None, None]:
    """Yield the batches of `steps` in order; `threads` prepare the next ones meanwhile.

    Torch's DataLoader would start processes, each with a copy of the cases. An error while a batch
    is prepared is raised here.
    """
    remaining = iter(steps)
    ahead = 2 * threads
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="batches") as pool:
        waiting = deque(pool.submit(batches.__getitem__, step) for step in islice(remaining, ahead))
        try:
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(
                    pool.submit(batches.__getitem__, step) for step in islice(remaining, 1)
                )
                yield batch
        finally:
            for future in waiting:
                future.cancel()
