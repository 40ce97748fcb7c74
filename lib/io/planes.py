"""The pixels of pictures and TIFFs, of several channels one: as image, volume or loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import InputError
from lib.image import (
    MAX_VOXELS,
    TIFF_EXTENSIONS,
    check_decoded_bytes,
    check_dimensions,
    check_pixel_count,
    damaged,
    has_extension,
)
from lib.io.axes import UNTOLD, TiffLayout, tiff_layout
from lib.io.channels import channel_choices, channel_name, choose_channel
from lib.io.opening import check_inflated, count_pages, open_picture
from lib.io.orientation import as_shown, as_stored
from lib.io.pictures import read_picture, read_stack

if TYPE_CHECKING:
    import tifffile

FEW_PAGES = 5  # as many may well be channels


def read_pixels(
    path: Path, max_pixels: int, spatial_dims: int, channel: str = ""
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a picture or a stack, of several channels the one asked for.

    Returns:
        Pixels `(rows, columns)` or `(slices, rows, columns)`, in colour `(..., channels)`; and the
        fields of `lib.image.Image` that tell how they were read.

    Raises:
        InputError: damaged, of other dimensions, larger than `max_pixels`, or with several channels
            of which none is chosen.
    """
    tiff = has_extension(path, TIFF_EXTENSIONS)
    layout = tiff_layout(path, channel) if tiff else None
    read = read_picture if spatial_dims == 2 else read_stack
    if layout is None:
        return read(path, max_pixels), {}
    facts: dict[str, Any] = {"over_time": layout.depth == "T" and spatial_dims == 3}
    if not layout.channel and layout.names and layout.names[0].casefold() == channel.casefold():
        facts["channel"] = layout.names[0]
    paged = len(layout.size) <= 3 and "SY" not in layout.axes
    if paged and not layout.channel and count_pages(path) == math.prod(layout.size[2:]):
        if layout.depth == UNTOLD and layout.size[-1] <= FEW_PAGES:
            facts["notes"] = (
                f"its {layout.size[-1]} pages were read as slices, as nothing in the file tells "
                f"what they are; if they are channels, choose one by its number",
            )
        return read(path, max_pixels), facts
    check_dimensions(path, layout.size, spatial_dims)
    check_pixel_count(path.name, layout.size, max_pixels)
    if not layout.channel:
        return _read_planes(path, layout, 0), facts
    index = choose_channel(path.name, layout.names, channel)
    facts["channel"] = channel_name(layout.names, index)
    return _read_planes(path, layout, index), facts


def picture_channels(path: Path, channel: str = "") -> tuple[str, ...]:
    """Return by what each channel of a picture is chosen; empty for grey and colour.

    Args:
        channel: the one that is chosen without a choice; by a number, pages of which nothing is
            told are channels.
    """
    layout = tiff_layout(path, channel) if has_extension(path, TIFF_EXTENSIONS) else None
    return channel_choices(layout.names) if layout is not None and layout.channel else ()


def _read_planes(path: Path, layout: TiffLayout, index: int) -> np.ndarray:
    """Read the pixels of one channel.

    Args:
        index: of the channel, from 0; 0 where there is one.

    Returns:
        `(rows, columns)` or `([frames,] [slices,] rows, columns)`, in colour `(..., 3)`.

    Raises:
        InputError: damaged, with planes in another file, too large, or compressed in a way that is
            not read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            pixels, axes = _planes(path, tiff, layout, index)
    except InputError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None
    if "S" in axes:
        last = np.moveaxis(pixels, axes.index("S"), -1)
        axes = axes.replace("S", "") + "S"
        pixels = last[..., :3] if layout.samples == 3 else last[..., 0]
        axes = axes if layout.samples == 3 else axes[:-1]
    wanted = layout.depth + "YX" + ("S" if axes.endswith("S") else "")
    pixels = pixels.transpose([axes.index(axis) for axis in wanted])
    pixels = as_shown(path, pixels, rows=len(layout.depth))
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def _planes(
    path: Path, tiff: tifffile.TiffFile, layout: TiffLayout, index: int
) -> tuple[np.ndarray, str]:
    """Return the pixels of one channel, and their axes in the order of the file."""
    axes, shape = layout.axes, layout.shape
    several = len(tiff.series) > 1
    pages = list(tiff.pages) if several else list(tiff.series[0].pages)
    inner, value_bytes = tiff.series[0].keyframe.shape, tiff.series[0].dtype.itemsize
    outer = len(shape) - len(inner)
    numbers: np.ndarray = np.arange(math.prod(shape[:outer])).reshape(shape[:outer])
    if len(pages) == 1 < numbers.size:  # all planes follow each other behind one page
        check_pixel_count(path.name, shape, MAX_VOXELS)
        check_decoded_bytes(path.name, shape, value_bytes)
        check_inflated(path, tiff.series[0].keyframe)
        pixels = tiff.series[0].asarray().reshape(shape)
    else:
        present = sum(page is not None for page in pages)
        if present < numbers.size:
            raise InputError(
                f"{path.name}: {numbers.size - present} of its {numbers.size} planes are not in "
                f"the file; export the whole image as one file"
            )
        if layout.channel in axes[:outer] and layout.channel:
            axis = axes.index(layout.channel)
            numbers, axes = numbers.take(index, axis), axes.replace(layout.channel, "")
        check_pixel_count(path.name, (*numbers.shape, *inner), MAX_VOXELS)
        check_decoded_bytes(path.name, (*numbers.shape, *inner), value_bytes)
        planes = _decoded(path, [pages[number] for number in numbers.ravel()])
        pixels = np.stack(planes).reshape(*numbers.shape, *inner)
    if layout.channel and layout.channel in axes:
        axis = axes.index(layout.channel)
        pixels, axes = pixels.take(index, axis), axes.replace(layout.channel, "")
    return pixels, axes


def _decoded(path: Path, pages: list[Any]) -> list[np.ndarray]:
    """Return the pixels of pages, by Pillow where tifffile lacks a decompressor."""
    try:
        planes = []
        for page in pages:
            check_inflated(path, page)
            planes.append(page.asarray())
        return planes
    except InputError:
        raise
    except Exception:
        if pages[0].samplesperpixel > 1:
            raise
    planes = []
    with open_picture(as_stored(path)) as picture:
        for page in pages:
            picture.seek(page.index)
            planes.append(np.asarray(picture).reshape(page.shape))
    return planes


def _unreadable(path: Path, error: Exception) -> InputError:
    if "imagecodecs" in str(error):
        return InputError(
            f"{path.name}: its channels are compressed in a way that is not read here; save it "
            f"uncompressed or with Deflate (zip)"
        )
    return damaged(path, error)
