"""Links of pages to code: to its page in the reference where it has one, else to the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def of(text: str) -> Iterator[str]:
    """Yield where the relative links of a page lead, without the heading."""
    for link in _LINK.finditer(text):
        yield link[1]


def lead_into_the_site(app: Sphinx, page: str, source: list[str]) -> None:
    """Rewrite the links of a page to modules of `lib`; leave others, which Sphinx checks."""
    here = PurePosixPath(page).parent

    def led(link: re.Match[str]) -> str:
        target = PurePosixPath(normpath(here / link[1]))
        module = ".".join(target.with_suffix("").parts)
        documented = target.parts[0] == "lib" and (REPOSITORY / target).exists()
        return f"](#{module})" if documented else link[0]

    source[0] = _LINK.sub(led, source[0])
