"""Each direct dependency has a row in docs/dependencies.md, and no other package has."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_each_dependency_has_a_row_that_says_what_it_is_for():
    lines = [
        line
        for file in REPOSITORY.glob("requirements*.txt")
        for line in file.read_text().splitlines()
    ]
    needed = {
        _plain(re.split(r"[<>=;\[ ]", line)[0]) for line in lines if line and line[0] not in "#-."
    }
    page = (REPOSITORY / "docs" / "dependencies.md").read_text()
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.*", page, re.M)
    ]
    told = {_plain(row[0]): row[1] for row in rows if row[0] not in ("package", "---")}
    assert needed - set(told) == set(), "add a row to docs/dependencies.md"
    assert set(told) - needed == set(), "a row of a package that nothing needs"
    assert all(told.values()) and len(told) > 40
