"""The benchmark of the viewer: its figures, in the terminal and on the page."""

from __future__ import annotations

from benchmarks.harness.pages import render
from benchmarks.speed import viewer
from benchmarks.speed.page import TEMPLATE, TITLES


def test_the_figures_are_medians_and_are_shown_for_each_study_visit_and_variant():
    times = [
        {"scripts_s": 0.5, "image_s": 0.8, "useful_s": useful, "busy_s": 1.5, "mib": 4.2}
        for useful in (1.1, 0.9, 3.0)
    ]
    summary = viewer._summary(times)
    assert (summary["useful_s"], summary["min_s"], summary["max_s"]) == (1.1, 0.9, 3.0)
    rows = [
        {"study": "picture", "variant": variant, "visit": visit, **summary}
        for variant in viewer.VARIANTS
        for visit in viewer.VISITS
    ]
    report = {"figures": rows, "runs": 3, "limit_s": viewer.LIMIT_S, "below_limit": True}
    lines = viewer.table(report)
    assert len(lines) == 5 and "1.10 s" in lines[1] and "first visit" in lines[1]
    assert "viewer" in TITLES
    page = render(TEMPLATE.with_name("viewer.md.j2"), report=report)
    assert page.count("1.10 s (0.90..3.00)") == 4 and "two cores: met" in " ".join(page.split())
