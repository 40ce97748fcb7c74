"""Markdown pages made from Jinja2 templates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.harness import tables
from lib.files import write_atomically


def render(template: Path, **context: Any) -> str:
    """Return the page of a template.

    Templates are wrapped; on the page each paragraph and each item of a list is one line.

    Blocks are separated by blank lines. Tables are made by the filter `table`; the filter
    `hard_breaks` makes one block of several, each on a line of its own.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"table": tables.table, "number": tables.number}
    environment.filters |= {"interval": tables.interval, "hard_breaks": _hard_breaks}
    environment.globals |= {"value": tables.value, "NONE": tables.NONE}
    return "\n\n".join(_blocks(environment.get_template(template.name).render(context))) + "\n"


def write_page(page: Path, text: str) -> Path:
    """Write the text of a page."""
    return write_atomically(page, lambda file: file.write(text.encode()))


def _blocks(text: str) -> list[str]:
    """Return the blocks of a page, without line breaks except in tables, code and where hard."""
    return [
        block if block.startswith(("|", "```")) else re.sub(r"(?<!  )\n(?!- ) *", " ", block)
        for block in re.split(r"\n\s*\n", text.strip())
    ]


def _hard_breaks(text: str) -> str:
    return "  \n".join(_blocks(text)) + "\n"
