"""Cases in memory, and the batches of each training step."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from lib.data.case import Batch, Case
from lib.data.studies import Item
from lib.errors import InputError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.replay import Pass, cases_of_pass

CACHE_BYTES = 2 * 2**30


class PreparedCases(Dataset[Case]):
    """Cases prepared by the task's spec and kept in memory within a budget.

    An entry begins with image and target: of segmentation float16 `(channels, *spatial)` in 0..1
    and `(maps, *spatial)` as `lib.data.targets.make_target` returns it. What does not fit
    the budget is read again each time.

    Attributes:
        largest: the longest side seen so far along each axis of the network; empty at first.

    Args:
        items: labelled items.
        cache_bytes: memory budget for all entries together.
        known: cases prepared before by the same input and target, by image file; what is read
            here is added, within the budget.
    """

    def __init__(
        self,
        items: Sequence[Item],
        task: TaskSpec,
        cache_bytes: int = CACHE_BYTES,
        known: dict[Path, Case] | None = None,
    ) -> None:
        self.items = list(items)
        self.task = task
        self.largest: tuple[int, ...] = ()
        self._cache: dict[Path, Case] = {} if known is None else known
        self._room = cache_bytes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Case:
        """Return the prepared case; unreadable files raise `InputError` naming the file."""
        file = self.items[index].image
        case = self._cache.get(file)
        known = case is not None
        if case is None:
            case = kind_of(self.task).cases.load(self.items[index], self.task)
        sides = case[0].shape[-self.task.network.spatial_dims :]
        self.largest = tuple(np.maximum(sides, self.largest or sides).tolist())
        size = sum(part.nbytes for part in case)
        if not known and size <= self._room:
            self._room -= size
            self._cache[file] = case
        return case


class StepBatches(Dataset[Batch]):
    """The batch of a step, as a function of seed and step alone.

    Entry `step` holds this process's share of the step's global batch: of segmentation patches and
    targets, float32, `(batch_size / world_size, channels, *patch)`; the patch is no larger than the
    largest case that was read before, as what lies beyond would be mirrored. Any number of
    processes sees the same patches, and a resumed run continues with the ones that come next.

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
        recipe = cases.task.training
        if recipe.batch_size % world_size:
            raise InputError(
                f"batch_size {recipe.batch_size} cannot be shared by {world_size} processes; "
                f"choose a multiple of {world_size}"
            )
        self.cases, self.seed, self.new_ids = cases, seed, new_ids
        self._functions, self.batch_size = kind_of(cases.task).cases, recipe.batch_size
        self.task = self._functions.fitted(cases.task, cases.largest)
        share = recipe.batch_size // world_size
        self.places = range(rank * share, (rank + 1) * share)
        self._order = lru_cache(maxsize=4)(self._shuffled)

    @property
    def patch(self) -> tuple[int, ...]:
        """Sides of the patches, of tasks that are trained on patches."""
        return self.task.training.patch_sides(self.task.network.spatial_dims)

    def __getitem__(self, step: int) -> Batch:
        drawn = [self._draw(step * self.batch_size + place) for place in self.places]
        return tuple(torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))

    def _draw(self, position: int) -> Case:
        """Draw the case at `position` of the endless shuffled sequence of cases."""
        epoch, place = divmod(position, len(self._order(0)))
        case = self.cases[int(self._order(epoch)[place])]
        rng = np.random.default_rng((self.seed, 1, position))
        return self._functions.draw(case, self.task, rng)

    def _shuffled(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 0, epoch))
        items = self.cases.items
        numbers = cases_of_pass(items, self.new_ids, rng)
        drawn = Pass(self.cases.task, [items[number] for number in numbers])
        order = numbers[self._functions.order(drawn, rng)]
        # passes of different cases may fill different numbers of batches; all have the first's
        return np.resize(order, len(self._order(0))) if epoch else order


def loading_threads() -> int:
    """Return how many threads may prepare batches: a quarter of this process's cores, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, max(1, (cores or 1) // 4))


def prefetch(
    batches: StepBatches, steps: Iterable[int], threads: int = 1
) -> Generator[Batch, None, None]:
    """Yield the batches of `steps` in order, preparing those to come in `threads`.

    An error in preparing one is raised here.
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
