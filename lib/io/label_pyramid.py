"""Label images that are larger than memory, written by rows as OME-TIFF: tiles, and a pyramid."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lib.files import replaced_atomically
from lib.image import TIFF_EXTENSIONS
from lib.io.resolution import tiff_resolution

TILE = 512  # rows and columns
SMALLEST = 1024  # no level is made from one that is not larger
DTYPE = np.dtype(np.int32)


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of the levels of a pyramid, each half of the one before."""
    shapes = [shape]
    while max(shapes[-1]) > SMALLEST:
        rows, columns = shapes[-1]
        shapes.append((-(-rows // 2), -(-columns // 2)))
    return shapes


def write_label_pyramid(
    path: Path,
    bands: Iterable[np.ndarray],
    shape: tuple[int, int],
    spacing: tuple[float, float] | None = None,
) -> None:
    """Write a label image, int32, as BigTIFF with OME-XML; whole or not at all.

    A level has every second row and column of the one before. Levels wait in files of their own,
    which take a third of the space of the label image, until the largest is written.

    Args:
        bands: labels `(rows, columns)`, from the first row to the last.
        shape: rows and columns of the image.
        spacing: size of a pixel along x and y in millimetres.
    """
    import tifffile

    shapes = level_shapes(shape)
    common: dict[str, Any] = {
        "dtype": DTYPE,
        "tile": (TILE, TILE),
        "photometric": "minisblack",
        "compression": "zlib",
        "compressionargs": {"level": 1},
        "maxworkers": 1,
    }
    metadata: dict[str, Any] = {"axes": "YX"}
    for axis, size in zip("XY", spacing or (), strict=False):
        metadata |= {f"PhysicalSize{axis}": size * 1000, f"PhysicalSize{axis}Unit": "µm"}
    resolution = tiff_resolution(spacing) if spacing else {}
    with ExitStack() as stack:
        temporary = stack.enter_context(replaced_atomically(path, TIFF_EXTENSIONS[0]))
        waiting: list[BinaryIO] = [
            stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in shapes[1:]
        ]
        with tifffile.TiffWriter(temporary, bigtiff=True, ome=True) as writer:
            writer.write(
                _tiles(_halved(bands, waiting), shape),
                shape=shape,
                subifds=len(waiting),
                metadata=metadata,
                **resolution,
                **common,
            )
            for smaller, file in zip(shapes[1:], waiting, strict=True):
                file.seek(0)
                rows = _read(file, smaller)
                writer.write(_tiles(rows, smaller), shape=smaller, subfiletype=1, **common)


def _halved(bands: Iterable[np.ndarray], files: list[BinaryIO]) -> Iterator[np.ndarray]:
    """Yield `bands`, and write every second row and column into the first file, and so on."""
    rows = [0] * len(files)  # that were halved so far
    for band in bands:
        half = band
        for level, file in enumerate(files):
            first = rows[level] % 2
            rows[level] += len(half)
            half = half[first::2, ::2]
            file.write(np.ascontiguousarray(half, DTYPE).tobytes())
        yield band


def _read(file: BinaryIO, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    rows, columns = shape
    for start in range(0, rows, TILE):
        count = min(TILE, rows - start)
        data = file.read(count * columns * DTYPE.itemsize)
        yield np.frombuffer(data, DTYPE).reshape(count, columns)


def _tiles(bands: Iterable[np.ndarray], shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the tiles of an image, row by row; those at the right and lower edge are filled up."""
    rows, columns = shape
    strip, held, done = np.zeros((TILE, columns), DTYPE), 0, 0
    for band in bands:
        while len(band):
            part = band[: TILE - held]
            strip[held : held + len(part)] = part
            held, done, band = held + len(part), done + len(part), band[len(part) :]
            if held == TILE or done == rows:
                strip[held:] = 0
                held = 0
                for x in range(0, columns, TILE):
                    tile = np.zeros((TILE, TILE), DTYPE)
                    piece = strip[:, x : x + TILE]
                    tile[:, : piece.shape[1]] = piece
                    yield tile
