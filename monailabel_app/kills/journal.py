"""What a process said of its work before it was killed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

BEGIN, DONE = "begin", "done"


class Journal:
    """Work that was begun and done, by one process after the other.

    Attributes:
        done: in its order; what is here was acknowledged.
        fixed: whether all weights are among those that were sent.
    """

    def __init__(self, fixed: bool) -> None:
        self.fixed = fixed
        self.done: list[dict[str, Any]] = []
        self.begun = 0
        self._entries: list[tuple[str, dict[str, Any]]] = []

    def add(self, line: bytes) -> str:
        """Take a line of a process; return whether it begins or ends a piece of work."""
        what, facts = json.loads(line)
        self.note(what, facts)
        return str(what)

    def note(self, what: str, facts: dict[str, Any]) -> None:
        """Note that a piece of work begins or is done."""
        self._entries.append((what, facts))
        if what == DONE:
            self.done.append(facts)
        else:
            self.begun += 1

    def open_since(self, image: str, tag: str) -> list[dict[str, Any]]:
        """Return the saves of a label that were begun after the last one that was done."""
        opened: list[dict[str, Any]] = []
        for what, facts in self._entries:
            if (facts["image"], facts["tag"]) == (image, tag):
                opened = [] if what == DONE else [*opened, facts]
        return opened


def say(handle: int, what: str, facts: Mapping[str, Any]) -> None:
    """Write a line in one piece, which a kill cannot part."""
    os.write(handle, json.dumps([what, facts]).encode() + b"\n")
