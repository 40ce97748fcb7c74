"""Read CSV files as people write them: comma, semicolon or tab, byte-order mark, extra spaces."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lib.errors import InputError


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as cells by column name.

    Names are in lower case; names and cells have no spaces around them.

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
    lines = [[cell.strip() for cell in line] for line in reader]
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
