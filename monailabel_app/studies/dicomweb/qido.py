"""Searches as viewers send them: which rows match the filters of a query (PS3.18 8.3.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from lib.errors import InputError, shown

LIMIT = 10_000  # rows of one answer
_OPTIONS = ("limit", "offset", "includefield", "fuzzymatching", "includedefaults")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_RANGES = ("StudyDate", "SeriesDate", "StudyTime", "PatientBirthDate")
_LISTS = ("ModalitiesInStudy",)


def matching(
    rows: Iterable[Mapping[str, Any]], query: Sequence[tuple[str, str]]
) -> list[Mapping[str, Any]]:
    """Return the rows that match all filters of a query, from its offset on, up to its limit.

    A filter of an attribute that no row tells is passed over. Texts match in any case, `*` and `?`
    stand for any signs; of several UIDs or modalities, separated by a backslash or comma, one is
    enough.

    Args:
        rows: attributes by keyword.
        query: names, as keywords or tags, and values.

    Raises:
        InputError: limit or offset is no number from 0 on.
    """
    filters = [(_keyword(name), value) for name, value in query if name not in _OPTIONS and value]
    offset, limit = _count(query, "offset", 0), _count(query, "limit", LIMIT)
    found = [
        row
        for row in rows
        if all(_matches(name, row[name], value) for name, value in filters if name in row)
    ]
    return found[offset : offset + min(limit, LIMIT)]


def _keyword(name: str) -> str:
    """Return the keyword of an attribute that is named by it or by its tag."""
    name = name.rsplit(".", 1)[-1]
    if _TAG.fullmatch(name) and tag_for_keyword(name) is None:
        return keyword_for_tag(int(name, 16))
    return name


def _count(query: Sequence[tuple[str, str]], name: str, default: int) -> int:
    text = next((value for key, value in query if key == name), "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"{name}: expected a whole number from 0 on, found '{shown(text)}'")
    return int(text)


def _matches(name: str, found: Any, asked: str) -> bool:
    values = [str(one) for one in found] if isinstance(found, list) else [str(found or "")]
    if name in _RANGES and "-" in asked:
        first, _, last = asked.partition("-")
        return any(value and first <= value <= (last or value) for value in values)
    if name.endswith("UID") or name in _LISTS:
        wanted = [one for one in re.split(r"[\\,]", asked.upper()) if one]
        return any(fnmatchcase(value.upper(), one) for value in values for one in wanted)
    pattern = asked.lower().replace("[", "[[]")
    return any(fnmatchcase(value.lower(), pattern) for value in values)
