"""Objects of JSON in requests: what Python reads as JSON and nothing else could, is refused."""

from __future__ import annotations

import json
from typing import Any

from lib.errors import InputError, shown

MOST_LEVELS = 32  # of lists and objects in one another
MOST_INTEGER = 2**63


def read_object(name: str, text: Any) -> dict[str, Any]:
    """Return the JSON object in a form field; an absent field is an empty object.

    Raises:
        InputError: the text is not JSON, or not an object, or as `check_json` refuses.
    """
    try:
        value = json.loads(text or "{}")
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError as error:
        raise InputError(f"{name} is not valid JSON ({error}); expected an object") from None
    if not isinstance(value, dict):
        check_json(name, value)
        raise InputError(f"{name} must be a JSON object, found {type(value).__name__}")
    check_json(name, value)
    return value


def check_json(name: str, value: Any) -> None:
    """Refuse what no answer could hold: NaN, infinity, halves of signs, NUL, endless numbers.

    Raises:
        InputError: a number or text is such, or lists and objects are nested too deeply.
    """
    level, parts = 0, [(name, value)]
    while parts:
        if level > MOST_LEVELS:
            raise _too_deep(name)
        inner: list[tuple[str, Any]] = []
        for where, part in parts:
            if isinstance(part, dict):
                for key in part:
                    _check_text(where, key)
                inner += ((f"{name} {shown(key, 40)}", content) for key, content in part.items())
            elif isinstance(part, (list, tuple)):
                inner += ((where, content) for content in part)
            elif isinstance(part, str):
                _check_text(where, part)
            elif isinstance(part, float) and not abs(part) < float("inf"):
                raise InputError(
                    f"{where}: NaN and infinity are not valid JSON; give a finite number"
                )
            elif isinstance(part, int) and not -MOST_INTEGER <= part < MOST_INTEGER:
                raise InputError(
                    f"{where}: an integer of {len(str(abs(part)))} digits; give one of 64 bits"
                )
        parts, level = inner, level + 1


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{name}: half a surrogate pair is no text; send whole signs as UTF-8, in JSON"
        ) from None
    if "\0" in text:
        raise InputError(f"{name}: the text '{shown(text, 40)}' holds NUL; leave it away")


def _too_deep(name: str) -> InputError:
    return InputError(
        f"{name}: lists and objects are nested more than {MOST_LEVELS} deep; send a flat object"
    )
