"""TIFFs that are larger than memory, read by rows: tiles or strips, the full size of a pyramid.

Only what the rows need is read and decoded. A file is opened anew for each read, where files are
read in workers there as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import InputError
from lib.image import TIFF_EXTENSIONS, by, check_decoded_bytes, damaged, has_extension
from lib.io.axes import tiff_layout
from lib.io.channels import RGB, channel_name, choose_channel
from lib.io.decoded import check_values
from lib.io.opening import MAX_TILES, check_inflated_segment, count_pages
from lib.io.pixel_size import described_size
from lib.io.read import default_channel, image_files
from lib.isolation.calls import isolated

if TYPE_CHECKING:
    import tifffile

MOST_PIXELS = 2**32  # 65,536 x 65,536
MOST_COLUMNS = 2**17  # some thousand rows are in memory
MOST_SEGMENT_BYTES = 2**26  # of a strip or tile when decoded
_ORIENTATION, _CONTIGUOUS, _UNCOMPRESSED, _NO_PREDICTOR = 274, 1, 1, 1
_COLOURS = (2, 6)  # PhotometricInterpretation: RGB, YCbCr


@dataclass(frozen=True)
class LargeImage:
    """An image of one plane that is read by rows.

    Attributes:
        path: the file.
        shape: rows and columns.
        colour: whether pixels are red, green, blue.
        channel: name or number of the channel that is read, where there are several.
        spacing: size of a pixel along x and y in millimetres; None where the file does not tell it.
    """

    path: Path
    shape: tuple[int, int]
    colour: bool
    channel: str
    spacing: tuple[float, float] | None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return pixels `(stop - start, columns)`, in colour `(..., 3)`.

        Raises:
            InputError: damaged, or compressed in a way that is not read.
        """
        return read_rows(self.path, start, stop, self.channel)


def large_image(path: Path, max_pixels: int, channel: str = "") -> LargeImage | None:
    """Return an image that has more than `max_pixels`; None for others, and what is no such TIFF.

    Args:
        channel: the one asked for, see `lib.io.read.read_image`.

    Raises:
        InputError: it is too large, has several channels of which none is chosen, or cannot be
            read by rows.
    """
    if not has_extension(path, TIFF_EXTENSIONS) or not path.is_file():
        return None
    asked = channel.strip()
    found = _look(path, max_pixels, asked or default_channel(path), bool(asked))
    if found is None:
        return None
    shape, colour, name = found
    size = described_size(path)
    return LargeImage(path, shape, colour, name, (size[0], size[1]) if size else None)


@isolated(image_files)
def _look(
    path: Path, max_pixels: int, channel: str, required: bool
) -> tuple[tuple[int, int], bool, str] | None:
    """Return rows and columns, whether it has colour, and its channel; None if it is not large.

    Args:
        required: whether to refuse a channel that is not there.
    """
    import tifffile

    count_pages(path)
    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            first: Any = tiff.pages[0]
            shape = int(first.imagelength), int(first.imagewidth)
    except Exception:  # the reader of pictures says what is wrong
        return None
    if math.prod(shape) <= max_pixels:
        return None
    if math.prod(shape) > MOST_PIXELS or shape[1] > MOST_COLUMNS:
        raise InputError(
            f"{path.name}: {by(shape[::-1])} pixels are too many, at most {MOST_PIXELS} in rows of "
            f"at most {MOST_COLUMNS} are accepted; crop the image"
        )
    with _opened(path) as tiff:
        page, sample, name = _plane(path, tiff, channel, required)
        _check(path, page)
        return shape, sample is None and _is_coloured(page), name


@isolated(image_files)
def read_rows(path: Path, start: int, stop: int, channel: str = "") -> np.ndarray:
    """Return rows of an image that `large_image` accepts; see `LargeImage.read`."""
    with _opened(path) as tiff:
        page, sample, _ = _plane(path, tiff, channel)
        try:
            pixels = _rows(path, tiff, page, start, stop)
        except InputError:
            raise
        except Exception as error:
            if "imagecodecs" in str(error):
                raise InputError(
                    f"{path.name}: compressed in a way that is not read here; save it with "
                    f"Deflate (zip), in tiles"
                ) from None
            raise damaged(path, error) from None
        if sample is not None:
            pixels = pixels[..., sample]
        else:
            pixels = pixels[..., :3] if _is_coloured(page) else pixels[..., 0]
    check_values(path, pixels)
    return pixels


def _opened(path: Path) -> tifffile.TiffFile:
    import tifffile

    try:
        return tifffile.TiffFile(path, _multifile=False)
    except Exception as error:
        raise damaged(path, error) from None


def _plane(
    path: Path, tiff: tifffile.TiffFile, channel: str, required: bool = False
) -> tuple[Any, int | None, str]:
    """Return the page of the channel asked for, its sample of a pixel, and the channel's name."""
    layout = tiff_layout(path, channel)
    if layout is None:
        return _coloured_plane(path, tiff.pages[0], (), channel, required)
    if layout.depth:
        planes = by([layout.shape[layout.axes.index(axis)] for axis in layout.depth])
        raise InputError(
            f"{path.name}: {planes} planes of {by(layout.size[:2])} pixels, expected one so large; "
            f"export a single plane"
        )
    pages = tiff.series[0].pages
    if not layout.channel:
        return _coloured_plane(path, pages[0].aspage(), layout.names, channel, required)
    index = choose_channel(path.name, layout.names, channel)
    name = channel_name(layout.names, index)
    if layout.channel == "S":
        return pages[0].aspage(), index, name
    if len(pages) != len(layout.names) or pages[index] is None:
        raise InputError(
            f"{path.name}: its {len(layout.names)} channels do not lie in a page each; export the "
            f"channel to answer as its own file"
        )
    return pages[index].aspage(), None, name


def _coloured_plane(
    path: Path, page: Any, names: tuple[str, ...], channel: str, required: bool
) -> tuple[Any, int | None, str]:
    """Return a page of grey or colour, of which a colour may be asked for; see `_plane`.

    Args:
        names: of its one channel, if it has any.
    """
    coloured = _is_coloured(page)
    channels = RGB if coloured else names or ("",)
    try:
        index = choose_channel(path.name, channels, channel) if channel else None
    except InputError:
        if required:
            raise
        index = None
    if index is None:
        return page, None, ""
    return page, index if coloured else None, channels[index]


def _is_coloured(page: Any) -> bool:
    return int(page.photometric) in _COLOURS and page.samplesperpixel >= 3


def _check(path: Path, page: Any) -> None:
    """Refuse a page whose rows cannot be read by themselves."""
    turned = page.tags.get(_ORIENTATION)
    if turned is not None and int(turned.value) != 1:
        raise InputError(
            f"{path.name}: turned by its orientation tag, which is not read at this size; save it "
            f"upright"
        )
    sides = _segment_sides(page)
    if not _is_plain(page):
        value_bytes = page.dtype.itemsize
        name = f"{path.name}, a strip or tile"
        check_decoded_bytes(name, sides, value_bytes, page.samplesperpixel, MOST_SEGMENT_BYTES)
    if len(page.dataoffsets) > MAX_TILES:
        raise InputError(
            f"{path.name}: {len(page.dataoffsets)} strips or tiles are too many, at most "
            f"{MAX_TILES} are accepted; save it with tiles of 512 x 512"
        )


def _is_plain(page: Any) -> bool:
    """Tell whether any row can be read from strips as it is stored."""
    return (
        not page.is_tiled
        and int(page.compression) == _UNCOMPRESSED
        and int(page.predictor) == _NO_PREDICTOR
        and (int(page.planarconfig) == _CONTIGUOUS or page.samplesperpixel == 1)
        and page.bitspersample == page.dtype.itemsize * 8
    )


def _segment_sides(page: Any) -> tuple[int, int]:
    """Return rows and columns of a strip or tile."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _rows(path: Path, tiff: tifffile.TiffFile, page: Any, start: int, stop: int) -> np.ndarray:
    """Return rows of all samples of a pixel, `(rows, columns, samples)`."""
    high, wide = _segment_sides(page)
    columns, samples = int(page.imagewidth), int(page.samplesperpixel)
    rows = np.zeros((stop - start, columns, samples), page.dtype)
    across, down = -(-columns // wide), -(-int(page.imagelength) // high)
    apart = int(page.planarconfig) != _CONTIGUOUS and samples > 1
    file, plain = tiff.filehandle, _is_plain(page)
    for index, plane, y, x in (
        (plane * down * across + y * across + x, plane, y * high, x * wide)
        for plane in range(samples if apart else 1)
        for y in range(start // high, -(-stop // high))
        for x in range(across)
    ):
        first, last = max(start, y), min(stop, y + high, int(page.imagelength))
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if plain:
            each = columns * samples * page.dtype.itemsize
            file.seek(offset + (first - y) * each)
            data = file.read((last - first) * each)
            stored = np.frombuffer(data, page.dtype.newbyteorder(tiff.byteorder))
            rows[first - start : last - start] = stored.reshape(last - first, columns, samples)
            continue
        if count == 0:  # a tile that is left out is background
            continue
        file.seek(offset)
        data = file.read(count)
        check_inflated_segment(path, data, int(page.compression), MOST_SEGMENT_BYTES)
        segment, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
        if segment is None:
            continue
        part = segment[0, first - y : last - y, : columns - x]
        target = rows[first - start : last - start, x : x + part.shape[1]]
        target[..., slice(plane, plane + 1) if apart else slice(None)] = part
    return rows
