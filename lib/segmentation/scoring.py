"""Figures of whole validation cases, counted on the device that answers them.

Cases of one size are answered together on a GPU, and nothing is read back before the last.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lib.data.case import Case, Cases, Figures
from lib.data.ignore import UNKNOWN
from lib.distributed import over_processes, own_indices
from lib.segmentation.metrics import PIXEL_COUNTS, image_scores, pixel_scores
from lib.segmentation.predictor import FRAMES, Predictor
from lib.tasks.image_spec import PRESENCE, OutputSpec

AT_ONCE = {"cpu": 1, "cuda": 2**22}  # pixels from which no further case is answered together

Maps = TypeVar("Maps", np.ndarray, Tensor)


def score_masks(predictor: Predictor, cases: Cases) -> Figures:
    """Return figures of pixels pooled over cases, and means over cases of `image_scores`.

    Both are those of `lib.segmentation.metrics`. Several processes share the work.
    """
    device = predictor.device
    table = torch.zeros((len(cases), len(PIXEL_COUNTS)), dtype=torch.float64, device=device)
    presence = torch.zeros(len(cases), dtype=torch.float64, device=device)
    sizes = torch.zeros(len(cases), dtype=torch.float64)
    for numbers, images, truth in _images_of_a_size(predictor, cases):
        sizes.index_add_(0, numbers, torch.full((len(numbers),), float(truth[0].numel())).double())
        rows = numbers.to(device, non_blocking=True)
        maps = predictor.answers(images.to(device).float(), flips=False)
        counts, sure = _counts(predictor, maps, truth.to(device))
        table.index_add_(0, rows, counts)
        presence.scatter_reduce_(0, rows, sure, "amax")
    found = torch.cat((table, presence[:, None]), 1).cpu()
    *columns, surest, pixels = over_processes(torch.cat((found, sizes[:, None]), 1)).numpy().T
    counts_by_case = dict(zip(PIXEL_COUNTS, columns, strict=True))
    pooled = pixel_scores({name: column.sum() for name, column in counts_by_case.items()})
    whole = np.sum(columns, axis=0) == pixels
    figures = {**pooled, **image_scores(counts_by_case, surest, whole=whole)}
    return {name: float(value) for name, value in figures.items()}


def _images_of_a_size(
    predictor: Predictor, cases: Cases
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield this process's cases: their numbers `(N)`, images, and truth `(N, *spatial)`.

    Images are `(N, channels, *spatial)`, of as many axes as the network has: the slices of a volume
    have its number.
    """
    limit = AT_ONCE[predictor.device.type]
    waiting: dict[tuple[int, ...], list[tuple[int, Case]]] = defaultdict(list)
    for index in own_indices(len(cases)):
        case = cases[index]
        size = case[0].shape[1:]
        waiting[size].append((index, case))
        if len(waiting[size]) * math.prod(size) >= limit:
            yield from _stacked(waiting.pop(size), predictor.task.network.spatial_dims, limit)
    for group in waiting.values():
        yield from _stacked(group, predictor.task.network.spatial_dims, limit)


def _stacked(
    group: Sequence[tuple[int, Case]], axes: int, limit: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    numbers = torch.tensor([number for number, _ in group])
    images = torch.from_numpy(np.stack([case[0] for _, case in group]))
    truth = torch.from_numpy(np.stack([case[1][0] for _, case in group]))
    if images.ndim - 2 == axes:
        yield numbers, images, truth
        return
    numbers = numbers.repeat_interleave(images.shape[2])
    images, truth = images.movedim(2, 1).flatten(0, 1), truth.flatten(0, 1)
    count = max(FRAMES, limit // truth[0].numel())
    yield from zip(numbers.split(count), images.split(count), truth.split(count), strict=True)


def _counts(predictor: Predictor, maps: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return `PIXEL_COUNTS` of images `(N, 4)`, and the surest of any structure `(N)`, float64.

    Args:
        maps: probabilities `(N, maps, *spatial)`.
        truth: foreground `(N, *spatial)`, `UNKNOWN` where nobody labelled.
    """
    task = predictor.task
    mask, sure = answered_mask(maps.movedim(1, 0), task.target.answered, task.output)
    labelled = truth != UNKNOWN
    mask, inside = mask & labelled, (truth != 0) & labelled
    parts = (mask & inside, mask & ~inside, inside & ~mask, labelled & ~inside & ~mask)
    counts = torch.stack([part.flatten(1).sum(1) for part in parts], 1)
    surest = sure.masked_fill(~labelled, 0).flatten(1).amax(1)
    return counts.double(), surest.double()


def answered_mask(maps: Maps, answered: Sequence[str], spec: OutputSpec) -> tuple[Maps, Maps]:
    """Return the mask of answered maps `(maps, ...)`, and the probability of any structure."""
    mask, sure = maps[0] >= spec.threshold, maps[0]
    if PRESENCE in answered:
        sure = maps[answered.index(PRESENCE)]
        mask &= sure >= spec.presence_threshold
    return mask, sure
