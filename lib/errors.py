"""Errors that a user can act on, their words, and how names and switches of users are read."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # `errno` of what could not be written

_LONGEST = 900  # signs of a message


class InputError(ValueError):
    """Something the user gave is wrong: a file, a label, a name or a parameter.

    The message says what was wrong, what was found, what was expected and what to do, in one line.
    The command line prints it and exits with 2; the server answers 4xx with it. It may quote what
    a file or a request holds: signs that cannot be printed are escaped, and a long one is cut.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class NotFoundError(InputError):
    """A name, image id or file that does not exist (HTTP 404)."""


class UnpublishedError(InputError):
    """A model that exists as a task but has no weights yet (HTTP 409)."""


class BusyError(InputError):
    """Something that only one user can do at a time is in progress (HTTP 429)."""


def printable(text: str) -> str:
    """Return a text as one short line: what cannot be printed is escaped, the middle left out."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    over = len(text) - _LONGEST
    return text if over <= 0 else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def shown(value: object, most: int = 80) -> str:
    """Return what a user gave, for a message: signs that print, at most so many."""
    text = printable(str(value)[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."


def unknown(what: str, name: object, known: Iterable[str]) -> NotFoundError:
    """Return the error for a `name` that is not among `known`, with the nearest match.

    Args:
        what: what the name is of, such as "task" or "loss".
    """
    names = sorted(str(item) for item in known)
    name = shown(name)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    table = ", ".join(names[:24]) + (", ..." if len(names) > 24 else "")
    return NotFoundError(f"unknown {what} '{name}': {hint}known: {table or 'none'}")


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
    raise InputError(f"{name + ': ' if name else ''}expected true or false, found '{shown(value)}'")


class DivergedError(RuntimeError):
    """The loss became NaN or infinite."""


def listed(items: Iterable[object]) -> str:
    """Return up to eight items as text; "none" without any."""
    items = sorted(items, key=lambda item: (str(type(item)), item))
    return ", ".join(map(str, items[:8])) + (", ..." if len(items) > 8 else "") or "none"
