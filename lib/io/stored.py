"""How the header of a volume says that its values are stored, and whether the file holds them.

ITK trusts headers: it kills the process, never returns, or reads memory that nobody wrote, where
one is wrong. So each header is first read here, strictly, and ITK sees those only that make sense.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from lib.errors import InputError
from lib.image import DEFLATE_RATIO, check_decoded_bytes, check_stored_bytes, damaged

HEADER_BYTES = 1 << 20
LONGEST_FIELD = 500  # characters; ITK's errors have room for about 900, path included
_LINES = 20_000  # ITK compares each key with all before it
LARGEST_NUMBER = 1e12  # of a grid in space; ITK never returns from turning some with larger ones
_LARGEST_SIDE = 1 << 31
_BLOCK = 1 << 20
_PIECE = 1 << 16  # of compressed bytes: what is left of it is copied for each member of a gzip
_GZIP = b"\x1f\x8b"
_ANY_ZLIB = 47  # of zlib: 15 bits of window, header of zlib or gzip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How a header says that the values of a volume are stored.

    Attributes:
        size: number of values along each axis, x first; components and channels count as one.
        value_bytes: bytes of a value.
        coding: "text" for numbers in words, "deflated" for zlib or gzip.
        file: name of the file beside the header that holds the values; empty where itself does.
        start: first byte of them in that file; negative where they are its last bytes.
        lines: lines of that file from `start` on that come before them.
        stored: bytes from `start` on; None for all.
        skipped: decoded bytes before the values.
    """

    size: tuple[int, ...]
    value_bytes: int
    coding: Literal["raw", "deflated", "text"] = "raw"
    file: str = ""
    start: int = 0
    lines: int = 0
    stored: int | None = None
    skipped: int = 0

    @property
    def promised(self) -> int:
        """Bytes of the decoded values."""
        return math.prod(self.size) * self.value_bytes


class HeaderError(ValueError):
    """A header that is not what its file type asks for; the message says what was found."""


def wrong(field: str, found: str, expected: str) -> HeaderError:
    """Return the error for a field of a header."""
    found = _CONTROL.sub("?", found)
    shown = found[:_SHOWN] + "..." * (len(found) > _SHOWN)
    return HeaderError(f"its header says {field} '{shown}', expected {expected}")


def header_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a text header, without their ends, until the caller has enough.

    Raises:
        HeaderError: the header is too long, has no end, or holds what is no text.
    """
    read = count = 0
    while line := file.readline(HEADER_BYTES):
        read += len(line)
        count += 1
        if read > HEADER_BYTES:
            break
        if count > _LINES:
            raise HeaderError(f"its header has more than {_LINES} lines")
        text = line.decode("utf-8", errors="replace").rstrip("\n").removesuffix("\r")
        if _CONTROL.search(text):
            raise HeaderError(f"its header holds '{_CONTROL.sub('?', text)[:_SHOWN]}', no text")
        yield text
    raise HeaderError("its header has no end")


def whole_number(field: str, text: str, least: int = 0, most: int = _LARGEST_SIDE) -> int:
    """Return a whole number of a header.

    Raises:
        HeaderError: it is none, or not in `least`..`most`.
    """
    found = re.fullmatch(r"([+-]?\d{1,18})(\.0*)?", text.strip())
    if found is None or not least <= int(found[1]) <= most:
        raise wrong(field, text, f"a whole number from {least} to {most}")
    return int(found[1])


def sizes(field: str, text: str, axes: int) -> tuple[int, ...]:
    """Return the number of pixels along each axis.

    Raises:
        HeaderError: they are no whole numbers from 1, or not `axes` of them.
    """
    words = text.split()
    if len(words) != axes:
        raise wrong(field, text, f"{axes} numbers")
    return tuple(whole_number(field, word, least=1) for word in words)


def real_numbers(
    field: str, words: list[str], count: int, exactly: bool = True, most: float = LARGEST_NUMBER
) -> list[float]:
    """Return `count` numbers of a header.

    Args:
        exactly: whether to refuse more.

    Raises:
        HeaderError: there are fewer, other words among them, or a number not in `-most`..`most`.
    """
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = [math.nan]
    enough = len(numbers) == count or (len(numbers) > count and not exactly)
    if not enough or not all(abs(number) <= most for number in numbers):
        raise wrong(field, " ".join(words), f"{count} finite numbers, at most {most:.3g}")
    return numbers


def check_held(path: Path, stored: Stored) -> None:
    """Refuse a volume that is too large, or whose file does not hold what its header promises.

    Raises:
        InputError: more bytes than are accepted, truncated, or damaged.
    """
    check_decoded_bytes(path.name, stored.size, stored.value_bytes)
    try:
        with open(path.parent / stored.file if stored.file else path, "rb") as file:
            _check_bytes(path, stored, file)
    except InputError as error:
        if not stored.file:
            raise
        raise InputError(
            f"{path.name}: its pixel file '{stored.file}' is damaged or truncated "
            f"({str(error).removeprefix(f'{path.name}: ').removesuffix('; copy it again')}); "
            f"copy it again"
        ) from None


def _check_bytes(path: Path, stored: Stored, file: IO[bytes]) -> None:
    needed = stored.skipped + stored.promised
    start = file.seek(max(stored.start, 0))
    for _ in range(stored.lines):
        start += len(file.readline(HEADER_BYTES))
    held = file.seek(0, 2) - start
    if stored.stored is not None:
        check_stored_bytes(path.name, stored.stored, held)
        held = stored.stored
    if stored.coding == "text":  # a digit and a blank for each value
        check_stored_bytes(path.name, 2 * math.prod(stored.size) - 1, held)
    elif stored.coding == "raw":
        check_stored_bytes(path.name, needed, held)
    else:
        check_stored_bytes(path.name, needed, held, DEFLATE_RATIO)
        file.seek(start)
        try:
            found = _inflated_bytes(file, held, needed)
        except zlib.error as error:
            raise damaged(path, error) from None
        if found < needed:
            raise InputError(
                f"{path.name}: truncated, {found} of {needed} bytes of pixels found when inflated; "
                f"copy it again"
            )


def _inflated_bytes(file: IO[bytes], held: int, needed: int) -> int:
    """Return how many bytes `held` bytes of zlib or gzip inflate to, counted up to `needed`."""
    engine, found, block = zlib.decompressobj(_ANY_ZLIB), 0, b""
    while found < needed:
        if len(block) < len(_GZIP):
            more = file.read(min(_PIECE, held))
            held, block = held - len(more), block + more
        if engine.eof:
            if not block.startswith(_GZIP):  # no further member
                break
            engine = zlib.decompressobj(_ANY_ZLIB)
        values = engine.decompress(block, _BLOCK)
        if not values and not block:
            break
        found += len(values)
        block = engine.unused_data if engine.eof else engine.unconsumed_tail
    return found
