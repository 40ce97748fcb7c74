"""Nikon's ND2, by nd2."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.image import MAX_BYTES, check_decoded_bytes
from lib.io.scenes import Scene, check_axes, require

_MAGIC = bytes.fromhex("dacebe0a")
_FRAME = re.compile(rb"ImageDataSeq\|(\d{1,10})!(.{8})", re.DOTALL)
_MOST_NAMES = 1 << 28  # bytes
_HEAD = 4096  # bytes of a frame before its pixels
_READ = "TZYXCSP"  # axes; positions (P) are scenes


@contextmanager
def scenes_in(path: Path) -> Iterator[list[Scene]]:
    """Yield the positions of a file; they are read while it is open.

    Raises:
        InputError: the library is missing, or the file has other axes.
    """
    require("nd2", path, "ND2")
    import nd2

    with nd2.ND2File(path) as file:
        sizes = {str(axis): int(size) for axis, size in file.sizes.items()}
        check_axes(path, sizes, {axis: size for axis, size in sizes.items() if axis not in _READ})
        channels = () if file.is_rgb else _channels(file)
        count = sizes.get("C", 1)
        names = channels if len(channels) == count else ("",) * count
        positions = sizes.get("P", 1)
        yield [
            Scene(
                name="",
                sizes={axis: sizes[axis] for axis in "TZYX" if axis in sizes},
                channels=names,
                dtype=np.dtype(file.dtype),
                read=partial(_read, path, file, sizes, position),
                colour=bool(file.is_rgb),
                spacing=_spacing(file),
            )
            for position in range(positions)
        ]


def _channels(file: Any) -> tuple[str, ...]:
    channels = getattr(file.metadata, "channels", None) or ()
    return tuple(str(one.channel.name or "") for one in channels)


def _spacing(file: Any) -> tuple[float, float, float]:
    """Return the size of a pixel in micrometres, 0 along axes that were not calibrated."""
    channels = getattr(file.metadata, "channels", None) or ()
    if not channels:
        return (0.0, 0.0, 0.0)
    volume = channels[0].volume
    x, y, z = (
        float(size) if known else 0.0
        for size, known in zip(volume.axesCalibration, volume.axesCalibrated, strict=False)
    )
    return (x, y, z)


def _read(path: Path, file: Any, sizes: dict[str, int], position: int, index: int) -> np.ndarray:
    """Return the planes of a channel, `(T, Z, Y, X)`, in colour `(..., 3)`."""
    times, slices = sizes.get("T", 1), sizes.get("Z", 1)
    samples = sizes.get("C", 1) * sizes.get("S", 1)
    size = (sizes["X"], sizes["Y"])
    check_decoded_bytes(f"{path.name}, a frame", size, file.dtype.itemsize, samples, MAX_BYTES)
    at = {
        (one.get("T", 0), one.get("Z", 0)): number
        for number, one in enumerate(file.loop_indices)
        if one.get("P", 0) == position
    }
    frames = [at[time, depth] if at else 0 for time in range(times) for depth in range(slices)]
    _check_frames(path, file, frames)
    planes = []
    for number in frames:
        frame = np.asarray(file.read_frame(number))
        if not file.is_rgb and frame.ndim == 3:
            frame = frame[index]
        planes.append(frame[..., :3] if file.is_rgb else frame)
    pixels = np.stack(planes)
    return pixels.reshape(times, slices, *pixels.shape[1:])


def _check_frames(path: Path, file: Any, frames: Sequence[int]) -> None:
    """Refuse a file without some of its frames: the library answers black ones for them.

    Raises:
        InputError: some are missing, or lie beyond the end of the file.
    """
    held = _places(path)
    if held is None:
        return
    about, end = file.attributes, path.stat().st_size
    plain = about.compressionType != "lossless"
    long = about.heightPx * about.widthBytes if plain and about.widthBytes else 0
    missing = [number for number in frames if held.get(number, end) + _HEAD + long > end]
    if missing:
        raise InputError(
            f"{path.name}: {len(missing)} of its {len(frames)} frames are not in the file; it is "
            f"damaged, copy it again"
        )


def _places(path: Path) -> dict[int, int] | None:
    """Return where each frame begins, by its number; None for the older form of files."""
    with open(path, "rb") as stored:
        if stored.read(4) != _MAGIC:
            return None
        stored.seek(-8, 2)
        (start,) = struct.unpack("<Q", stored.read(8))
        stored.seek(start)
        names = stored.read(_MOST_NAMES)
    return {int(number): struct.unpack("<Q", place)[0] for number, place in _FRAME.findall(names)}
