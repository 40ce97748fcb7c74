"""Fields that were added to specs later: older runs and checkpoints must stay recognised."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

_LATER = "later"
LATER = {_LATER: True}  # metadata of a field that counts only where it differs from its default


def without_unused(spec: Any, plain: dict[str, Any]) -> dict[str, Any]:
    """Return `plain`, the dictionary of a spec, without later fields that have their default.

    Args:
        spec: a dataclass, or the type of one.
        plain: as `dataclasses.asdict` returns it.
    """
    return {
        item.name: plain[item.name]
        for item in fields(spec)
        if item.name in plain
        and not (item.metadata.get(_LATER) and plain[item.name] == item.default)
    }


def parts_without_unused(spec: Any, plain: dict[str, Any]) -> dict[str, Any]:
    """Return `without_unused` of a spec and of the specs that it is made of."""
    kept = without_unused(spec, plain)
    parts = {name: value for name, value in vars(spec).items() if is_dataclass(value)}
    return {
        name: without_unused(parts[name], value) if name in parts else value
        for name, value in kept.items()
    }
