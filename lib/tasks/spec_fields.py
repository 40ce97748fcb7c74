"""What the specs share: checks of their choices, and fields that were added to them later."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lib.errors import choose

_LATER = "later"
LATER = {_LATER: True}  # metadata of a field that counts only where it differs from its default


def check_choices(spec: Any) -> None:
    """Raise `NotFoundError` if a field of a spec has none of the values that its type names."""
    for name, values in _choices(spec.__class__).items():
        choose(name, getattr(spec, name), dict.fromkeys(values))


@cache
def _choices(spec: type) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(spec)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


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
