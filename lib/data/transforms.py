"""Make the network input of an image, in training as in serving."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from lib.data.grid import network_grid
from lib.errors import InputError
from lib.image import LUMINANCE, Image, is_coloured
from lib.tasks.image_spec import COLOURS, InputSpec

BRIGHT = 0.4  # brightness of half of a stained section's pixels, as a share of the brightest
SAMPLE = 500_000  # pixels whose percentiles make a scale


def prepare_image(image: Image, spec: InputSpec, diameter: float = 0.0) -> np.ndarray:
    """Return `image` as network input: grey, or the colours of a section, scaled to 0..1.

    The spec's lower and upper percentile, or the ends of its window, become 0 and 1; values beyond
    are clipped. A constant image becomes all zero, if there is no window.

    Args:
        diameter: of the image's objects, see `lib.data.grid.magnification`.

    Returns:
        float32 `(channels, *spatial)`, see `as_channels`, on the image's
        `lib.data.grid.network_grid`.

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
    grid = network_grid(image, spec, diameter)
    if math.prod(grid.shape) > max(spec.max_pixels, math.prod(image.shape)):
        raise InputError(
            f"{image.path.name}: {size} voxels become {' x '.join(map(str, grid.shape[::-1]))} at "
            f"a spacing of {spec.spacing} mm, expected at most {spec.max_pixels} in all; crop it"
        )
    colours = spec.coloured and is_stained(image)
    greys = []
    for grey in separate(image.pixels, image.colour, colours):
        seen = grey[grid.region]
        step = sample_step(seen.shape)
        sample = seen[(slice(None, None, step),) * seen.ndim]
        extremes = lambda: (float(seen.min()), float(seen.max()))  # noqa: B023, E731
        scale = Scale.of(sample, extremes, lambda: colours or is_stained(image), spec)
        greys.append(scale.apply(grey))
    return as_channels(grid.apply(np.stack(greys)), spec)


def is_stained(image: Image) -> bool:
    """Tell whether an image is a picture of a stained section: coloured, and not mostly black.

    Where light is absorbed, most pixels keep a good part of the brightest; where it is emitted, as
    in fluorescence, most are nearly black. The share of the image that nuclei cover does not count.
    """
    if not is_coloured(image):
        return False
    step = max(1, int((math.prod(image.shape) / SAMPLE) ** 0.5))
    return absorbs_light(image.pixels[..., ::step, ::step, :].max(-1))


def absorbs_light(brightness: np.ndarray) -> bool:
    """Tell whether pixels, the brightest of their colours each, are not mostly black."""
    middle, brightest = np.percentile(brightness, (50, 99.8))
    return bool(middle > BRIGHT * brightest)


def separate(pixels: np.ndarray, colour: bool, colours: bool) -> list[np.ndarray]:
    """Return the luminance of pixels, or where `colours` red, green and blue: float32 each."""
    if colours:
        return [pixels[..., index].astype(np.float32) for index in range(len(COLOURS))]
    return [luminance(pixels, colour)]


def as_channels(greys: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return scaled greys `(greys, *spatial)` as the input of a network of `spec.channels`.

    A single grey that a network sees several times takes the memory of one: write to none of them.
    """
    count = len(spec.channels)
    if len(greys) == count:
        return greys
    return as_strided(greys, (count, *greys.shape[1:]), (0, *greys.strides[1:]))


def with_type(channels: np.ndarray, kind: type[np.floating[Any]]) -> np.ndarray:
    """Return what `as_channels` returned with another type of numbers, in as little memory."""
    if channels.strides[0] or len(channels) == 1:
        return channels.astype(kind)
    one = channels[:1].astype(kind)
    return as_strided(one, channels.shape, (0, *one.strides[1:]))


def luminance(pixels: np.ndarray, colour: bool) -> np.ndarray:
    """Return pixels as grey, a new float32 array `(*spatial)`."""
    grey = pixels.astype(np.float32)
    return grey @ LUMINANCE if colour else grey


def sample_step(shape: Sequence[int]) -> int:
    """Return k such that every k-th pixel along each axis is enough for a scale."""
    return max(1, int((math.prod(shape) / SAMPLE) ** (1 / len(shape))))


@dataclass(frozen=True)
class Scale:
    """What makes the greys of an image 0..1.

    Attributes:
        low, high: the greys that become 0 and 1; where they are equal, all becomes 0.
        inverted: whether 0 and 1 then change places.
    """

    low: float
    high: float
    inverted: bool

    @staticmethod
    def of(
        sample: np.ndarray,
        extremes: Callable[[], tuple[float, float]],
        stained: Callable[[], bool],
        spec: InputSpec,
    ) -> Scale:
        """Return the scale of an image.

        Args:
            sample: every k-th pixel, see `sample_step`: exact enough, and fast on large images.
            extremes: returns the least and the greatest grey of the image. They are the scale of a
                nearly constant one, to keep the few other pixels.
            stained: returns whether it shows a stained section, see `is_stained`.
        """
        low, middle, high = np.percentile(sample, (spec.percentiles[0], 50, spec.percentiles[1]))
        if spec.window:
            low, high = spec.window
        elif high <= low or spec.percentiles == (0, 100):
            low, high = extremes()
        inverted = spec.dark_background and (bool(middle > (low + high) / 2) or stained())
        return Scale(float(low), float(high), inverted)

    def apply(self, grey: np.ndarray) -> np.ndarray:
        """Scale greys, float32, in place: a volume takes four bytes for each voxel here."""
        if self.high <= self.low:
            grey[:] = 0
            return grey
        grey -= self.low
        grey /= self.high - self.low
        np.clip(grey, 0.0, 1.0, out=grey)
        if self.inverted:
            np.subtract(1.0, grey, out=grey)
        return grey


def mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Return indices in 0..length-1: those outside are mirrored at the border pixels."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    index = np.abs(index) % period
    return np.where(index < length, index, period - index)
