"""What all importers share: the report they return, their progress, the check of their folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lib.errors import InputError

Entry = TypeVar("Entry")
OnItem = Callable[[int, int], object]  # takes how many items are done, and how many there are


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import wrote.

    Attributes:
        images: how many images or volumes were written.
        lines: what was imported and what was odd, to show to the user.
        figures: what only this data set reports, by name; see its importer.
    """

    images: int
    lines: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)


def counted(entries: Sequence[Entry], on_item: OnItem | None) -> Iterator[Entry]:
    """Yield the entries in order; call `on_item` after each of them is done."""
    for done, entry in enumerate(entries, start=1):
        yield entry
        if on_item:
            on_item(done, len(entries))


def check_folder(folder: Path, content: str = "the unpacked data set") -> None:
    """Refuse a folder that does not exist.

    Raises:
        InputError: no such folder; the message asks for `content`.
    """
    if not folder.is_dir():
        raise InputError(f"folder '{folder}' does not exist; give {content}")
