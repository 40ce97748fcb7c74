"""Errors that a user can act on, their words, and how names and switches of users are read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


class InputError(ValueError):
    """Something the user gave is wrong: a file, a label, a name or a parameter.

    The message says what was wrong, what was found, what was expected and what to do, in one line.
    The command line prints it and exits with 2; the server answers 4xx with it.
    """


class NotFoundError(InputError):
    """A name, image id or file that does not exist (HTTP 404)."""


class UnpublishedError(InputError):
    """A model that exists as a task but has no weights yet (HTTP 409)."""


class BusyError(InputError):
    """Something that only one user can do at a time is in progress (HTTP 429)."""


def unknown(what: str, name: object, known: Iterable[str]) -> NotFoundError:
    """Return the error for a `name` that is not among `known`, with the nearest match.

    Args:
        what: what the name is of, such as "task" or "loss".
    """
    names = sorted(str(item) for item in known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    shown = ", ".join(names[:24]) + (", ..." if len(names) > 24 else "")
    return NotFoundError(f"unknown {what} '{name}': {hint}known: {shown or 'none'}")


def choose(what: str, name: str, table: Mapping[str, Value]) -> Value:
    """Return `table[name]`.

    Raises:
        NotFoundError: `name` is not in `table`; the message names the nearest one.
    """
    try:
        return table[name]
    except (KeyError, TypeError):  # a request may hold anything, also what cannot be a key
        raise unknown(what, name, table) from None


def parse_switch(value: object, name: str = "") -> bool:
    """Read true/false, yes/no, on/off or 1/0; None and an empty text are false.

    Args:
        name: of the switch, for the message.

    Raises:
        InputError: `value` is none of these.
    """
    word = str(value).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0", "none", ""):
        return False
    raise InputError(f"{name + ': ' if name else ''}expected true or false, found '{value}'")


class DivergedError(RuntimeError):
    """The loss became NaN or infinite."""


def listed(items: Iterable[object]) -> str:
    """Return up to eight items as text; "none" without any."""
    items = sorted(items, key=lambda item: (str(type(item)), item))
    return ", ".join(map(str, items[:8])) + (", ..." if len(items) > 8 else "") or "none"
