"""What the record of a label tells beside its file: names of structures, and the channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.data.label_names import Told, read_label_info
from lib.errors import InputError


def told_in(info: Mapping[str, Any]) -> tuple[Told, ...]:
    """Return the names that the record of a label tells; none may be a structure's if damaged."""
    found = info.get("label_info")
    try:
        return read_label_info(found)
    except InputError:  # whoever reads the label says that its names are not known
        return (Told(f"unreadable label_info {str(found)[:60]}"),)


def labelled_channel(info: Mapping[str, Any]) -> str:
    """Return the channel that the record of a label names, of itself or of its request; else ""."""
    params = info.get("params")
    return str(info.get("channel") or (isinstance(params, Mapping) and params.get("channel")) or "")
