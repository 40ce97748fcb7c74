"""Templates: wrapped prose becomes lines, cells become tables, committed pages fit the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.active_learning.page import text as simulation_text
from benchmarks.harness.pages import render
from benchmarks.harness.tables import table
from benchmarks.reproduction.pages.segmentation_text import text as study_text
from benchmarks.speed import page

DOCS = Path(__file__).parents[3] / "docs"
RESULTS = DOCS / "results"


def test_a_paragraph_an_item_and_a_row_are_a_line_each(tmp_path: Path):
    (tmp_path / "page.md.j2").write_text(
        "# {{ title }}\n\nSome words\nthat go on.\n\n- one\n  item\n- two\n\n"
        "{% filter table %}\n| head\n{% for n in (1, 2) %}\nrow {{ n }} |\n{{ n | number }}\n"
        "{% endfor %}\n{% endfilter %}\n\n{% filter hard_breaks %}\nfirst\nline\n\nsecond\n"
        "{% endfilter %}\n"
    )
    assert render(tmp_path / "page.md.j2", title="A title") == (
        "# A title\n\nSome words that go on.\n\n- one item\n- two\n\n"
        "|  | head |\n| --- | ---: |\n| row 1 | 1.0000 |\n| row 2 | 2.0000 |\n\n"
        "first line  \nsecond\n"
    )


def test_a_row_of_other_length_than_the_head_is_refused():
    with pytest.raises(ValueError, match=r"1 cells in the row \['only'\], 2 in the head"):
        table("a | b\nonly")


def test_the_page_of_benchmarks_is_that_of_its_figures(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    assert page.main() == 0
    assert (tmp_path / "page.md").read_text() == (DOCS / "benchmarks.md").read_text()


@pytest.mark.parametrize(
    "file", sorted(RESULTS.glob("active_learning_*.json")), ids=lambda f: f.stem
)
def test_the_pages_of_simulations_are_those_of_their_figures(file: Path):
    report = json.loads(file.read_text())
    made = simulation_text(report, file.name, f"{file.stem}.png")
    assert made == file.with_suffix(".md").read_text()


@pytest.mark.parametrize("name", ["busi", "thesis_nuclei"])
def test_the_pages_of_studies_are_those_of_their_figures(name: str):
    report = json.loads((RESULTS / f"{name}.json").read_text())
    shown = ("loss", "mean_iou", "dice_kaggle", "panel")
    pictures = {each: f"{name}_{each}.png" for each in shown}
    pictures = {each: file for each, file in pictures.items() if (RESULTS / file).is_file()}
    missing = ["no panel of masks: their arrays are not in the folder of the runs"]
    made = study_text(report, pictures, f"{name}.json", [] if "panel" in pictures else missing)
    assert made == (RESULTS / f"{name}.md").read_text()
