"""From image to network input, from label to target, and random changes of training patches.

All are made from the task's spec, so that training and serving cannot drift apart.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_components

from lib.errors import InputError
from lib.images import Image
from lib.tasks import AugmentSpec, InputSpec, TargetSpec

REC_601 = np.array((0.299, 0.587, 0.114), dtype=np.float32)


def prepare_image(image: Image, spec: InputSpec) -> np.ndarray:
    """Return `image` as network input.

    Returns:
        float32 of shape `(1, rows, columns)`; the spec's lower and upper percentile become 0 and
        1, values beyond are clipped; a constant image becomes all zero.

    Raises:
        InputError: the image is smaller than `spec.min_side` or larger than `spec.max_pixels`.
    """
    rows, columns = image.shape
    if min(rows, columns) < spec.min_side:
        raise InputError(
            f"{image.path.name}: {columns} x {rows} pixels, expected at least {spec.min_side} on "
            f"each side; use the image at its full size"
        )
    if rows * columns > spec.max_pixels:
        raise InputError(
            f"{image.path.name}: {columns} x {rows} pixels, expected at most {spec.max_pixels} in "
            f"all; crop or tile the image"
        )
    pixels = image.pixels.astype(np.float32)
    grey = pixels @ REC_601 if pixels.ndim == 3 else pixels
    low, middle, high = _scale(grey, spec)
    if high <= low:
        return np.zeros((1, rows, columns), dtype=np.float32)
    scaled = np.clip((grey - low) / (high - low), 0.0, 1.0)
    if spec.dark_background and middle > (low + high) / 2:
        scaled = 1.0 - scaled
    return scaled[np.newaxis].astype(np.float32)


def _scale(grey: np.ndarray, spec: InputSpec) -> tuple[float, float, float]:
    """Return the intensities that become 0 and 1, and the median between them."""
    # percentiles of every k-th pixel: exact enough for a scale, and fast on large images
    step = max(1, math.isqrt(grey.size // 500_000))
    sample = grey[::step, ::step]
    low, middle, high = np.percentile(sample, (spec.percentiles[0], 50, spec.percentiles[1]))
    if high <= low:  # nearly constant: whatever differs must not be lost
        low, high = grey.min(), grey.max()
    return float(low), float(middle), float(high)


def as_instances(label: np.ndarray) -> np.ndarray:
    """Number the objects of a label image.

    A label image with one value only is taken as a mask: its 8-connected components become the
    instances. Others are kept as they are.

    Args:
        label: `(rows, columns)` integers, 0 is background.
    """
    values = np.unique(label)
    if (values != 0).sum() == 1:
        return connected_components(label > 0, connectivity=2).astype(np.int32)
    return label


def make_target(label: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return the training target of a label image: uint8 `(1, rows, columns)`, 1 is foreground.

    With `spec.gap` > 0, pixels whose neighbourhood of that radius holds two instances are cleared.
    """
    foreground = label > 0
    if spec.gap > 0:
        size = 2 * spec.gap + 1
        background = np.iinfo(label.dtype).max
        lowest = ndimage.minimum_filter(np.where(foreground, label, background), size=size)
        highest = ndimage.maximum_filter(label, size=size)
        eroded = foreground & ~((lowest != highest) & (lowest != background))
        gone = np.setdiff1d(np.unique(label), np.unique(label[eroded]))
        foreground = eroded | (foreground & np.isin(label, gone))
    return foreground[np.newaxis].astype(np.uint8)


def draw_patch(
    image: np.ndarray,
    target: np.ndarray,
    size: int,
    spec: AugmentSpec,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one augmented training patch.

    Images smaller than the patch are mirrored at their borders (the thesis's augmentation).

    Args:
        image: float32 `(channels, rows, columns)` in 0..1.
        target: uint8 `(maps, rows, columns)`.
        size: side of the square patch in pixels.

    Returns:
        Image and target patch, float32, of shape `(channels, size, size)` and `(maps, size, size)`.
    """
    zoom = math.exp(rng.uniform(math.log(spec.zoom[0]), math.log(spec.zoom[1])))
    side = max(8, round(size / zoom))
    spans = []
    for length in image.shape[1:]:
        start = int(rng.integers(0, max(1, length - side + 1)))
        spans.append(_mirrored(np.arange(start, start + side), length))
    patch, truth = image[:, spans[0]][:, :, spans[1]], target[:, spans[0]][:, :, spans[1]]
    patch, truth = patch.astype(np.float32), truth.astype(np.float32)
    if side != size:
        factor = (1, size / side, size / side)
        patch = ndimage.zoom(patch, factor, order=1, mode="mirror", grid_mode=True)
        truth = ndimage.zoom(truth, factor, order=1, mode="mirror", grid_mode=True).round()
    if spec.flips:
        axes = tuple(axis for axis in (1, 2) if rng.random() < 0.5)
        patch, truth = np.flip(patch, axes), np.flip(truth, axes)
    if spec.rotate90:
        turns = int(rng.integers(4))
        patch, truth = np.rot90(patch, turns, (1, 2)), np.rot90(truth, turns, (1, 2))
    if spec.gamma > 1:
        patch = patch ** math.exp(rng.uniform(-math.log(spec.gamma), math.log(spec.gamma)))
    if spec.noise > 0:
        noise = rng.standard_normal(patch.shape, dtype=np.float32)
        patch = np.clip(patch + noise * rng.uniform(0, spec.noise), 0, 1)
    return np.ascontiguousarray(patch, np.float32), np.ascontiguousarray(truth, np.float32)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Fold indices beyond `length` back into it, mirroring at the border pixels."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    index = np.abs(index) % period
    return np.where(index < length, index, period - index)
