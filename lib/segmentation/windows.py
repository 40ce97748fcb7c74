"""How a segmentation network answers images of any size: padded to fit, in tiles if large."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lib.data.transforms import mirrored
from lib.segmentation.tiles import Axis, tiles_of
from lib.tasks.monai_spec import MonaiSpec
from lib.tasks.network_spec import EncoderDecoderSpec

# by the number of spatial dimensions
WHOLE_PIXELS = {2: 1536 * 1536, 3: 128**3}  # largest image that is not tiled
TILE = {2: 1024, 3: 128}  # longest side of a tile, pixels
TILE_OVERLAP = {2: 0.125, 3: 0.125}  # least overlap of neighbouring tiles, as a share of `TILE`

Item = TypeVar("Item")
Network = Callable[[Tensor], Tensor]
"""Takes images `(N, channels, *spatial)` and returns logits `(N, maps, *spatial)`."""


def answer_images(
    images: Tensor,
    spec: EncoderDecoderSpec | MonaiSpec,
    network: Network,
    at_once: Callable[[Sequence[int]], int] = lambda shape: 1,
) -> Tensor:
    """Return probabilities `(N, maps, *spatial)`, in tiles if the images are large.

    Args:
        images: float32 `(N, channels, *spatial)`, of any size.
        spec: of the network.
        at_once: tells how many images of a shape `(*spatial)` the network answers in one batch.
            Where there is too little memory for them, tiles are answered one by one.
    """
    axes = images.ndim - 2
    if math.prod(images.shape[2:]) <= WHOLE_PIXELS[axes]:
        return answer_window(images, spec, network)
    joined: Tensor | None = None
    grid = tiling(images.shape[2:], spec)
    most = max(1, at_once([axis.side for axis in grid]) // len(images))
    for group in groups_of(tiles_of(grid), most):
        insides = [(slice(None), slice(None), *tile) for tile, _ in group]
        parts = _answer_windows([images[inside] for inside in insides], spec, network)
        for inside, (_, weights), part in zip(insides, group, parts, strict=True):
            for axis, along in enumerate(weights):
                shape = [1] * part.ndim
                shape[2 + axis] = len(along)
                part *= torch.from_numpy(along).to(part.device).view(shape)
            if joined is None:
                joined = part.new_zeros((*part.shape[:2], *images.shape[2:]))
            joined[inside] += part
    assert joined is not None
    return joined


def groups_of(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Yield `items` in their order, in lists of so many; the last may be shorter."""
    rest = iter(items)
    while group := list(itertools.islice(rest, most)):
        yield group


def _answer_windows(
    windows: list[Tensor], spec: EncoderDecoderSpec | MonaiSpec, network: Network
) -> Sequence[Tensor]:
    """Return what `answer_window` does for each window; all are of one shape."""
    if len(windows) > 1:
        try:
            answer = answer_window(torch.cat(windows), spec, network)
            return answer.split(len(windows[0]))
        except torch.cuda.OutOfMemoryError:
            pass  # its tensors are let go of with it
        torch.cuda.empty_cache()
    return [answer_window(window, spec, network) for window in windows]


def tiling(shape: Sequence[int], spec: EncoderDecoderSpec | MonaiSpec) -> list[Axis]:
    """Return the tiles along each axis of an image `(*spatial)` that is not answered whole."""
    axes = len(shape)
    divisor = spec.divisor if spec.padding == "same" else 1
    shared = round(TILE[axes] * TILE_OVERLAP[axes])
    return [Axis.of(size, TILE[axes], shared, divisor) for size in shape]


def answer_window(window: Tensor, spec: EncoderDecoderSpec | MonaiSpec, network: Network) -> Tensor:
    """Return probabilities of a window, which is padded by mirroring to fit the network."""
    inside = [slice(None), slice(None)]
    for axis, size in enumerate(window.shape[2:], start=2):
        padded = spec.input_size(size)
        answered = spec.output_size(padded) or padded
        before = (padded - answered) // 2  # 0 unless the network has unpadded convolutions
        inside.append(slice(0, size))
        if padded != size:
            index = mirrored(np.arange(-before, padded - before), size)
            window = window.index_select(axis, torch.from_numpy(index).to(window.device))
    return torch.sigmoid(network(window)[tuple(inside)])
