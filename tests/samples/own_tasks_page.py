"""The files that docs/own_tasks.md shows, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own_tasks.md").read_text()


def write_example(folder: Path, language: str = "yaml") -> Path:
    """Write the one example in YAML, or in Python, as my_tasks.yaml, or my_tasks.py."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    file = folder / f"my_tasks.{'py' if language == 'python' else language}"
    file.write_text(text)
    return file


def write_narrow_example(folder: Path) -> Path:
    """Write the example in YAML with a network and images that train in a moment."""
    file = write_example(folder)
    text = file.read_text()
    for before, after in (
        ("[8, 16, 32, 64]", "[4, 6, 8, 8]"),
        ("[192, 256]", "[32, 32]"),
        ("    labels:", "    input: {longest_side: 64}\n    labels:"),
    ):
        assert before in text
        text = text.replace(before, after, 1)
    file.write_text(text)
    return file
