"""Change drawn patches in grey, and dilate them: tensor operations on batches, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lib.data.draw_plan import Shading
from lib.data.ignore import UNKNOWN

_BLUR_REACH = 4.0  # standard deviations, as `scipy.ndimage.gaussian_filter` has it


def sent(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return arrays of the host as one tensor on `device`, without waiting for it."""
    stacked = arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)
    tensor = torch.from_numpy(np.ascontiguousarray(stacked))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def shaded(images: Tensor, shadings: Sequence[Shading]) -> Tensor:
    """Return images `(N, channels, *sides)` blurred, with other gamma and contrast, and with noise.

    The plans of a batch change the same things, each by its own amount.
    """
    first = shadings[0]
    if first.blur is not None:
        images = _blurred(images, [float(plan.blur or 0) for plan in shadings])
    if first.gamma is not None:
        gammas = sent([np.array(plan.gamma, np.float32) for plan in shadings], images.device)
        images = images.pow(gammas.reshape(*gammas.shape, *(1,) * (images.ndim - 2)))
    if first.curve is not None:
        curves = [np.array(plan.curve, np.float32) for plan in shadings]
        images = _curved(images, sent(curves, images.device))
    if first.noise is not None:
        noise = sent([plan.noise for plan in shadings if plan.noise is not None], images.device)
        images = noise.add_(images).clamp_(0, 1)
    return images.contiguous()


def _curved(images: Tensor, curves: Tensor) -> Tensor:
    """Return images `(N, channels, *sides)` in 0..1 on curves of greys.

    Args:
        curves: `(N, 3)`, see `Shading`; an S of bend b is x + 2 b x (1 - x) (2 x - 1), which rises
            for b in -1..0.5.
    """
    bend, low, high = curves.reshape(*curves.shape, *(1,) * (images.ndim - 1)).unbind(1)
    images = images + 2 * bend * images * (1 - images) * (2 * images - 1)
    return low + (high - low) * images


def _blurred(images: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Return images `(N, channels, *sides)` after a Gaussian filter; borders are mirrored."""
    reach = max(int(_BLUR_REACH * sigma + 0.5) for sigma in sigmas)
    weights = np.zeros((2 * reach + 1, len(sigmas)), np.float32)
    for row, sigma in enumerate(sigmas):
        radius = int(_BLUR_REACH * sigma + 0.5)
        places = np.arange(-radius, radius + 1)
        kernel = np.exp(-0.5 * (places / max(sigma, 1e-9)) ** 2)
        weights[reach - radius : reach + radius + 1, row] = kernel / kernel.sum()
    factors = sent([weights], images.device).reshape(*weights.shape, *(1,) * (images.ndim - 1))
    for axis in range(2, images.ndim):
        length = images.shape[axis]
        index = torch.arange(-reach, length + reach, device=images.device) % (2 * length)
        wide = images.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
        images = sum(
            (factor * wide.narrow(axis, start, length) for start, factor in enumerate(factors)),
            start=torch.zeros((), device=images.device),
        )
    return images


def dilated(images: Tensor, targets: Tensor, binary: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Return images and the binary maps of targets grown by one pixel, by grey dilation.

    What may have grown from unknown is unknown.

    Args:
        images, targets: `(N, channels, *sides)` and `(N, maps, *sides)`.
        binary: which maps are.
    """
    targets = targets.clone()
    for channel in (channel for channel, mask in enumerate(binary) if mask):
        values = targets[:, channel : channel + 1]
        unknown = values == UNKNOWN
        grown, reached = _grown(values), _grown(unknown.float()) > 0
        values.copy_(grown.masked_fill(unknown | (reached & (grown < 1)), UNKNOWN))
    return _grown(images), targets


def _grown(values: Tensor) -> Tensor:
    pool = functional.max_pool2d if values.ndim == 4 else functional.max_pool3d
    return pool(values, 3, stride=1, padding=1)
