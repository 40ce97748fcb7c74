"""`benchmark tissue`: films and outlines of phantoms, and the figures of docs/density.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from benchmarks.speed import tissue
from lib.errors import InputError
from lib.phantoms.mammograms.formation import Anatomy, form_view

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


def _nothing() -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six oblique films with perfect outlines, densities 0.1 to 0.6."""
    folder = tmp_path_factory.mktemp("films")
    for name in ("images", "tissue_masks"):
        (folder / name).mkdir()
    for case in range(6):
        rng = np.random.default_rng((case, 5))
        view = form_view(rng, Anatomy.draw(rng), 0.1 + 0.1 * case, True, (256, 192), 0.9)
        mask = np.where(view.breast, 128, 64).astype(np.uint8)
        mask[view.dense] = 192
        mask[view.muscle] = 255
        name = f"case{case}.RIGHT_MLO.png"
        grey = np.rint(np.clip(view.grey, 0, 1) * 65535).astype(np.uint16)
        PillowImage.fromarray(grey).save(folder / "images" / name)
        PillowImage.fromarray(mask).save(folder / "tissue_masks" / name)
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return tissue.run(_nothing, folder)


def test_each_film_is_in_one_half_and_the_figures_are_of_the_halves(report):
    halves = [row["half"] for row in report["films"]]
    assert (halves.count("develop"), halves.count("report")) == (3, 3)
    for half, figures in report["figures"].items():
        rows = [row for row in report["films"] if row["half"] == half]
        ours, drawn = (np.array([r[k] for r in rows]) for k in ("percent", "percent_drawn"))
        expected = {
            "muscle_dice": np.mean([row["muscle_dice"] for row in rows]),
            "dense_dice": np.mean([row["dense_dice"] for row in rows]),
            "percent_error": np.abs(ours - drawn).mean(),
            "percent_correlation": np.corrcoef(ours, drawn)[0, 1],
        }
        for name, value in expected.items():
            assert figures[name]["value"] == pytest.approx(value, abs=6e-4), name
            low, high = figures[name]["interval"]
            assert low <= figures[name]["value"] <= high


def test_the_outlines_are_read_by_their_values(report):
    drawn = [row["percent_drawn"] for row in report["films"]]
    assert drawn == sorted(drawn)
    assert 5 < drawn[0] < 20
    assert 45 < drawn[-1] < 75
    assert np.mean([row["dense_dice"] for row in report["films"]]) > 0.5
    assert np.mean([row["muscle_dice"] for row in report["films"]]) > 0.5


def test_two_measurements_are_the_same(report, folder):
    assert tissue.run(_nothing, folder) == report


def test_too_few_films_and_masks_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"0 films, expected at least 4; give --studies"):
        tissue.run(_nothing)
    name = "case0.RIGHT_MLO.png"
    with pytest.raises(InputError, match="every film needs a mask"):
        tissue._mask(tmp_path / name, (256, 192))
    with pytest.raises(InputError, match="the film has"):
        tissue._mask(folder / "tissue_masks" / name, (256, 100))
    PillowImage.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / name)
    with pytest.raises(InputError, match=r"values \[77\]"):
        tissue._mask(tmp_path / name, (8, 8))


def test_the_page_shows_the_figures_of_the_committed_files():
    page = (ROOT / "docs/density.md").read_text()
    before, now = (
        json.loads((RESULTS / f"benchmark_tissue{one}.json").read_text())["figures"]
        for one in ("_before", "")
    )
    for name, words in tissue.FIGURES.items():
        cells = [tissue.cell(one[half][name]) for half in tissue.HALVES for one in (before, now)]
        assert f"| {words} | {' | '.join(cells)} |" in page
