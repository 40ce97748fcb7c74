"""Changes to a spec that a user wrote: names and types are checked, and errors name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lib.errors import InputError, shown, unknown

Spec = TypeVar("Spec")

_WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("a text", "texts"),
}


def changed(spec: Spec | type[Spec], values: object, path: str = "") -> Spec:
    """Return a spec with the fields that `values` names changed.

    A mapping changes the named fields of a part, such as ``network``, and leaves the others. Lists
    become tuples. Nothing is converted: ``"3"`` is no number, and ``true`` is not 1.

    Args:
        spec: a dataclass, or the type of one that is made of `values` alone.
        values: plain data, as YAML or JSON holds it.
        path: of the spec in what the user wrote, such as ``network``; for messages.

    Raises:
        InputError: a field that there is not, that is missing, or whose value does not fit; the
            message begins with its path, and says what was found and what is allowed.
    """
    name_of_spec = path or "a task"
    if not isinstance(values, Mapping):
        raise InputError(f"{name_of_spec}: expected fields and values, found {shown(values)}")
    is_type = isinstance(spec, type)
    made = spec if isinstance(spec, type) else type(spec)
    hints = get_type_hints(made)
    new = {}
    for name, value in values.items():
        if name not in hints:
            raise unknown(f"field of {name_of_spec}", name, hints)
        now = None if is_type else getattr(spec, name)
        new[name] = _value(hints[name], now, value, f"{path}.{name}" if path else name)
    if is_type:
        needed = [
            item.name
            for item in fields(made)  # type: ignore[arg-type]
            if item.default is MISSING and item.default_factory is MISSING
        ]
        if missing := [name for name in needed if name not in new]:
            raise InputError(f"{name_of_spec}: add {', '.join(missing)}")
    try:
        return made(**new) if is_type else replace(spec, **new)  # type: ignore
    except ValueError as error:  # the spec's own checks, which name their fields
        raise InputError(f"{path}: {error}" if path else error) from None


def _value(hint: Any, now: Any, value: object, path: str) -> Any:
    """Return a value of a field, checked."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in options:
        return None
    specs = [option for option in options if is_dataclass(option)]
    if specs:
        return changed(_of_fields(specs, now, value), value, path)
    inner = get_args(hint)
    if get_origin(hint) is tuple and is_dataclass(inner[0]) and isinstance(value, list):
        return tuple(changed(inner[0], one, f"{path}[{i}]") for i, one in enumerate(value))
    return _plain(hint, value, path)


def _of_fields(specs: list[Any], now: Any, value: object) -> Any:
    """Return the spec that is changed: a new one where only another type has the named fields."""
    if now is None:
        return specs[0]
    names = set(value) if isinstance(value, Mapping) else set()
    others = [one for one in specs if one is not type(now) and names <= set(get_type_hints(one))]
    return others[0] if others and not names <= set(get_type_hints(type(now))) else now


def _plain(hint: Any, value: object, path: str) -> Any:
    """Return a value of numbers and texts as the type `hint` has it."""
    from pydantic import TypeAdapter  # takes longer to import than the table of tasks

    try:
        text = json.dumps(value, allow_nan=False)
        return TypeAdapter(hint).validate_json(text, strict=True)
    except (ValueError, TypeError):
        raise InputError(f"{path}: expected {expected(hint)}, found {shown(value)}") from None


def expected(hint: Any) -> str:
    """Return the values that a type allows, in words."""
    if hint in _WORDS:
        return _WORDS[hint][0]
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(expected(one) for one in inner)
    if get_origin(hint) is tuple:
        how_many = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        several = (
            _WORDS[inner[0]][1] if inner[0] in _WORDS else f"values, each {expected(inner[0])}"
        )
        return f"a list of {how_many}{several}"
    if inner and inner[-1] is Any:
        return "names and values"
    return "names, each with a whole number"  # labels
