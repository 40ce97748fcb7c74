"""Leica's LIF, by liffile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.image import MAX_BYTES, check_decoded_bytes
from lib.io.scenes import Scene, as_planes, check_axes, require

_READ = "TZYXCS"  # axes
_IMAGE = "./Data/Image/ImageDescription"
_UNITS = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3}  # micrometres
_BEGINS = b"\x70\x00\x00\x00"  # one file that holds its pixels; others name files


@contextmanager
def scenes_in(path: Path) -> Iterator[list[Scene]]:
    """Yield the images of a file; they are read while it is open.

    Raises:
        InputError: the library is missing, or the file names others that hold its pixels.
    """
    require("liffile", path, "LIF")
    import liffile

    with open(path, "rb") as stored:
        if stored.read(4) != _BEGINS:
            raise InputError(
                f"{path.name}: damaged, or no LIF that holds its own pixels; export one .lif file"
            )
    with liffile.LifFile(path) as file:
        yield [
            _scene(path, image)
            for image in file.images
            if {"Y", "X"} <= set(image.sizes)  # others are lines, points or lifetimes
        ]


def _scene(path: Path, image: Any) -> Scene:
    sizes = {str(axis): int(size) for axis, size in image.sizes.items()}
    check_axes(path, sizes, {axis: size for axis, size in sizes.items() if axis not in _READ})
    colour = sizes.get("S", 1) == 3
    if sizes.get("S", 1) > 1 and (not colour or sizes.get("C", 1) > 1):
        check_axes(path, sizes, {"S": sizes["S"]})
    names = () if colour else _channels(image.xml_element)
    count = sizes.get("C", 1)
    return Scene(
        name=str(image.name or ""),
        sizes={axis: sizes[axis] for axis in "TZYX" if axis in sizes},
        channels=names if len(names) == count else ("",) * count,
        dtype=np.dtype(image.dtype),
        read=partial(_read, path, image, colour),
        colour=colour,
        spacing=_spacing(image.xml_element),
    )


def _read(path: Path, image: Any, colour: bool, index: int) -> np.ndarray:
    sizes = {str(axis): int(size) for axis, size in image.sizes.items()}
    shape = tuple(sizes.values())[::-1]
    check_decoded_bytes(path.name, shape, image.dtype.itemsize, 1, MAX_BYTES)
    pixels, axes = np.asarray(image.asarray()), "".join(sizes)
    if "C" in axes:
        pixels, axes = pixels.take(index, axes.index("C")), axes.replace("C", "")
    return as_planes(pixels, axes, colour)


def _channels(element: Any) -> tuple[str, ...]:
    """Return the dye of each channel, else the name of its colours."""
    names = []
    for channel in element.findall(f"{_IMAGE}/Channels/ChannelDescription"):
        told = {
            one.findtext("Key", ""): one.findtext("Value", "")
            for one in channel.findall("ChannelProperty")
        }
        names.append(told.get("DyeName") or channel.get("LUTName") or "")
    return tuple(names)


def _spacing(element: Any) -> tuple[float, float, float]:
    """Return the size of a pixel in micrometres: lengths go from first to last pixel."""
    sizes = {}
    for one in element.findall(f"{_IMAGE}/Dimensions/DimensionDescription"):
        steps = int(one.get("NumberOfElements", 1)) - 1
        length = abs(float(one.get("Length", 0))) * _UNITS.get(one.get("Unit", ""), 0.0)
        sizes[one.get("DimID")] = length / steps if steps > 0 else 0.0
    return (sizes.get("1", 0.0), sizes.get("2", 0.0), sizes.get("3", 0.0))
