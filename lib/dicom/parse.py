"""DICOM files parsed by pydicom within limits: of bytes, also inflated ones, elements and items.

pydicom itself inflates a deflated file whole, whatever it becomes, also for its header alone, and
makes some hundred bytes of memory of every element and item.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from lib.errors import InputError
from lib.image import MAX_BYTES

MAX_HEADER = 50_000_000  # bytes of all but the pixels
MAX_FILE = MAX_BYTES + MAX_HEADER
MAX_ELEMENTS = 500_000
MAX_ITEMS = 200_000  # of sequences: 20 for each of 10,000 frames
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # starts of items, little and big endian
_HEAD = 8  # bytes of the tag and length of an element or item
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_DIRECTORY = 0x00041220  # pydicom follows its records in circles for ever, and it holds no image
_PIECE = 1 << 20  # bytes inflated at a time


def parse_file(
    path: str | os.PathLike[str], header_only: bool = False, force: bool = False
) -> FileDataset:
    """Return the dataset of a DICOM file, as pydicom reads it; of a directory without its records.

    A deflated file is inflated; its transfer syntax is then that of what was inflated.

    Args:
        header_only: whether to stop before the pixels.
        force: whether to read a file that does not begin as DICOM files do.

    Raises:
        InputError: too large, in the file or inflated, or of too many elements or items.
        Exception: what pydicom raises for other files, many types.
    """
    path = Path(path)
    stops = (_DIRECTORY, *(_PIXELS if header_only else ()))
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE:
            raise InputError(
                f"{path.name}: its {size} bytes are too many, at most {MAX_FILE} are accepted; "
                f"export it in parts"
            )
        try:
            data = _elements(path, file, stops, force)
        except _DeflatedError as found:
            beginning = _inflated(file, found.start, MAX_HEADER)
            header = _elements(path, beginning, (_DIRECTORY, *_PIXELS), force)
            most = MAX_HEADER + _pixel_bytes(header)
            whole = _inflated(file, found.start, most)
            if whole.seek(0, io.SEEK_END) > most:
                raise InputError(
                    f"{path.name}: inflates to more than {most} bytes, which its header does not "
                    f"promise; export it again, uncompressed"
                ) from None
            data = _elements(path, whole, stops, force)
    data.filename = str(path)
    return data


def _elements(path: Path, file: BinaryIO, stops: Sequence[int], force: bool) -> FileDataset:
    """Return the elements of a file up to one of the tags `stops`.

    Of a file that ends within an element of unknown length, such as compressed pixels, pydicom
    returns none: it is read again up to that element.
    """
    begun: int | None = None

    def ends(tag: int, vr: str | None, length: int) -> bool:
        nonlocal begun
        if tag in stops:
            return True
        begun = tag
        return False

    data = read_partial(_Metered(path, file), ends, force=force)
    if begun is not None and begun not in data:
        stops = (*stops, begun)
        data = read_partial(_Metered(path, file), ends, force=force)
    return data


class _DeflatedError(Exception):
    """What follows `start` in a file is deflated."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class _Metered:
    """A file as pydicom reads it, which refuses to hand out more elements and items than allowed.

    An element and an item begin with a tag and a length, which are read together. The items of
    sequences that are parsed later are counted in their bytes.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.name = str(path)
        self.tell, self.seek = file.tell, file.seek
        self._file = file
        self._elements = self._items = self._sequences = 0
        self._end = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; never asks for more memory than the file has bytes left."""
        start = self._file.tell()
        if size < 0:  # as pydicom reads what it is about to inflate, and nothing else
            raise _DeflatedError(start)
        content = self._file.read(min(size, max(self._end - start, 0)))
        self._elements += size == _HEAD
        if content.startswith(_ITEMS):
            self._items += 1 if size == _HEAD else sum(map(content.count, _ITEMS))
            self._sequences += len(content)
        if self._elements > MAX_ELEMENTS or self._items > MAX_ITEMS or self._sequences > MAX_HEADER:
            raise InputError(
                f"{Path(self.name).name}: a DICOM header of more than {MAX_ELEMENTS} elements, "
                f"{MAX_ITEMS} items or {MAX_HEADER} bytes, expected an image with fewer; export it "
                f"again, in several files if it has so many frames"
            )
        return content


def _inflated(file: BinaryIO, start: int, most: int) -> BinaryIO:
    """Return a deflated file as it would be without compression, and no more of it than `most`.

    Args:
        start: of what is deflated (PS3.5 A.5).
        most: bytes; of more the first `most` are there, and some after them.
    """
    file.seek(0)
    syntax = DeflatedExplicitVRLittleEndian.encode()
    plain = ExplicitVRLittleEndian.encode().ljust(len(syntax), b"\0")
    content = io.BytesIO(file.read(start).replace(syntax, plain))
    content.seek(0, io.SEEK_END)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    piece = file.read(_PIECE)
    while piece and not inflater.eof:
        content.write(inflater.decompress(piece, _PIECE))
        if content.tell() > most:
            return content
        piece = inflater.unconsumed_tail or file.read(_PIECE)
    if not inflater.eof:
        raise ValueError("its deflated content is truncated")
    return content


def _pixel_bytes(header: Dataset) -> int:
    """Return the bytes of pixels that a header promises, at most `MAX_BYTES`."""
    promised = 1
    for tag, default in (
        *(("Rows", 0), ("Columns", 0), ("BitsAllocated", 64)),
        *(("NumberOfFrames", 1), ("SamplesPerPixel", 3)),
    ):
        value: Any = header.get(tag)
        promised *= min(max(int(default if value is None else value), 0), MAX_BYTES)
    return min(promised // 8, MAX_BYTES)
