"""`groups.csv` of a studies folder: the images that a split must not separate."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError
from lib.files import write_atomically

GROUPS = "groups.csv"
COLUMNS = ("id", "group", "class")


@dataclass(frozen=True)
class Grouped:
    """The group of one image of a studies folder.

    Attributes:
        id: of the image.
        group: names a patient, or images that show the same; images of one group stay on one side
            of a split.
        kind: class of the image, column ``class`` of the file; empty where it has none.
    """

    id: str
    group: str
    kind: str = ""


def write_groups(studies: Path, rows: Iterable[Grouped]) -> Path:
    """Write `rows` into ``groups.csv`` of a studies folder; its rows of other images are kept.

    Raises:
        InputError: the folder's ``groups.csv`` lacks a column.
    """
    merged = {row.id: row for row in (*read_groups(studies), *rows)}
    lines = [(row.id, row.group, row.kind) for row in sorted(merged.values(), key=lambda r: r.id)]
    return write_table(studies / GROUPS, COLUMNS, lines)


def read_groups(studies: Path) -> list[Grouped]:
    """Return the rows of ``groups.csv`` of a studies folder; none where there is no such file.

    Raises:
        InputError: it is no table, or lacks a column.
    """
    path = studies / GROUPS
    if not path.is_file():
        return []
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: no table in UTF-8 ({error}); delete the file and import again"
        ) from None
    header = tuple(rows[0]) if rows else ()
    if not set(COLUMNS) <= set(header) or any(len(row) != len(header) for row in rows[1:] if row):
        raise InputError(
            f"{path}: columns {', '.join(header) or 'none'}, expected {', '.join(COLUMNS)} in "
            f"every line; delete the file and import again"
        )
    id, group, kind = (header.index(column) for column in COLUMNS)
    return [Grouped(row[id], row[group], row[kind]) for row in rows[1:] if row]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return write_atomically(path, lambda file: file.write(text.getvalue().encode()))


_NOBODY = {"", "anon", "anonymous", "anonymized", "anonymised", "removed", "none", "unknown", "0"}


def is_nobody(patient: str) -> bool:
    """Tell whether a PatientID is a placeholder that de-identification leaves, not a patient."""
    return patient.strip().lower() in _NOBODY
