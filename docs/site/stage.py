"""Lay the pages of the site together: those of the repository, where they are, and the generated.

The folder has the layout of the repository, so that links between its pages hold as they stand.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

import library  # noqa: E402
import links  # noqa: E402
import rest  # noqa: E402
import settings  # noqa: E402

_COMMANDS = """\
Commands
========

``python -m monailabel_app`` in a clone, ``unetvnet`` where the package is installed.

.. click:: monailabel_app.cli:cli
   :prog: python -m monailabel_app
   :nested: full
"""


def generated() -> dict[str, str]:
    """Return the pages that are made of the code, by path below the folder of the site."""
    return {
        "reference/commands.rst": _COMMANDS,
        "reference/rest.md": rest.page(),
        "reference/settings.md": settings.page(),
        **{f"reference/lib/{name}": page for name, page in library.pages().items()},
    }


def stage(folder: Path) -> None:
    """Make the folder that Sphinx builds the site from."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPOSITORY / "docs", folder / "docs", ignore=shutil.ignore_patterns("site"))
    for page in REPOSITORY.glob("*.md"):
        shutil.copy(page, folder)
    shutil.copy(REPOSITORY / "docs/site/index.myst", folder / "index.md")
    for page in sorted(folder.rglob("*.md")):
        for target in links.of(page.read_text(encoding="utf-8")):
            name = os.path.relpath(page.parent / target, folder)
            _add_file(REPOSITORY / name, folder / name)
    for name, text in generated().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _add_file(file: Path, copy: Path) -> None:
    """Copy a file of the code that a page leads to; what is not there is for Sphinx to name."""
    if file.is_file() and not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
