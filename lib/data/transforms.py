"""From image to network input, from label to target, and random changes of training patches.

All are made from the task's spec, so that training and serving cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from lib.data.grid import network_grid
from lib.data.targets import is_binary
from lib.errors import InputError
from lib.image import Image
from lib.tasks.image_spec import PRESENCE, AugmentSpec, InputSpec

REC_601 = np.array((0.299, 0.587, 0.114), dtype=np.float32)


def prepare_image(image: Image, spec: InputSpec) -> np.ndarray:
    """Return `image` as network input.

    Returns:
        float32 of shape `(1, *spatial)` on the image's `lib.data.grid.network_grid`; the spec's
        lower and upper percentile become 0 and 1, values beyond are clipped; a constant image
        becomes all zero.

    Raises:
        InputError: the image is smaller than `spec.min_side` or larger than `spec.max_pixels`.
    """
    size = " x ".join(str(side) for side in reversed(image.shape))
    if min(image.shape[-2:]) < spec.min_side:
        raise InputError(
            f"{image.path.name}: {size} pixels, expected at least {spec.min_side} rows and "
            f"columns; use the image at its full size"
        )
    if math.prod(image.shape) > spec.max_pixels:
        raise InputError(
            f"{image.path.name}: {size} pixels, expected at most {spec.max_pixels} in all; crop "
            f"or tile the image"
        )
    grid = network_grid(image, spec)
    pixels = image.pixels.astype(np.float32)
    grey = pixels @ REC_601 if image.colour else pixels
    low, middle, high = _scale(grey[grid.region], spec)
    if high <= low:
        return np.zeros((1, *grid.shape), dtype=np.float32)
    scaled = np.clip((grey - low) / (high - low), 0.0, 1.0)
    if spec.dark_background and middle > (low + high) / 2:
        scaled = 1.0 - scaled
    return grid.apply(scaled[np.newaxis])


def _scale(grey: np.ndarray, spec: InputSpec) -> tuple[float, float, float]:
    """Return the intensities that become 0 and 1, and the median between them."""
    # percentiles of every k-th pixel: exact enough for a scale, and fast on large images
    step = max(1, int((grey.size / 500_000) ** (1 / grey.ndim)))
    sample = grey[(slice(None, None, step),) * grey.ndim]
    low, middle, high = np.percentile(sample, (spec.percentiles[0], 50, spec.percentiles[1]))
    if high <= low:  # nearly constant: whatever differs must not be lost
        low, high = grey.min(), grey.max()
    return float(low), float(middle), float(high)


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

    Images smaller than the patch are mirrored at their borders (the thesis's augmentation). Of a
    volume or a loop, a patch of two sides is drawn in one of its slices.

    Args:
        image: `(channels, *spatial)` in 0..1.
        target: `(maps, *spatial)`; see `lib.data.targets.make_target`.
        size: sides of the patch in pixels, one for all axes or one each.
        maps: names of the target's maps; binary ones stay binary.
        foreground_share: probability that the patch is centred on a foreground pixel.

    Returns:
        Image and target patch, float32, of shape `(channels, *size)` and `(maps, *size)`.
    """
    sides = (size,) * (image.ndim - 1) if isinstance(size, int) else size
    zoom = math.exp(rng.uniform(math.log(spec.zoom[0]), math.log(spec.zoom[1])))
    spans = [max(min(8, side), round(side / zoom)) for side in sides]
    centre = _foreground_pixel(target[0], rng) if rng.random() < foreground_share else None
    if image.ndim - 1 > len(sides):
        frame = int(rng.integers(image.shape[1])) if centre is None else centre[0]
        image, target = image[:, frame], target[:, frame]
        centre = centre and centre[1:]
    # a turned or bent patch reaches beyond its own square
    room = 0
    if spec.rotate > 0 or spec.elastic > 0:
        turned = math.hypot(*spans[-2:]) - min(spans[-2:]) if spec.rotate > 0 else 0.0
        room = math.ceil(turned / 2 + 2 * spec.elastic)
    index = []
    for axis, (span, length) in enumerate(zip(spans, image.shape[1:], strict=True)):
        start = int(rng.integers(0, max(1, length - span + 1)))
        if centre is not None:
            start = min(max(0, centre[axis] - span // 2), max(0, length - span))
        index.append(mirrored(np.arange(start - room, start + span + room), length))
    patch, truth = _taken(image, index), _taken(target, index)
    if room or spans != list(sides):
        both = _warp(np.concatenate((patch, truth)), sides, spans, spec, rng)
        patch, truth = both[: len(patch)], both[len(patch) :]
        for place, name in enumerate(maps):
            if is_binary(name):
                truth[place] = truth[place] >= 0.5
    for place, name in enumerate(maps):
        if name == PRESENCE:
            truth[place] = truth[0].any()
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
                ndimage.grey_dilation(truth[place], window[1:]) if is_binary(name) else truth[place]
                for place, name in enumerate(maps)
            ]
        )
    patch = _with_other_grey(patch, spec, rng)
    return np.ascontiguousarray(patch, np.float32), np.ascontiguousarray(truth, np.float32)


def augment_image(image: np.ndarray, spec: AugmentSpec, rng: np.random.Generator) -> np.ndarray:
    """Return a randomly turned, magnified and shaded copy of a whole mammogram.

    It is turned about its centre and magnified about the middle of the right edge, where the chest
    wall is; what lies beyond the edges is as the pixels there. What is background stays 0.

    Args:
        image: `(channels, rows, columns)` in 0..1, as `lib.classification.cases.network_input`
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
    shaded = _with_other_grey(image, spec, rng)
    return np.ascontiguousarray(np.where(image > 0, shaded, 0), np.float32)


def _with_other_grey(patch: np.ndarray, spec: AugmentSpec, rng: np.random.Generator) -> np.ndarray:
    """Return `(channels, *spatial)` blurred, of another gamma, and noisy."""
    if spec.blur > 0:
        sigma = rng.uniform(0, spec.blur)
        patch = np.stack([ndimage.gaussian_filter(channel, sigma) for channel in patch])
    if spec.gamma > 1:
        patch = patch ** math.exp(rng.uniform(-math.log(spec.gamma), math.log(spec.gamma)))
    if spec.noise > 0:
        noise = rng.standard_normal(patch.shape, dtype=np.float32)
        patch = np.clip(patch + noise * rng.uniform(0, spec.noise), 0, 1)
    return patch


def _taken(maps: np.ndarray, index: list[np.ndarray]) -> np.ndarray:
    """Return `maps` at the product of the indices of its spatial axes, as float32."""
    for axis, places in enumerate(index, start=1):
        maps = maps.take(places, axis)
    return maps.astype(np.float32)


def _foreground_pixel(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Return the place of a random foreground pixel; None if there is none."""
    places = np.flatnonzero(mask)
    if not len(places):
        return None
    chosen = int(places[rng.integers(len(places))])
    return tuple(int(place) for place in np.unravel_index(chosen, mask.shape))


def _warp(
    channels: np.ndarray,
    sides: tuple[int, ...],
    spans: Sequence[float],
    spec: AugmentSpec,
    rng: np.random.Generator,
    shift: Sequence[float] = (),
    padding: str = "reflection",
) -> np.ndarray:
    """Sample `(channels, *spatial)` on a grid that is zoomed, turned and bent about its centre.

    Linear interpolation.

    Args:
        sides: of the result.
        spans: pixels of the source that the result covers along each axis.
        shift: of the result's centre from the source's, pixels along each axis.
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
        bent = functional.interpolate(
            torch.from_numpy(coarse * spec.elastic), sides, mode=mode, align_corners=True
        )
        offsets = [offset + bend for offset, bend in zip(offsets, bent[0].numpy(), strict=True)]
    if shift:
        offsets = [offset + away for offset, away in zip(offsets, shift, strict=True)]
    # grid_sample wants the last axis first, each scaled so that -1 and 1 are the outermost pixels
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


def mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Fold indices beyond `length` back into it, mirroring at the border pixels."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    index = np.abs(index) % period
    return np.where(index < length, index, period - index)
