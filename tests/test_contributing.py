"""The worked examples of CONTRIBUTING.md run, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)+)", TEXT, re.MULTILINE))


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the title of its section and the code of each block in a language."""
    fence = rf"^```{language}\n(.*?)^```"
    return [
        (title, code)
        for title, section in SECTIONS.items()
        for code in re.findall(fence, section, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("title", "code"), blocks("python"), ids=lambda text: text[:25])
def test_an_example_in_python_runs(title, code, run_python):
    ended = run_python("-c", code)
    assert ended.returncode == 0, ended.stderr
    assert "assert " in code


def test_there_is_an_example_of_each_table():
    titles = [title for language in ("python", "js") for title, _ in blocks(language)]
    assert titles == [
        "A network variant, or a task",
        "A loss",
        "A data set importer",
        "A file type",
        "A form of answers",
        "A kind of task",
        "A button in the OHIF panel",
    ]


def test_the_example_of_a_button_uses_functions_of_the_panel():
    [(_, code)] = blocks("js")
    scripts = "\n".join(
        file.read_text() for file in (REPOSITORY / "monailabel_app/viewers/ohif").glob("*.js")
    )
    defined = set(re.findall(r"function (\w+)\(", scripts))
    called = set(re.findall(r"(?<![.\w])(\w+)\(", code)) - {"async"}
    assert called == {"addSection", "action", "infer", "requireImage"}
    assert called <= defined
    assert re.search(r"^addSection\(.*?\baction\(", scripts, re.DOTALL | re.MULTILINE)


def test_the_files_that_the_documents_name_are_there():
    pattern = r"`((?:lib|infer|trainers|monailabel_app|benchmarks|tests)/[\w/.]+)`"
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]
    pages += (REPOSITORY / "docs" / "models").glob("*.md")
    named = {path for page in pages for path in re.findall(pattern, page.read_text())}
    made_up = {"lib/datasets/cells.py"}  # of an example
    assert {path for path in named - made_up if not (REPOSITORY / path).exists()} == set()


def test_relative_links_of_the_documents_lead_somewhere():
    broken = [
        f"{page.relative_to(REPOSITORY)} -> {link}"
        for page in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []
