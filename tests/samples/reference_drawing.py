"""The augmentation as it was before batches were drawn on the training device: one patch at a time.

It is kept as it was, in NumPy, as the reference that `lib.data.draw` is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from lib.data.ignore import UNKNOWN
from lib.data.targets import is_binary
from lib.data.transforms import mirrored
from lib.tasks.image_spec import PRESENCE, AugmentSpec


def draw_patch(
    image: np.ndarray,
    target: np.ndarray,
    size: int | tuple[int, ...],
    spec: AugmentSpec,
    rng: np.random.Generator,
    maps: tuple[str, ...] = ("foreground",),
    foreground_share: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one augmented training patch.

    Images smaller than the patch are mirrored at their borders (the thesis's augmentation). If
    `size` has two sides and the image is a volume or a loop, the patch is drawn in one slice. Of a
    partly labelled image the patch is centred on a labelled pixel.

    Args:
        image: `(channels, *spatial)` in 0..1.
        target: `(maps, *spatial)`; see `lib.data.targets.make_target`.
        size: sides of the patch in pixels, one for all axes or one for each.
        maps: names of the target's maps; binary maps stay binary.
        foreground_share: probability that the patch is centred on a foreground pixel.

    Returns:
        Image and target patch, float32, of shape `(channels, *size)` and `(maps, *size)`.
    """
    sides = (size,) * (image.ndim - 1) if isinstance(size, int) else size
    zoom = math.exp(rng.uniform(math.log(spec.zoom[0]), math.log(spec.zoom[1])))
    spans = [max(min(8, side), round(side / zoom)) for side in sides]
    centre = _random_pixel(target[0] > 0, rng) if rng.random() < foreground_share else None
    if centre is None and (target[0] == UNKNOWN).any():
        centre = _random_pixel(target[0] != UNKNOWN, rng)
    if image.ndim - 1 > len(sides):
        frame = int(rng.integers(image.shape[1])) if centre is None else centre[0]
        image, target = image[:, frame], target[:, frame]
        centre = centre and centre[1:]
    # a rotated or bent patch reaches beyond its own square
    margin = 0
    if spec.rotate > 0 or spec.elastic > 0:
        rotated = math.hypot(*spans[-2:]) - min(spans[-2:]) if spec.rotate > 0 else 0.0
        margin = math.ceil(rotated / 2 + 2 * spec.elastic)
    index = []
    for axis, (span, length) in enumerate(zip(spans, image.shape[1:], strict=True)):
        start = int(rng.integers(0, max(1, length - span + 1)))
        if centre is not None:
            start = min(max(0, centre[axis] - span // 2), max(0, length - span))
        index.append(mirrored(np.arange(start - margin, start + span + margin), length))
    patch, truth = _crop(image, index), _crop(target, index)
    if margin or spans != list(sides):
        known = (truth != UNKNOWN).astype(np.float32)
        parts = (patch, truth) if known.all() else (patch, truth * known, known)
        warped = _warp(np.concatenate(parts), sides, spans, spec, rng)
        patch, truth, known = np.split(warped, np.cumsum([len(patch), len(truth)]))
        if len(known):  # linear between what is known, nearest to what is not
            truth /= np.maximum(known, 0.5)
        for channel, name in enumerate(maps):
            if is_binary(name):
                truth[channel] = truth[channel] >= 0.5
        if len(known):
            truth[known < 0.5] = UNKNOWN
    for channel, name in enumerate(maps):
        if name == PRESENCE:
            truth[channel] = _presence(truth[0])
    if spec.flips:
        depth = patch.ndim - 2
        axes = tuple(
            axis
            for axis in range(1, patch.ndim)
            if rng.random() < 0.5 and (spec.flip_depth or axis != depth)
        )
        patch, truth = np.flip(patch, axes), np.flip(truth, axes)
    if spec.rotate90 and sides[-1] == sides[-2]:
        turns, plane = int(rng.integers(4)), (patch.ndim - 2, patch.ndim - 1)
        patch, truth = np.rot90(patch, turns, plane), np.rot90(truth, turns, plane)
    if spec.dilate > 0 and rng.random() < spec.dilate:
        window = (1, *(3,) * len(sides))
        patch = ndimage.grey_dilation(patch, window)
        truth = np.stack(
            [
                _dilated(channel, window[1:]) if is_binary(name) else channel
                for name, channel in zip(maps, truth, strict=True)
            ]
        )
    patch = _augment_grey(patch, spec, rng)
    return np.ascontiguousarray(patch, np.float32), np.ascontiguousarray(truth, np.float32)


def augment_image(image: np.ndarray, spec: AugmentSpec, rng: np.random.Generator) -> np.ndarray:
    """Return a copy of a whole mammogram, randomly rotated, magnified and changed in grey.

    It is rotated about its centre and magnified about the middle of the right edge, where the chest
    wall is. Beyond the edges, the pixels of the edge are repeated. Background stays 0.

    Args:
        image: `(channels, rows, columns)` in 0..1, as `lib.mammography.breast.network_input`
            returns it.

    Returns:
        float32, the same shape.
    """
    image = image.astype(np.float32)
    sides = image.shape[1:]
    zoom = math.exp(rng.uniform(math.log(spec.zoom[0]), math.log(spec.zoom[1])))
    spans = [side / zoom for side in sides]
    if spec.rotate > 0 or spec.elastic > 0 or zoom != 1:
        shift = (0.0, (sides[1] - spans[1]) / 2)
        image = _warp(image, sides, spans, spec, rng, shift, "border")
    axes = [axis for axis in (1, 2) if spec.flips and (axis > 1 or spec.flip_depth)]
    image = np.flip(image, [axis for axis in axes if rng.random() < 0.5])
    augmented = _augment_grey(image, spec, rng)
    return np.ascontiguousarray(np.where(image > 0, augmented, 0), np.float32)


def _augment_grey(patch: np.ndarray, spec: AugmentSpec, rng: np.random.Generator) -> np.ndarray:
    """Return `(channels, *spatial)` with random blur, gamma and noise."""
    if spec.blur > 0:
        sigma = rng.uniform(0, spec.blur)
        patch = np.stack([ndimage.gaussian_filter(channel, sigma) for channel in patch])
    if spec.gamma > 1:
        patch = patch ** math.exp(rng.uniform(-math.log(spec.gamma), math.log(spec.gamma)))
    if spec.noise > 0:
        noise = rng.standard_normal(patch.shape, dtype=np.float32)
        patch = np.clip(patch + noise * rng.uniform(0, spec.noise), 0, 1)
    return patch


def _crop(maps: np.ndarray, index: list[np.ndarray]) -> np.ndarray:
    """Return `(maps, *spatial)` at the given indices along each spatial axis, as float32."""
    for axis, positions in enumerate(index, start=1):
        maps = maps.take(positions, axis)
    return maps.astype(np.float32)


def _presence(foreground: np.ndarray) -> np.ndarray:
    """Return the presence map of a patch by its foreground map."""
    unknown = foreground == UNKNOWN
    if (foreground > 0).any():
        return np.where(unknown, UNKNOWN, 1)
    return np.full(foreground.shape, UNKNOWN if unknown.any() else 0)


def _dilated(values: np.ndarray, window: tuple[int, ...]) -> np.ndarray:
    """Return a binary map grown by a grey dilation; what may have grown from unknown is unknown."""
    grown = ndimage.grey_dilation(values, window)
    unknown = values == UNKNOWN
    reached = ndimage.maximum_filter(unknown, size=window)
    return np.where(unknown | (reached & (grown < 1)), UNKNOWN, grown)


def _random_pixel(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Return the position of a random pixel of `mask`; None if there is none."""
    foreground = np.flatnonzero(mask)
    if not len(foreground):
        return None
    chosen = int(foreground[rng.integers(len(foreground))])
    return tuple(int(index) for index in np.unravel_index(chosen, mask.shape))


def _warp(
    channels: np.ndarray,
    sides: tuple[int, ...],
    spans: Sequence[float],
    spec: AugmentSpec,
    rng: np.random.Generator,
    shift: Sequence[float] = (),
    padding: str = "reflection",
) -> np.ndarray:
    """Sample `(channels, *spatial)` on a grid that is zoomed, rotated and bent about its centre.

    Values are interpolated linearly.

    Args:
        sides: of the result, pixels.
        spans: how many pixels of the source the result covers along each axis.
        shift: from the source's centre to the result's, pixels along each axis.
        padding: what lies beyond the borders, as `torch.nn.functional.grid_sample` names it.
    """
    axes = [
        (np.arange(side, dtype=np.float32) - (side - 1) / 2) * (span / side)
        for side, span in zip(sides, spans, strict=True)
    ]
    offsets: list[np.ndarray] = list(np.meshgrid(*axes, indexing="ij", copy=False))
    if spec.rotate > 0:
        angle = math.radians(rng.uniform(-spec.rotate, spec.rotate))
        rows, columns = offsets[-2:]
        offsets[-2] = math.cos(angle) * rows - math.sin(angle) * columns
        offsets[-1] = math.sin(angle) * rows + math.cos(angle) * columns
    if spec.elastic > 0:
        coarse = rng.standard_normal((1, len(sides), *(4,) * len(sides)), dtype=np.float32)
        mode = "bicubic" if len(sides) == 2 else "trilinear"
        bending = functional.interpolate(
            torch.from_numpy(coarse * spec.elastic), sides, mode=mode, align_corners=True
        )
        offsets = [offset + bend for offset, bend in zip(offsets, bending[0].numpy(), strict=True)]
    if shift:
        offsets = [offset + step for offset, step in zip(offsets, shift, strict=True)]
    # grid_sample takes the last axis first, each scaled so that -1 and 1 are the outermost pixels
    scaled = [
        offset * (2 / max(1, length - 1))
        for offset, length in zip(offsets, channels.shape[1:], strict=True)
    ]
    grid = torch.from_numpy(np.stack(scaled[::-1], axis=-1))[np.newaxis]
    source = torch.from_numpy(np.ascontiguousarray(channels))[np.newaxis]
    result = functional.grid_sample(
        source, grid, mode="bilinear", padding_mode=padding, align_corners=True
    )
    return result[0].numpy()
