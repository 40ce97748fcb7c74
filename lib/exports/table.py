"""Measures of objects as a table: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from lib.errors import InputError
from lib.exports.answer import Answer
from lib.exports.measurements import FLAT, SOLID

_TEXT, _WHOLE = ("image", "structure"), ("id", "frame", "area_px", "volume_voxels")
_FIRST_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would take the text for a formula

Rows = tuple[tuple[str, ...], list[dict[str, Any]]]


def rows_of(answer: Answer) -> Rows:
    """Return the fixed columns and the rows of one answer, with ``image``, the id, first."""
    solid = answer.image.spatial_dims == 3 and not answer.image.over_time
    rows = [{"image": answer.id, **row} for row in answer.rows]
    return ("image", *(SOLID if solid else FLAT)), rows


def table_file(pieces: Sequence[Rows], suffix: str) -> bytes:
    """Return the rows of all answers as one table; what a row does not have is empty.

    Args:
        suffix: ".csv" (UTF-8) or ".parquet".

    Raises:
        InputError: Parquet is asked for and pyarrow is not installed.
    """
    rows = [row for _, some in pieces for row in some]
    names = [name for fixed, _ in pieces for name in fixed] or ["image", *FLAT]
    columns = list(dict.fromkeys([*names, *(name for row in rows for name in row)]))
    return _parquet(columns, rows) if suffix == ".parquet" else _csv(columns, rows)


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(map(_plain, columns))
    for row in rows:
        writer.writerow(_plain(row.get(name)) for name in columns)
    return file.getvalue().encode()


def _plain(value: Any) -> Any:
    """Return a value; a text that a spreadsheet would calculate gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FIRST_SIGNS) else value


def _parquet(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "Parquet is written by pyarrow, which is not installed; install it, or ask for .csv"
        ) from None
    kinds = dict.fromkeys(_TEXT, pyarrow.string()) | dict.fromkeys(_WHOLE, pyarrow.int64())
    data = {
        name: pyarrow.array([row.get(name) for row in rows], kinds.get(name, pyarrow.float64()))
        for name in columns
    }
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(data), file)
    return file.getvalue()
