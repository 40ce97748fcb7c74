"""The page of a study, from its report and the masks its runs kept; nothing is trained for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import pages
from benchmarks.reproduction.pages.exam_text import exam_text
from benchmarks.reproduction.pages.segmentation_text import text


def write_page(report: Mapping[str, Any], out: Path, page: Path, json_file: Path) -> list[str]:
    """Write the page and its pictures.

    Args:
        out: folder of the runs, for the masks.
        page: Markdown file; the pictures lie beside it under its name.
        json_file: the report, linked from the page.

    Returns:
        What could not be drawn, a line each.
    """
    exams = report.get("subject") == "exams"
    pictures, missing = _draw(report, out, page, exams)
    content = (exam_text if exams else text)(report, pictures, json_file.name, missing)
    pages.write_page(page, content)
    return missing


def _draw(
    report: Mapping[str, Any], out: Path, page: Path, exams: bool
) -> tuple[dict[str, str], list[str]]:
    """Return the file names of the pictures, by what they show, and what is missing."""
    try:
        from benchmarks.reproduction.pages import exam_figures, figures
    except ImportError as error:
        return {}, [f"no pictures: {error.name or 'matplotlib'} is not installed here"]
    if not any(run["status"] == "done" for run in report["runs"]):
        return {}, ["no pictures: no run has figures"]
    return exam_figures.draw(report, page) if exams else figures.draw(report, out, page)
