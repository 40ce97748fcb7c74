"""What all importers share: report, progress, check of the folder, reading of CSV files."""

from __future__ import annotations

import csv
import io
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


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, as people write them, as cells by column name.

    The delimiter is a comma, semicolon or tab. Names are in lower case; names and cells have no
    spaces around them.

    Raises:
        InputError: no such file, no text, or fewer than two columns or two lines.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    head = text.split("\n", 1)[0]
    delimiter = max(";,\t", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [[cell.strip() for cell in line] for line in reader]
    except csv.Error:  # a cell without end
        lines = []
    lines = [line for line in lines if any(line)]
    if "\0" in text or len(lines) < 2 or len(lines[0]) < 2:
        raise InputError(
            f"{path.name}: no table with columns and rows; expected CSV with a line of names first"
        )
    names = [name.lower() for name in lines[0]]
    return [dict(zip(names, line + [""] * len(names), strict=False)) for line in lines[1:]]


def pick(row: dict[str, str], names: tuple[str, ...]) -> str:
    """Return the first cell that is not empty among the columns `names`; empty if there is none."""
    return next((row[name] for name in names if row.get(name)), "")
