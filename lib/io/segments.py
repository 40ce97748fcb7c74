"""The segments that a .seg.nrrd describes in its header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from lib.errors import InputError
from lib.io.read import extension
from lib.io.volumes import header_fields

# segments that 3D Slicer keeps beside the structures, and does not submit
NO_STRUCTURES = frozenset({"background", "foreground_scribbles", "background_scribbles"})

_SEGMENT = re.compile(r"Segment(\d{1,9})_(Name|LabelValue|Layer)")


class Segment(NamedTuple):
    """A segment that a .seg.nrrd describes: its value in its layer, and in the merged label."""

    name: str
    layer: int
    value: int
    merged: int


def segments_in(path: Path, layers: int = 0) -> list[Segment]:
    """Return the segments that the header describes; those of `NO_STRUCTURES` have merged value 0.

    Where values of two layers are the same, the later segment gets the next free value.

    Args:
        layers: of the file, where it is known.
    """
    if extension(path) != ".nrrd":
        return []
    header = header_fields(path)
    layers = layers or header.layers
    told: dict[int, dict[str, str]] = {}
    for key, text in header.metadata.items():
        if found := _SEGMENT.fullmatch(key):
            told.setdefault(int(found[1]), {})[found[2]] = text.strip()
    segments: list[Segment] = []
    first: dict[tuple[int, int], str] = {}
    used: set[int] = set()
    free = 1  # the least value that may be free
    try:
        # before Slicer 5 each segment has a layer of its own, in which it is 1
        rows: list[tuple[str, int, int]] = [
            (
                fields.get("Name") or f"segment {number}",
                int(fields.get("Layer", number if layers > 1 else 0)),
                int(fields.get("LabelValue", 1 if layers > 1 else number + 1)),
            )
            for number, fields in sorted(told.items())
        ]
    except ValueError as error:
        raise InputError(
            f"{path.name}: its description of segments is damaged ({error}); export it again"
        ) from None
    for label, layer, value in rows:
        if not 0 <= layer < layers or value < 0:
            raise InputError(
                f"{path.name}: segment '{label}' is said to be value {value} of layer {layer}, "
                f"found {layers} layers; export it again"
            )
        same = first.setdefault((layer, value), label)
        if value and same != label:
            raise InputError(
                f"{path.name}: segments '{same}' and '{label}' are both said to be value "
                f"{value} of layer {layer}, expected a value for each; export it again"
            )
        merged = value
        if label.lower() in NO_STRUCTURES:
            merged = 0
        elif layers > 1 and value in used:
            while free in used:
                free += 1
            merged = free
        used.add(merged)
        segments.append(Segment(label, layer, value, merged))
    return segments
