"""Volumes of which a voxel has several numbers: colours, or channels of which one is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.image import Geometry
from lib.io.channels import channel_choices, choose_channel
from lib.io.volumes import decoded_volume, header_fields, volume_size

_WITH_ALPHA, _NIFTI_RGBA = ("RGBA-color", "4-color"), "2304"


def read_channel(
    path: Path, max_pixels: int, spatial_dims: int, channel: str = ""
) -> tuple[np.ndarray, Geometry, str]:
    """Read one 2D image or one volume, of several channels the one asked for.

    Three components of whole numbers are red, green and blue; others are channels. If a channel is
    asked for by its number, so are the volumes of a series.

    Returns:
        Pixels `(rows, columns)` or `(slices, rows, columns)`, in colour `(..., 3)`; the geometry;
        and the number of the channel where the file has several, else "".

    Raises:
        InputError: as `read_volume`, or with several channels of which none is chosen.
    """
    size = volume_size(path)
    image, pixels = decoded_volume(path, max_pixels, spatial_dims, layered=channel.isdecimal())
    geometry = Geometry.of(image)
    if pixels.ndim == spatial_dims:
        return pixels.copy(), geometry, ""
    count = pixels.shape[-1]
    if len(size) < 4 and (
        count == 4 and _has_alpha(path) or count == 3 and pixels.dtype.kind in "iu"
    ):
        return pixels[..., :3].copy(), geometry, ""
    index = choose_channel(path.name, ("",) * count, channel)
    return pixels[..., index].copy(), geometry, str(index + 1)


def volume_channels(path: Path, channel: str = "") -> tuple[str, ...]:
    """Return by what each channel of a volume is chosen, from its header; empty for none to choose.

    Args:
        channel: the one that is chosen without a choice; by a number the volumes of a series are
            channels.
    """
    told, axes = header_fields(path), len(volume_size(path))
    if axes < 4:
        colour = told.layers == 3 and not told.real or told.layers == 4 and _has_alpha(path)
        count = 1 if colour else told.layers
    else:
        count = told.layers if channel.isdecimal() else 1
    return channel_choices(("",) * count) if count > 1 else ()


def _has_alpha(path: Path) -> bool:
    told = header_fields(path).metadata
    return told.get("NRRD_kinds[pixel]") in _WITH_ALPHA or told.get("datatype") == _NIFTI_RGBA
