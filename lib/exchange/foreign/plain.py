"""The configuration of a bundle as plain data: references are followed, nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lib.errors import InputError, shown

TARGET = "_target_"
_DEEPEST = 12
_MOST = 5_000  # values that one part may come to
_SEPARATOR = re.compile(r"::|#")


class Config:
    """What a configuration says, as plain data.

    Args:
        content: as JSON holds it.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    def plain(self, value: Any, where: str) -> Any:
        """Return a value without references: `@name` is replaced by what stands there.

        Args:
            where: its path in the configuration, for messages.

        Raises:
            InputError: it is, or holds, an expression or an object; or its references never end.
        """
        return self._plain(value, where, 0, [_MOST])

    def raw(self, value: Any, where: str) -> Any:
        """Return what a reference leads to, objects too; other values as they are."""
        for _ in range(_DEEPEST):
            if not _is_reference(value):
                return value
            value = self._find(value, where)
        raise InputError(f"{where}: its references never end")

    def _plain(self, value: Any, where: str, depth: int, left: list[int]) -> Any:
        left[0] -= 1
        if depth > _DEEPEST or left[0] < 0:
            raise InputError(f"{where}: nested too deep, too long, or its references never end")
        if _is_reference(value):
            return self._plain(self._find(value, where), where, depth + 1, left)
        if isinstance(value, str) and value[:1] in ("$", "%", "@"):
            raise InputError(
                f"{where}: {shown(value)} is an expression, and nothing in a bundle is run; "
                f"write its value into the bundle's configuration"
            )
        if isinstance(value, Mapping):
            if TARGET in value:
                raise InputError(f"{where}: expected a value, found {shown(value[TARGET])}")
            return {
                str(name): self._plain(one, f"{where}.{name}", depth + 1, left)
                for name, one in value.items()
                if not str(name).startswith("_")
            }
        if isinstance(value, (list, tuple)):
            return [self._plain(v, f"{where}[{i}]", depth + 1, left) for i, v in enumerate(value)]
        return value

    def _find(self, reference: str, where: str) -> Any:
        found: Any = self.content
        for name in _SEPARATOR.split(reference[1:]):
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name[:9]) < len(found):
                found = found[int(name[:9])]
            else:
                raise InputError(f"{where}: {shown(reference)} leads nowhere in the configuration")
        return found


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"@[\w#:]+", value) is not None


def target_of(part: Any) -> str:
    """Return the class that a part of a configuration names, without its package; "" if none."""
    name = part.get(TARGET) if isinstance(part, Mapping) else None
    return name.rpartition(".")[2] if isinstance(name, str) else ""
