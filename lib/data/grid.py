"""The pixel grid on which a network sees an image, and resampling from and to the file's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from lib.image import Image
from lib.tasks.image_spec import InputSpec

ISOTROPIC = 1.05  # up to this ratio of the largest to the smallest spacing, they count as equal
COARSENED = 1.5  # largest ratio of the common spacing to the geometric mean of the spacings
_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Grid:
    """The file's pixel grid and the network's.

    Attributes:
        full: size of the file's grid, `(*spatial)` in array order.
        region: the part of it that the network sees, a slice along each axis.
        shape: size of the network's grid, which covers the region.
    """

    full: tuple[int, ...]
    region: tuple[slice, ...]
    shape: tuple[int, ...]

    def apply(self, channels: np.ndarray) -> np.ndarray:
        """Return intensities `(channels, *full)` on the network's grid, float32.

        Axes that shrink are first blurred by a Gaussian against aliasing. Then the pixels are
        interpolated linearly; the centre of the region stays where it is.
        """
        return resample(channels[(slice(None), *self.region)], self.shape)

    def apply_label(self, label: np.ndarray) -> np.ndarray:
        """Return a label image `(*full)` on the network's grid, by the nearest neighbour."""
        inside = label[self.region]
        for axis, (size, new_size) in enumerate(zip(inside.shape, self.shape, strict=True)):
            if size != new_size:
                centres = (np.arange(new_size) + 0.5) * (size / new_size)
                inside = inside.take(np.minimum(centres.astype(int), size - 1), axis)
        return inside

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """Return `(maps, *shape)` on the file's grid, float32, linearly; 0 outside the region."""
        size = tuple(span.stop - span.start for span in self.region)
        inside = resample(maps, size, smooth=False)
        if size == self.full:
            return inside
        whole = np.zeros((len(maps), *self.full), dtype=np.float32)
        whole[(slice(None), *self.region)] = inside
        return whole


def network_grid(image: Image, spec: InputSpec) -> Grid:
    """Return the grid on which a network whose input is `spec` sees `image`."""
    rows, columns = image.region or (slice(None), slice(None))
    spans = (*(slice(None) for _ in range(image.spatial_dims - 2)), rows, columns)
    region = tuple(
        slice(*span.indices(size)[:2]) for span, size in zip(spans, image.shape, strict=True)
    )
    size = np.array([span.stop - span.start for span in region], dtype=float)
    if spec.isotropic and image.spatial_dims == 3 and not image.over_time:
        spacing = np.array(image.spacing[:3][::-1], dtype=float)
        if spacing.max() > ISOTROPIC * spacing.min() > 0:
            size *= spacing / min(spacing.max(), COARSENED * math.exp(np.log(spacing).mean()))
    if spec.longest_side:
        size[-2:] *= spec.longest_side / size[-2:].max()
    shape = tuple(max(1, round(side)) for side in size.tolist())
    return Grid(image.shape, region, shape)


def resample(channels: np.ndarray, shape: tuple[int, ...], smooth: bool = True) -> np.ndarray:
    """Return `(channels, *spatial)` linearly resampled to `(channels, *shape)`, float32.

    Args:
        smooth: first blur each axis that shrinks by a factor f with a Gaussian of standard
            deviation (f - 1) / 2 pixels, so that detail finer than the new pixels does not alias.
    """
    channels = np.ascontiguousarray(channels, dtype=np.float32)
    if channels.shape[1:] == shape:
        return channels
    if smooth:
        for axis, new_size in enumerate(shape, start=1):
            sigma = (channels.shape[axis] / new_size - 1) / 2
            if sigma > 0:
                channels = ndimage.gaussian_filter1d(channels, sigma, axis, mode="nearest")
    tensor = torch.from_numpy(channels)[np.newaxis]
    result = functional.interpolate(tensor, shape, mode=_LINEAR[len(shape)], align_corners=False)
    return result[0].numpy()
