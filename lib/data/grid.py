"""The grid a network sees of an image: its region, resampled; and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from lib.image import Image
from lib.tasks.image_spec import InputSpec

ISOTROPIC = 1.05  # largest over smallest spacing that counts as equal
COARSENED = 1.5  # most that the common spacing may be above the geometric mean
_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Grid:
    """The file's pixel grid and the network's.

    Attributes:
        full: size of the file's grid, `(*spatial)` in array order.
        region: part of it that the network sees, a slice along each axis.
        shape: size of the network's grid, which covers the region.
    """

    full: tuple[int, ...]
    region: tuple[slice, ...]
    shape: tuple[int, ...]

    def apply(self, channels: np.ndarray) -> np.ndarray:
        """Return intensities `(channels, *full)` on the network's grid, float32.

        Linear interpolation, after a Gaussian against aliasing along axes that shrink, with
        pixel centres kept in place.
        """
        return resample(channels[(slice(None), *self.region)], self.shape)

    def apply_label(self, label: np.ndarray) -> np.ndarray:
        """Return a label image `(*full)` on the network's grid: the nearest value of each pixel."""
        part = label[self.region]
        for axis, (size, wanted) in enumerate(zip(part.shape, self.shape, strict=True)):
            if size != wanted:
                centres = (np.arange(wanted) + 0.5) * (size / wanted)
                part = part.take(np.minimum(centres.astype(int), size - 1), axis)
        return part

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """Return `(maps, *shape)` on the file's grid, float32, linearly; 0 beyond the region."""
        size = tuple(part.stop - part.start for part in self.region)
        inside = resample(maps, size, smooth=False)
        if size == self.full:
            return inside
        whole = np.zeros((len(maps), *self.full), dtype=np.float32)
        whole[(slice(None), *self.region)] = inside
        return whole


def network_grid(image: Image, spec: InputSpec) -> Grid:
    """Return the grid on which a network with that input sees `image`."""
    rows, columns = image.region or (slice(None), slice(None))
    parts = (*(slice(None) for _ in range(image.spatial_dims - 2)), rows, columns)
    region = tuple(
        slice(*part.indices(size)[:2]) for part, size in zip(parts, image.shape, strict=True)
    )
    size = np.array([part.stop - part.start for part in region], dtype=float)
    if spec.isotropic and image.spatial_dims == 3 and not image.over_time:
        spacing = np.array(image.geometry.spacing[:3][::-1], dtype=float)
        if spacing.max() > ISOTROPIC * spacing.min() > 0:
            size *= spacing / min(spacing.max(), COARSENED * math.exp(np.log(spacing).mean()))
    if spec.longest_side:
        size[-2:] *= spec.longest_side / size[-2:].max()
    shape = tuple(max(1, round(side)) for side in size.tolist())
    return Grid(image.shape, region, shape)


def resample(channels: np.ndarray, shape: tuple[int, ...], smooth: bool = True) -> np.ndarray:
    """Return `(channels, *spatial)` linearly resampled to `(channels, *shape)`, float32.

    Args:
        smooth: blur along the axes that shrink, by a standard deviation of half of what the factor
            is above 1, so that detail finer than the new pixels does not alias.
    """
    channels = np.ascontiguousarray(channels, dtype=np.float32)
    if channels.shape[1:] == shape:
        return channels
    if smooth:
        for axis, wanted in enumerate(shape, start=1):
            sigma = (channels.shape[axis] / wanted - 1) / 2
            if sigma > 0:
                channels = ndimage.gaussian_filter1d(channels, sigma, axis, mode="nearest")
    tensor = torch.from_numpy(channels)[np.newaxis]
    result = functional.interpolate(tensor, shape, mode=_LINEAR[len(shape)], align_corners=False)
    return result[0].numpy()
