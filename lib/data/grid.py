"""The pixel grid on which a network sees an image, and resampling from and to the file's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from lib.image import Geometry, Image
from lib.tasks.image_spec import InputSpec

ISOTROPIC = 1.05  # up to this ratio of the largest to the smallest spacing, they count as equal
MAGNIFIED = 4.0  # most that an image is magnified, or made smaller, for the size of its objects
COARSENED = 1.5  # largest ratio of the common spacing to the geometric mean of the spacings
_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Grid:
    """The file's pixel grid and the network's.

    Attributes:
        full: size of the file's grid, `(*spatial)` in array order.
        region: the part of it that the network sees, a slice along each axis.
        shape: size of the network's grid, which covers the region.
        order: of each axis of the network's grid the axis of the file's; empty where it is the
            same.
        flipped: axes of the network's grid that run against those of the file's.
    """

    full: tuple[int, ...]
    region: tuple[slice, ...]
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()
    flipped: tuple[int, ...] = ()

    def apply(self, channels: np.ndarray) -> np.ndarray:
        """Return intensities `(channels, *full)` on the network's grid, float32.

        Axes that shrink are first blurred by a Gaussian against aliasing. Then the pixels are
        interpolated linearly; the centre of the region stays where it is.
        """
        return resample(self._turned(channels[(slice(None), *self.region)]), self.shape)

    def apply_label(self, label: np.ndarray) -> np.ndarray:
        """Return a label image `(*full)` on the network's grid, by the nearest neighbour."""
        inside = self._turned(label[np.newaxis][(slice(None), *self.region)])[0]
        for axis, (size, new_size) in enumerate(zip(inside.shape, self.shape, strict=True)):
            if size != new_size:
                centres = (np.arange(new_size) + 0.5) * (size / new_size)
                inside = inside.take(np.minimum(centres.astype(int), size - 1), axis)
        return inside

    def _turned(self, channels: np.ndarray) -> np.ndarray:
        """Return `(channels, *spatial)` with the axes in the network's order and sense."""
        if self.order:
            channels = channels.transpose(0, *(axis + 1 for axis in self.order))
        if self.flipped:
            channels = np.flip(channels, tuple(axis + 1 for axis in self.flipped))
        return np.ascontiguousarray(channels) if self.order or self.flipped else channels

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """Return `(maps, *shape)` on the file's grid, float32, linearly; 0 outside the region."""
        size = tuple(span.stop - span.start for span in self.region)
        order = self.order or tuple(range(len(size)))
        inside = resample(maps, tuple(size[axis] for axis in order), smooth=False)
        if self.flipped:
            inside = np.flip(inside, tuple(axis + 1 for axis in self.flipped))
        if self.order:
            inside = inside.transpose(0, *(order.index(axis) + 1 for axis in range(len(size))))
        if self.order or self.flipped:
            inside = np.ascontiguousarray(inside)
        if size == self.full:
            return inside
        whole = np.zeros((len(maps), *self.full), dtype=np.float32)
        whole[(slice(None), *self.region)] = inside
        return whole


def _oriented(geometry: Geometry, axcodes: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return `Grid.order` and `Grid.flipped` for axes that point as `axcodes` says.

    Args:
        geometry: of a volume, in ITK's axes x, y, z; the patient's run left, posterior, superior.
        axcodes: as `InputSpec.orientation`.
    """
    from nibabel import orientations

    affine = np.eye(4)
    affine[:3, :3] = np.diag((-1, -1, 1)) @ np.reshape(geometry.direction, (3, 3))
    stored = orientations.io_orientation(affine)  # of each axis, where it points, and which way
    moves = orientations.ornt_transform(stored, orientations.axcodes2ornt(axcodes))
    place = [int(to) for to in moves[:, 0]]
    source = [place.index(axis) for axis in range(3)]  # of each new x, y, z the stored axis
    order = tuple(2 - source[2 - axis] for axis in range(3))
    flipped = tuple(axis for axis in range(3) if moves[source[2 - axis], 1] < 0)
    return (() if order == (0, 1, 2) else order), flipped


def fits_objects(image: Image, spec: InputSpec) -> bool:
    """Tell whether an image is resampled where the size of its objects is not a known one."""
    return bool(spec.object_sizes) and image.spatial_dims == 2


def magnification(diameter: float, spec: InputSpec) -> float:
    """Return by how much an image is resampled for the size of its objects; 1 leaves it as it is.

    Args:
        diameter: of its objects, pixels, see `lib.data.targets.typical_diameter`; 0 where that is
            not known.
    """
    if diameter <= 0:
        return 1.0
    least, greatest = spec.object_sizes or (0.0, math.inf)
    if least <= diameter <= greatest:
        return 1.0
    wanted = math.sqrt(least * greatest) / diameter
    return min(MAGNIFIED, max(1 / MAGNIFIED, wanted))


def network_grid(image: Image, spec: InputSpec, diameter: float = 0.0) -> Grid:
    """Return the grid on which a network whose input is `spec` sees `image`.

    Args:
        diameter: see `magnification`. The image stays within `spec.min_side` and `spec.max_pixels`.
    """
    rows, columns = image.region or (slice(None), slice(None))
    spans = (*(slice(None) for _ in range(image.spatial_dims - 2)), rows, columns)
    region = tuple(
        slice(*span.indices(size)[:2]) for span, size in zip(spans, image.shape, strict=True)
    )
    size = np.array([span.stop - span.start for span in region], dtype=float)
    volume = image.spatial_dims == 3 and not image.over_time
    order: tuple[int, ...] = ()
    flipped: tuple[int, ...] = ()
    spacing = np.array(image.spacing[:3][::-1], dtype=float) if volume else np.ones(0)
    if volume and spec.orientation and len(image.geometry.direction) == 9:
        order, flipped = _oriented(image.geometry, spec.orientation)
    if order:
        size, spacing = size[list(order)], spacing[list(order)]
    if volume and spec.spacing:
        wanted = np.array(spec.spacing[::-1])
        size *= np.divide(spacing, wanted, where=wanted > 0, out=np.ones(3))
    elif volume and spec.isotropic:
        if spacing.max() > ISOTROPIC * spacing.min() > 0:
            size *= spacing / min(spacing.max(), COARSENED * math.exp(np.log(spacing).mean()))
    if spec.longest_side:
        size[-2:] *= spec.longest_side / size[-2:].max()
    if fits_objects(image, spec) and (factor := magnification(diameter, spec)) != 1:
        most = max(1.0, math.sqrt(spec.max_pixels / size.prod()))
        least = min(1.0, spec.min_side / size.min())
        size *= max(least, min(most, factor))
    shape = tuple(max(1, round(side)) for side in size.tolist())
    return Grid(image.shape, region, shape, order, flipped)


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
