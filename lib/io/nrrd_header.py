"""The header of an NRRD file, read strictly (https://teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import IO, Any

from lib.io.stored import (
    HEADER_BYTES,
    LONGEST_FIELD,
    HeaderError,
    Stored,
    header_lines,
    real_numbers,
    sizes,
    whole_number,
    wrong,
)

_MAGIC = re.compile(r"NRRD(000[1-5]|00\.01)")
_AXES = 5  # most that ITK reads
_TYPES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    2: "short, short int, signed short, signed short int, int16, int16_t, "
    "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t, ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_VALUE_BYTES = {name: count for count, names in _TYPES.items() for name in names.split(", ")}
_CODINGS = {"raw": "raw", "gzip": "deflated", "gz": "deflated", "hex": "text"}
_CODINGS |= dict.fromkeys(("ascii", "text", "txt"), "text")
_SPACE = re.compile(
    r"(3d-right-handed|3d-left-handed|scanner-xyz|r[ap]s|l[ap]s|"
    r"(right|left)-(anterior|posterior)-superior)(?P<time>-time|t)?"
)
_GRIDS = ("domain", "space")
_FREE = ("content", "sampleunits")
_WORDS = ("centers", "centerings", "kinds", "labels", "units", "spaceunits", "space", "endian")
_NUMBERS = ("min", "max", "oldmin", "oldmax", "number", "blocksize")
_AXIS_NUMBERS = ("spacings", "thicknesses", "axismins", "axismaxs")
_VECTORS = ("spacedirections", "spaceorigin", "measurementframe")
_PLACES = ("datafile", "lineskip", "byteskip", "encoding")
_SHAPE = ("type", "dimension", "sizes", "spacedimension")
_FIELDS = {*_FREE, *_WORDS, *_NUMBERS, *_AXIS_NUMBERS, *_VECTORS, *_PLACES, *_SHAPE}
_TWO_WORDS = re.compile(r"(axis|block|byte|data|line|measurement|old|sample|space) (?=\w)")
_VECTOR = re.compile(r"\(([^()]*)\)")


def read_nrrd_header(path: Path) -> Stored:
    """Return how the values of an NRRD file are stored.

    Raises:
        HeaderError: a field is missing, unknown, given twice, or not what the format asks for.
    """
    with open(path, "rb") as file:
        fields = _fields(file)
        for name in ("type", "dimension", "sizes", "encoding"):
            if name not in fields:
                raise HeaderError(f"its header has no field '{name}'")
        axes = whole_number("dimension", fields["dimension"], 1, _AXES)
        size = sizes("sizes", fields["sizes"], axes)
        _check_grid(fields, axes)
        coding = _chosen("encoding", fields["encoding"], _CODINGS, "raw, gzip, ascii or hex")
        value_bytes = _chosen("type", fields["type"], _VALUE_BYTES, "one such as uint8 or float")
        name = fields.get("datafile", "")
        least = -1 if coding == "raw" else 0  # -1: the values are the last bytes
        skipped = whole_number("byte skip", fields.get("byteskip", "0"), least, 1 << 30)
        start = 0 if name else file.tell()
    if skipped == -1:
        start = -1
    return Stored(
        size=size,
        value_bytes=value_bytes,
        coding=coding,
        file=name,
        start=start,
        lines=whole_number("line skip", fields.get("lineskip", "0"), 0, 1000),
        skipped=max(skipped, 0),
    )


def _fields(file: IO[bytes]) -> dict[str, str]:
    """Return the fields by their names in lower case without blanks; `file` is then at the pixels.

    Raises:
        HeaderError: no NRRD, or a line is no field.
    """
    fields: dict[str, str] = {}
    lines = header_lines(file)
    if not _MAGIC.fullmatch(magic := next(lines)):
        raise HeaderError(f"it begins with '{magic[:9]}', expected NRRD0001 to NRRD0005")
    while True:
        try:
            line = next(lines)
        except HeaderError:
            if fields.get("datafile") and not file.read(1) and file.tell() <= HEADER_BYTES:
                return fields  # the pixels lie elsewhere, so the header may end with the file
            raise
        if not line:
            return fields
        told, colon, text = line.partition(": ")
        if line.startswith("#") or ":=" in (told if colon else line):
            continue  # a comment, or a pair of key and value
        name = _TWO_WORDS.sub(r"\1", told.lower()) if colon else ""
        if name not in _FIELDS:
            raise HeaderError(f"its header holds the line '{line[:60]}', which is no field")
        if name in fields:
            raise HeaderError(f"its header has two fields '{told}'")
        if len(line) > LONGEST_FIELD and name not in _FREE:
            raise wrong(told, text, f"at most {LONGEST_FIELD} characters")
        fields[name] = text.strip()
        if name == "datafile" and fields[name].upper() == "LOCAL":
            del fields[name]


def _check_grid(fields: dict[str, str], axes: int) -> None:
    """Check what is told of each axis, and of the place in space."""
    kinds = fields.get("kinds", "").lower().split()
    for name in _AXIS_NUMBERS:
        if name in fields:
            words = fields[name].split()
            if len(words) == len(kinds) == axes:  # axes of components have none
                words = [
                    "1" if word.lower() == "nan" and kind not in _GRIDS else word
                    for word, kind in zip(words, kinds, strict=True)
                ]
            real_numbers(name, words, axes)
    for name in ("kinds", "centers", "centerings"):
        if name in fields and len(fields[name].split()) != axes:
            raise wrong(name, fields[name], f"{axes} words")
    in_space = 0
    if "space" in fields:
        space = _SPACE.fullmatch(fields["space"].lower())
        if space is None:
            raise wrong("space", fields["space"], "one such as left-posterior-superior")
        in_space = 4 if space["time"] else 3
    if "spacedimension" in fields:
        in_space = whole_number("space dimension", fields["spacedimension"], 1, _AXES)
    for name, count in (
        ("spacedirections", axes),
        ("spaceorigin", 1),
        ("measurementframe", in_space),
    ):
        if name in fields:
            _check_vectors(name, fields[name], count, in_space)
    for name in _NUMBERS:
        if name in fields:
            real_numbers(name, fields[name].split(), 1, most=sys.float_info.max)


def _check_vectors(name: str, text: str, count: int, length: int) -> None:
    """Check `count` vectors such as ``(0,0,1)`` of `length` numbers each, or ``none``."""
    words = _VECTOR.sub(" vector ", text).split()
    if not length or len(words) != count or set(words) - {"vector", "none"}:
        raise wrong(name, text, f"{count} vectors, and the dimension of the space before")
    for vector in _VECTOR.findall(text):
        real_numbers(name, vector.split(","), length)


def _chosen(name: str, text: str, table: dict[str, Any], expected: str) -> Any:
    if text.lower() not in table:
        raise wrong(name, text, expected)
    return table[text.lower()]
