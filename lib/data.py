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
from torch import Tensor
from torch.utils.data import Dataset

from lib.datasets.studies import Item
from lib.errors import InputError
from lib.grids import network_grid
from lib.images import read_image
from lib.masks import read_label
from lib.targets import make_target
from lib.tasks import TaskSpec
from lib.transforms import draw_patch, prepare_image

CACHE_BYTES = 2 * 2**30

Batch = tuple[Tensor, Tensor]


class PreparedCases(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Images and targets, prepared by the task's spec and kept in memory within a budget.

    An entry is `(image, target)`: float16 `(channels, *spatial)` in 0..1 and
    `(maps, *spatial)` as `lib.targets.make_target` returns it. What does not fit the budget is
    read again each time.

    Attributes:
        largest: the longest side seen so far along each axis of the network; empty at first.

    Args:
        items: labelled items.
        cache_bytes: memory budget for all entries together.
    """

    def __init__(self, items: Sequence[Item], task: TaskSpec, cache_bytes: int = CACHE_BYTES):
        self.items = list(items)
        self.task = task
        self.largest: tuple[int, ...] = ()
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._room = cache_bytes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the prepared case; unreadable files raise `InputError` naming the file."""
        if index in self._cache:
            return self._cache[index]
        item = self.items[index]
        if item.label is None:
            raise InputError(f"'{item.id}' has no label; save one before training on it")
        image = read_image(item.image, self.task.input.max_pixels, self.task.image_dims)
        label = read_label(item.label, image.shape)
        label = network_grid(image, self.task.input).apply_label(label)
        case = (
            prepare_image(image, self.task.input).astype(np.float16),
            make_target(label, self.task.target),
        )
        sides = case[0].shape[-self.task.network.spatial_dims :]
        self.largest = tuple(np.maximum(sides, self.largest or sides).tolist())
        size = case[0].nbytes + case[1].nbytes
        if size <= self._room:
            self._room -= size
            self._cache[index] = case
        return case


class StepBatches(Dataset[Batch]):
    """The batch of a step, as a function of seed and step alone.

    Entry `step` holds this process's share of the step's global batch: patches and targets,
    float32, `(batch_size / world_size, channels, *patch)`; the patch is no larger than the largest
    case that was read before, as what lies beyond would be mirrored. Any number of processes sees
    the same patches, and a resumed run continues with the ones that come next.
    """

    def __init__(self, cases: PreparedCases, seed: int, rank: int = 0, world_size: int = 1) -> None:
        recipe = cases.task.training
        if recipe.batch_size % world_size:
            raise InputError(
                f"batch_size {recipe.batch_size} cannot be shared by {world_size} processes; "
                f"choose a multiple of {world_size}"
            )
        self.cases, self.seed = cases, seed
        self.recipe, self.batch_size = recipe, recipe.batch_size
        self.patch = _fitting(recipe.patch_sides(cases.task.network.spatial_dims), cases)
        share = recipe.batch_size // world_size
        self.places = range(rank * share, (rank + 1) * share)
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def __getitem__(self, step: int) -> Batch:
        drawn = [self._draw(step * self.batch_size + place) for place in self.places]
        images, targets = zip(*drawn, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))

    def _draw(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the patch at `position` of the endless shuffled sequence of cases."""
        epoch, place = divmod(position, len(self.cases))
        image, target = self.cases[int(self._order(epoch)[place])]
        task = self.cases.task
        return draw_patch(
            image,
            target,
            self.patch,
            task.augment,
            np.random.default_rng((self.seed, 1, position)),
            task.target.maps,
            self.recipe.foreground_share,
        )

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.cases))


def _fitting(patch: tuple[int, ...], cases: PreparedCases) -> tuple[int, ...]:
    """Return `patch` without what is beyond the largest case, of sizes that the network takes."""
    network = cases.task.network
    if network.padding != "same" or not cases.largest:
        return patch
    return tuple(
        min(side, network.input_size(length))
        for side, length in zip(patch, cases.largest, strict=True)
    )


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
