"""Pictures opened within limits: of type, pages, and bytes when decoded or inflated."""

from __future__ import annotations

import io
import lzma
import math
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol

from PIL import Image as PillowImage

from lib.dicom.rle import unpacked
from lib.errors import InputError
from lib.image import DEFLATE_RATIO, MAX_BYTES, MAX_PICTURE_BYTES, by, check_decoded_bytes

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF")  # Pillow has many more parsers
_FILM = ".pgm"  # mammograms only, see lib.mammography.mammogram
MAX_PAGES = 8192
MAX_TILES = 1 << 18  # 8192 x 8192 in tiles of 16 x 16, the smallest of the standard
MAX_CHUNKS = 50_000  # of a PNG; Pillow takes a second for each 50,000
MAX_SCANS = 64  # of a JPEG, each of which is a pass over all pixels; usual are 10
_PNG, _JPEG, _SCAN = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xda"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how files begin
_BITS, _SAMPLES, _TILE_WIDTH, _TILE_LENGTH = 258, 277, 322, 323  # tags of a TIFF
_DEFLATE, _LZMA, _PACKBITS = (8, 32946), 34925, 32773  # values of its tag Compression
_BANDS = {"P": 3, "PA": 3}  # values of a pixel as read, by Pillow's mode; of others, its bands
_HARMLESS = 64_000_000  # bytes; no segment of a TIFF is looked at that cannot inflate to more


class _Inflater(Protocol):
    """What zlib and lzma decompress with."""

    eof: bool

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        """Return up to `max_length` further bytes."""


def open_picture(source: Path | io.BytesIO) -> PillowImage.Image:
    """Open a picture of a type that is read here; errors are those of Pillow.

    Raises:
        InputError: a PNG of too many chunks, or a JPEG of too many scans.
    """
    if not isinstance(source, Path):
        return PillowImage.open(source, formats=FORMATS)
    _check_parts(source)
    films = ("PPM",) if source.suffix.lower() == _FILM else ()
    return PillowImage.open(source, formats=(*FORMATS, *films))


def _check_parts(path: Path) -> None:
    """Refuse a picture of so many parts that its reader takes minutes."""
    with open(path, "rb") as file:
        head = file.read(8)
        if head == _PNG:
            chunks = 0
            while len(start := file.read(8)) == 8 and chunks <= MAX_CHUNKS:
                chunks += 1
                file.seek(int.from_bytes(start[:4], "big") + 4, io.SEEK_CUR)
            found, most, parts = chunks, MAX_CHUNKS, "chunks"
        elif head.startswith(_JPEG):
            found, most, parts = file.read().count(_SCAN), MAX_SCANS, "scans"
        else:
            return
    if found > most:
        raise InputError(
            f"{path.name}: more than {most} {parts}, expected a picture of fewer; save it again"
        )


def bits_per_channel(path: Path, picture: PillowImage.Image) -> int:
    """Return the bits per channel in the file."""
    if picture.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]
    tags = getattr(picture, "tag_v2", None)
    if tags is not None:
        bits = tags.get(_BITS, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def check_picture_bytes(path: Path, picture: PillowImage.Image, pages: int = 1) -> None:
    """Refuse a picture, or a TIFF of pages like the one that is open, of too many decoded bytes.

    Raises:
        InputError: too many; or tiles of a TIFF that are far larger than it, or too many.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    bands = _BANDS.get(picture.mode, len(picture.getbands()))
    samples = max(bands, int(tags.get(_SAMPLES, 1)))
    value_bytes = max(bits_per_channel(path, picture) // 8, 1)
    size = picture.size if pages == 1 else (*picture.size, pages)
    most = MAX_PICTURE_BYTES if pages == 1 else MAX_BYTES
    check_decoded_bytes(path.name, size, value_bytes, samples, most)
    if _TILE_WIDTH in tags:
        tile = int(tags[_TILE_WIDTH]), int(tags.get(_TILE_LENGTH, 1))
        check_decoded_bytes(f"{path.name}, a tile", tile, value_bytes, samples)
        tiles = math.prod(
            -(-side // max(part, 1)) for side, part in zip(picture.size, tile, strict=True)
        )
        if tiles > MAX_TILES:
            raise InputError(
                f"{path.name}: {tiles} tiles of {by(tile)} pixels are too many, at most "
                f"{MAX_TILES} are accepted; save it with tiles of 256 x 256"
            )


def count_pages(path: Path) -> int:
    """Return the number of pages of a TIFF, at most `MAX_PAGES`; 1 for other files.

    Counted by hand: both readers silently stop where the chain of pages is broken.

    Raises:
        InputError: the chain of pages leads out of the file, in a circle, or on and on.
    """
    with open(path, "rb") as file:
        head, held = file.read(16), path.stat().st_size
        if head[:4] not in _TIFF:
            return 1
        order = "<" if head[:2] == b"II" else ">"
        big = 43 in head[2:4]  # BigTIFF: 64-bit offsets
        count, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
        pages: set[int] = set()
        try:
            (start,) = struct.unpack_from(order + offset, head, 8 if big else 4)
            while start:
                if start in pages:
                    raise InputError(f"{path.name}: damaged, its pages form a circle; save it anew")
                if len(pages) == MAX_PAGES:
                    raise InputError(
                        f"{path.name}: holds more than {MAX_PAGES} pages, which is too many; save "
                        f"it in parts"
                    )
                file.seek(min(start, held))  # BigTIFF's may be larger than can be sought
                (entries,) = struct.unpack(order + count, file.read(struct.calcsize(count)))
                file.seek(min(file.tell() + entry * entries, held))
                pages.add(start)
                (start,) = struct.unpack(order + offset, file.read(struct.calcsize(offset)))
        except (struct.error, OSError):
            raise InputError(
                f"{path.name}: truncated after page {len(pages)}; copy it again"
            ) from None
    return len(pages)


def check_inflated(path: Path, page: Any) -> None:
    """Refuse a page whose strips or tiles inflate to far more than the page.

    tifffile inflates each of them to its end. Those that are short enough are not looked at.

    Args:
        page: of tifffile.

    Raises:
        InputError: they do.
    """
    most = max(page.nbytes, _HARMLESS)
    compression = int(page.compression)
    if compression not in (*_DEFLATE, _LZMA, _PACKBITS):
        return
    held = path.stat().st_size
    with open(path, "rb") as file:
        for start, size in zip(page.dataoffsets, page.databytecounts, strict=False):
            if compression in _DEFLATE and size * DEFLATE_RATIO <= most:
                continue
            file.seek(min(start, held))
            check_inflated_segment(path, file.read(min(size, held)), compression, most)


def check_inflated_segment(path: Path, segment: bytes, compression: int, most: int) -> None:
    """Refuse a strip or tile of a TIFF that inflates to more than `most` bytes.

    Args:
        compression: value of its tag.

    Raises:
        InputError: it does.
    """
    if compression not in (*_DEFLATE, _LZMA, _PACKBITS):
        return
    if compression in _DEFLATE and len(segment) * DEFLATE_RATIO <= most:
        return
    if _inflated_bytes(segment, compression, most) > most:
        raise InputError(
            f"{path.name}: inflates to more than {most} bytes, which its header does not "
            f"promise; save it again"
        )


def _inflated_bytes(segment: bytes, compression: int, most: int) -> int:
    """Return how many bytes a strip or tile inflates to, or a number above `most`."""
    if compression == _PACKBITS:
        return len(unpacked(segment, most + 1))
    inflater: _Inflater = (
        lzma.LZMADecompressor() if compression == _LZMA else zlib.decompressobj()  # type: ignore
    )
    total, piece = 0, segment
    while total <= most and not inflater.eof:
        found = inflater.decompress(piece, 1 << 20)
        piece = getattr(inflater, "unconsumed_tail", b"")  # of zlib; lzma keeps it
        if not found and not piece:
            break
        total += len(found)
    return total
