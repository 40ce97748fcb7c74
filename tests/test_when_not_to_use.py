"""The page on when not to use a model says what the files of figures say, and weights warn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib.weights.checkpoint import load_checkpoint
from lib.weights.familiarity import Familiarity
from monailabel_app.config import SHIPPED_MODELS

DOCS = Path(__file__).parents[1] / "docs"
FIGURES = sorted((DOCS / "results").glob("familiarity_*.json"))
LINES = {
    "held out": "held-out images",
    "busi": "BUSI",
    "nuinsseg": "NuInsSeg",
    "mini_mias": "mini-MIAS",
    "photographs": "photographs",
    "noise": "noise",
}


def _table() -> list[list[str]]:
    lines = (DOCS / "when_not_to_use.md").read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| images |"))
    rows = lines[begin : lines.index("", begin)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("file", FIGURES, ids=lambda file: file.stem)
def test_the_page_has_the_figures(file):
    heads, _, *rows = _table()
    figures = json.loads(file.read_text())
    column = heads.index(f"`{figures['about']['task']}`")
    for name, begin in LINES.items():
        found = figures["sets"][name]
        warned = found.get("warned_left_out", found["warned"])
        (row,) = (row for row in rows if row[0].startswith(begin))
        assert row[column] == f"{warned} of {found['images']}", name


@pytest.mark.parametrize("file", FIGURES, ids=lambda file: file.stem)
def test_the_weights_that_ship_know_their_images(file):
    about = json.loads(file.read_text())["about"]
    checkpoint = load_checkpoint(SHIPPED_MODELS / f"pretrained_{about['task']}.pt")
    known = Familiarity.of(checkpoint.answer)
    assert known is not None
    assert (known.training, known.validation) == (about["training"], about["validation"])
    assert known.limit == pytest.approx(about["limit"], rel=1e-3)


def test_the_page_has_the_figures_of_views():
    plain = json.loads((DOCS / "results" / "unlike_views_density_dense_lite.json").read_text())
    sets, page = plain["sets"], (DOCS / "when_not_to_use.md").read_text()
    organs = [
        sets.pop(n) for n in ("breast_ultrasound", "nerves", "fetal_heads", "nuclei", "sections")
    ]
    sets["others"] = {key: sum(one[key] for one in organs) for key in ("warned", "images")}
    assert f"{sum(one['refused'] for one in organs)} of 300)" in page
    for name, one in sets.items():
        warned = one.get("warned_left_out", one["warned"])
        assert f" {warned} of {one['images']} |" in page, name
    checkpoint = load_checkpoint(SHIPPED_MODELS / "pretrained_density_dense_lite.pt")
    known = Familiarity.of(checkpoint.answer)
    assert known is not None
    assert known.limit == pytest.approx(plain["about"]["limit"], rel=1e-3)


def test_there_is_something_to_look_at():
    assert len(FIGURES) >= 3
