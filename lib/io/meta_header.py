"""The header of a MetaImage file, read strictly (https://itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import IO, Any

from lib.io.stored import (
    HeaderError,
    Stored,
    header_lines,
    real_numbers,
    sizes,
    whole_number,
    wrong,
)

_FIELD = re.compile(r"[ \t]*([^=:]{1,250}?)[ \t]*[=:][ \t]*(.*)")
_DATA = "ElementDataFile"
_AXES = 5  # most that ITK reads
_CHANNELS = 1 << 16
_FEW = 1 << 40
_VALUE_BYTES = {
    name: count
    for count, names in {
        1: ("CHAR", "UCHAR"),
        2: ("SHORT", "USHORT"),
        4: ("INT", "UINT", "LONG", "ULONG", "FLOAT"),
        8: ("LONG_LONG", "ULONG_LONG", "DOUBLE"),
    }.items()
    for name in names
}
_POSITIONS = (
    *("Offset", "Position", "Origin", "CenterOfRotation", "ImagePosition"),
    *("ElementSpacing", "ElementSize"),
)
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_NUMBERS = (
    *("ID", "ParentID", "ElementMin", "ElementMax"),
    *("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"),
)
_SWITCHES = ("BinaryData", "CompressedData")
_KNOWN = {
    *("NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "HeaderSize"),
    *("CompressedDataSize", *_POSITIONS, *_MATRICES, *_NUMBERS, *_SWITCHES),
}


def read_meta_header(path: Path) -> Stored:
    """Return how the values of a MetaImage file are stored.

    Raises:
        HeaderError: a field is missing, given twice, or not what the format asks for.
    """
    with open(path, "rb") as file:
        fields = _fields(file)
        after = file.tell()
    for name in ("NDims", "DimSize", "ElementType"):
        if name not in fields:
            raise HeaderError(f"its header has no field '{name}'")
    axes = whole_number("NDims", fields["NDims"], 1, _AXES)
    for name in fields:
        if name == "NDims":
            break
        if name in ("DimSize", *_POSITIONS, *_MATRICES):
            raise HeaderError(f"its header has {name} before NDims")
    size = sizes("DimSize", fields["DimSize"], axes)
    _check_grid(fields, axes)
    value_type = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    if not fields["ElementType"].startswith("MET_") or value_type not in _VALUE_BYTES:
        expected = "one of " + ", ".join(f"MET_{name}" for name in _VALUE_BYTES)
        raise wrong("ElementType", fields["ElementType"], expected)
    told = fields.get("ElementNumberOfChannels", "1")
    channels = whole_number("ElementNumberOfChannels", told, 1, _CHANNELS)
    return Stored(
        size=size if channels == 1 else (*size, channels),
        value_bytes=_VALUE_BYTES[value_type],
        **_place(fields, after),
    )


def _fields(file: IO[bytes]) -> dict[str, str]:
    """Return the fields that are read here; `file` is then at the pixels.

    Raises:
        HeaderError: no MetaImage, or a line is no field.
    """
    fields: dict[str, str] = {}
    for line in header_lines(file):
        if not line.strip():
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise HeaderError(f"its header holds the line '{line[:60]}', which is no field")
        name, text = found[1], found[2].strip()
        if name in fields:
            raise HeaderError(f"its header has two fields '{name}'")
        if name in _KNOWN or name == _DATA:
            fields[name] = text
        if name == _DATA:
            break
    return fields


def _check_grid(fields: dict[str, str], axes: int) -> None:
    """Check the numbers that ITK reads: it takes missing ones from the next line."""
    for name in _POSITIONS:
        if name in fields:
            real_numbers(name, fields[name].split(), axes, exactly=False)
    for name in _MATRICES:
        if name in fields:
            real_numbers(name, fields[name].split(), axes * axes)
    for name in _NUMBERS:
        if name in fields:
            words = fields[name].split()
            real_numbers(name, words, 1, exactly=False, most=sys.float_info.max)


def _place(fields: dict[str, str], after: int) -> dict[str, Any]:
    """Return where the values lie, as arguments of `Stored`.

    Args:
        after: first byte after the header.
    """
    switches = {}
    for name in _SWITCHES:
        if fields.get(name, "False")[:1].lower() not in ("t", "f", "1", "0"):
            raise wrong(name, fields[name], "True or False")
        switches[name] = fields.get(name, "False")[:1].lower() in ("t", "1")
    name = "" if fields[_DATA].upper() == "LOCAL" else fields[_DATA]
    before = whole_number("HeaderSize", fields.get("HeaderSize", "0"), -1, _FEW)
    start = after if not name else 0
    if switches["CompressedData"]:
        if before:
            raise wrong("HeaderSize", fields["HeaderSize"], "0 before compressed pixels")
        stored = None
        if "CompressedDataSize" in fields:
            stored = whole_number("CompressedDataSize", fields["CompressedDataSize"], 1, _FEW)
        elif not name:  # ITK inflates the header then
            raise HeaderError("its header has no field 'CompressedDataSize'")
        return {"coding": "deflated", "file": name, "start": start, "stored": stored}
    if before and not name and before not in (-1, after):
        raise wrong("HeaderSize", fields["HeaderSize"], f"0 or -1, as the header ends at {after}")
    if before:
        start = before
    is_text = "BinaryData" in fields and not switches["BinaryData"]
    return {"coding": "text" if is_text else "raw", "file": name, "start": start}
