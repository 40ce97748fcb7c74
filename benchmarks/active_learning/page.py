"""The page of a simulation, from its report alone: protocol, tables, curves, verdicts.

`python -m benchmarks.active_learning.page` makes the pages in docs/results again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.active_learning.protocol import BASELINE
from benchmarks.active_learning.report import EXACT
from benchmarks.harness import pages

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"

METRICS = {
    "dice_kaggle": "mean over images of the Dice of the foreground (1 for an empty answer where "
    "nothing is, 0 for any other there), on the network's own grid",
    "exam_kappa": "Cohen's kappa, quadratically weighted, of exams",
}


def write_page(report: Mapping[str, Any], page: Path, json_name: str) -> Path:
    """Write the Markdown page and, where matplotlib is installed, its curve beside it."""
    picture = missing = ""
    try:
        from benchmarks.active_learning.figures import draw
    except ImportError as error:
        missing = f"No picture: {error.name or 'matplotlib'} is not installed here."
    else:
        picture = draw(page.with_suffix(".png"), report).name
    return pages.write_page(page, text(report, json_name, picture, missing))


def text(report: Mapping[str, Any], json_name: str, picture: str, missing: str = "") -> str:
    """Return the page.

    Args:
        json_name: file of the report, beside the page.
        picture: file of the curve, empty where it could not be drawn.
        missing: why it could not be drawn.
    """
    return pages.render(
        Path(__file__).with_name("page.md.j2"),
        report=report,
        protocol=report["protocol"],
        data=report["data"],
        strategies=report["strategies"],
        metric=METRICS.get(report["protocol"]["metric"], report["protocol"]["metric"]),
        baseline=BASELINE,
        exact=EXACT,
        json_name=json_name,
        picture=picture,
        missing=missing,
    )


if __name__ == "__main__":
    for file in RESULTS.glob("active_learning_*.json"):
        write_page(json.loads(file.read_text()), file.with_suffix(".md"), file.name)
