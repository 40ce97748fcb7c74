"""Cases in memory, and the batches of each training step, drawn on the training device."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import islice

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import Dataset

from lib.data.case import Batch, Case, HeldCase, Prepared
from lib.data.studies import Item
from lib.errors import InputError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.replay import cases_of_pass

CACHE_BYTES = 2 * 2**30
RESIDENT_SHARE = 0.5  # of the free memory of a training device, for cases
CPU = torch.device("cpu")


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
        self._own = prepared is None
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

    def keeps(self, index: int) -> bool:
        """Tell whether a case is in memory, so that it is not read again."""
        item = self.items[index]
        return (item.image, item.label) in self._cache

    def release(self, index: int) -> None:
        """Give up a case that no other run uses: it is read again if it is asked for again."""
        item = self.items[index]
        if self._own and (case := self._cache.pop((item.image, item.label), None)):
            self._bytes_left += sum(array.nbytes for array in case)

    def read_all(self) -> None:
        """Read every file once, so that a damaged one is found before the first step."""
        for index in range(len(self)):
            self[index]


class HeldCases:
    """Cases held for drawing on a device, on it as far as its memory allows.

    Args:
        budget: bytes on a device other than the CPU; None takes `RESIDENT_SHARE` of what is free.
            Cases beyond stay in this machine's memory, and their patches are sent one by one.
        at_once: runs that share the device, and what is free on it.
    """

    def __init__(
        self,
        cases: PreparedCases,
        device: torch.device = CPU,
        budget: int | None = None,
        at_once: int = 1,
    ) -> None:
        self.cases, self.device = cases, device
        if budget is None and device.type == "cuda":
            budget = int(torch.cuda.mem_get_info(device)[0] * RESIDENT_SHARE / at_once)
        self._bytes_left = budget or 0
        self._held: dict[int, HeldCase] = {}
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> HeldCase:
        """Return a case; an unreadable file raises `InputError` that names it."""
        if held := self._held.get(index):
            return held
        case = self.cases[index]
        size = sum(part.nbytes for part in case)
        with self._lock:
            resident = self.device.type != "cpu" and size <= self._bytes_left
            if held := self._held.get(index):
                return held
            held = HeldCase.of(case, self.device, resident)
            if resident:
                self._bytes_left -= size
                self.cases.release(index)  # not held twice
            if resident or self.cases.keeps(index):
                self._held[index] = held
        return held


class StepBatches(Dataset[Batch]):
    """The batch of a step, as a function of seed and step alone.

    Entry `step` holds this process's share of the step's global batch. In segmentation these are
    patches and targets, float32, `(batch_size / world_size, channels, *patch)`. A patch is no
    larger than the largest case read before, as anything beyond would be mirrored. Any number of
    processes sees the same patches, and a resumed run continues with the patches that come next.

    Args:
        new_ids: ids of cases that are drawn more often; see `lib.training.replay`.
        device: where batches are drawn.
        at_once: runs that share the device.
    """

    def __init__(
        self,
        cases: PreparedCases,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        new_ids: frozenset[str] = frozenset(),
        device: torch.device = CPU,
        at_once: int = 1,
    ) -> None:
        batch_size = cases.task.training.batch_size
        check_shares(batch_size, world_size)
        self.cases, self.seed, self.new_ids = cases, seed, new_ids
        self.held, self.device = HeldCases(cases, device, at_once=at_once), device
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
        """Return the batch on `device`; each of its cases is drawn as its position says."""
        drawn = [step * self.batch_size + position for position in self.positions]
        rngs = [np.random.default_rng((self.seed, 1, position)) for position in drawn]
        return self._functions.draw([self._case(at) for at in drawn], self.task, rngs)

    def _case(self, position: int) -> HeldCase:
        """Return the case at `position` of the endless shuffled sequence of cases."""
        epoch, rank = divmod(position, len(self._order(0)))
        return self.held[int(self._order(epoch)[rank])]

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
    batches: StepBatches, steps: Iterable[int], threads: int = 1, device: torch.device = CPU
) -> Generator[Batch, None, None]:
    """Yield the batches of `steps` in order; `threads` prepare the next ones meanwhile.

    On a GPU they are drawn in streams of their own, beside the training steps; on a CPU each thread
    computes alone, as the training step has the cores. Torch's DataLoader would start processes,
    each with a copy of the cases. An error while a batch is prepared is raised here.

    Args:
        device: where the batches are drawn.
    """
    remaining = iter(steps)
    ahead = 2 * threads
    draw = partial(_draw, batches, device, threading.local())
    with ThreadPoolExecutor(threads, "batches", initializer=_compute_alone) as pool:
        waiting = deque(pool.submit(draw, step) for step in islice(remaining, ahead))
        try:
            while waiting:
                batch, done = waiting.popleft().result()
                waiting.extend(pool.submit(draw, step) for step in islice(remaining, 1))
                if done is not None:
                    stream = torch.cuda.current_stream(device)
                    stream.wait_event(done)
                    for part in batch:
                        if part.is_cuda:  # its memory is free when the step is done with it
                            part.record_stream(stream)
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def _draw(
    batches: StepBatches, device: torch.device, own: threading.local, step: int
) -> tuple[Batch, torch.cuda.Event | None]:
    """Draw a batch in this thread's stream; return it, and what tells when it is there."""
    if device.type != "cuda":
        return batches[step], None
    if not hasattr(own, "stream"):
        own.stream = torch.cuda.Stream(device)
    with torch.cuda.stream(own.stream):
        return batches[step], own.stream.record_event()


def _compute_alone() -> None:
    """Let this thread's tensor operations use this thread only, and leave those of others."""
    torch.get_num_threads()  # else torch would set the number of this thread at its first operation
    threadpool_limits(1, "openmp")
