"""Decoded pixels as an image: alpha dropped, values checked, one colour taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.image import PICTURE_EXTENSIONS, Geometry, Image, has_extension
from lib.io.channels import RGB, choose_channel


def as_image(path: Path, pixels: np.ndarray, geometry: Geometry, spatial_dims: int) -> Image:
    """Return decoded `pixels` as an image, without alpha.

    Raises:
        InputError: neither grey nor colour of `spatial_dims` axes.
    """
    channels = pixels.shape[-1] if pixels.ndim == spatial_dims + 1 else 1
    if channels in (2, 4) and has_extension(path, PICTURE_EXTENSIONS):
        # alpha, as the file says; it carries no intensity
        pixels = pixels[..., 0] if channels == 2 else pixels[..., :3]
    colour = pixels.ndim == spatial_dims + 1
    if pixels.ndim != spatial_dims + colour or (colour and pixels.shape[-1] != 3):
        what = "2D image" if spatial_dims == 2 else "volume"
        raise InputError(
            f"{path.name}: expected one {what}, grey or colour, found an array of shape "
            f"{pixels.shape}; export a single {'slice or frame' if what != 'volume' else 'channel'}"
        )
    return Image(pixels, geometry, path, colour=colour)


def one_colour(image: Image, asked: str, required: bool) -> Image:
    """Return the colour asked for of an image that has no channels; a grey image as it is.

    Args:
        required: whether to refuse a channel that is not there; else the image stays as it is.
    """
    channels = RGB if image.colour else ("",)
    try:
        index = choose_channel(image.path.name, channels, asked)
    except InputError:
        if required:
            raise
        return image
    if not image.colour:
        return image
    return replace(image, pixels=image.pixels[..., index], colour=False, channel=RGB[index])


def check_values(path: Path, pixels: np.ndarray) -> None:
    """Raise `InputError` for values that are no whole or real numbers, or not finite."""
    if pixels.dtype.kind not in "biuf":
        raise InputError(
            f"{path.name}: holds values of type {pixels.dtype}, expected whole or real numbers; "
            f"export the magnitude image"
        )
    if pixels.dtype.kind == "f":
        finite = np.abs(pixels) <= np.finfo(np.float32).max  # networks compute in 32 bit
        if not finite.all():
            raise InputError(
                f"{path.name}: {int((~finite).sum())} of {pixels.size} pixel values are NaN or "
                f"infinite; expected finite intensities; repair or re-export the image"
            )
