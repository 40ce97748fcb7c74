"""Dense tissue and pectoral muscle of mammograms, beside outlines drawn by hand.

The folder has ``images``, films named ``CASE.SIDE_VIEW.png`` (those of a case are resampled
together), and ``tissue_masks``, pictures of the same names and sizes with the values of `MASKS`.
Half of the films, drawn with a fixed seed, is to develop on; the other half is to report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from benchmarks.speed.fixtures import SEED
from lib.errors import InputError
from lib.mammography.breast import prepare_breast
from lib.mammography.dense_tissue import dense_mask
from lib.mammography.mammogram import read_mammogram
from lib.statistics import RESAMPLES, bootstrap_weights, interval

MASKS = {"background": 64, "adipose": 128, "fibroglandular": 192, "pectoral muscle": 255}
SIDE = 650  # rows and columns at which a breast is looked at, as percent density and density tasks
HALVES = ("develop", "report")
LEAST = 4  # films: two in each half, for a correlation
FIGURES = {
    "muscle_dice": "muscle: mean Dice",
    "dense_dice": "dense tissue: mean Dice",
    "percent_correlation": "percent density: correlation",
    "percent_error": "percent density: mean absolute error, points",
}


def run(on_round: Callable[[], object], studies: Path | None = None) -> dict[str, Any]:
    """Measure, and return the figures of each film and of each half.

    Args:
        studies: folder with ``images`` and ``tissue_masks``.

    Raises:
        InputError: there are too few films, or one has no mask, or one that does not fit.
    """
    films = sorted((studies / "images").glob("*.png")) if studies else []
    if studies is None or len(films) < LEAST:
        raise InputError(
            f"tissue: {len(films)} films, expected at least {LEAST}; give --studies a folder with "
            f"images/*.png and, of the same names, tissue_masks/*.png"
        )
    order = np.random.default_rng(SEED).permutation(len(films))
    developed = set(order[: len(films) // 2].tolist())
    rows = []
    for index, film in enumerate(films):
        half = HALVES[index not in developed]
        rows.append({"film": film.stem, "half": half, **_measure(film)})
        on_round()
    return {
        "what": f"pectoral muscle and dense tissue beside outlines by hand on {len(films)} films",
        "side": SIDE,
        "resamples": RESAMPLES,
        "figures": {
            half: _summary([row for row in rows if row["half"] == half]) for half in HALVES
        },
        "films": rows,
    }


def _measure(film: Path) -> dict[str, float]:
    """Return Dice and percent density, by the app and by the outlines, of one film."""
    prepared = prepare_breast(read_mammogram(film), SIDE)
    tissue = dense_mask(prepared)
    drawn = _mask(film.parents[1] / "tissue_masks" / film.name, prepared.full_shape)
    dense = drawn == MASKS["fibroglandular"]
    breast = int((dense | (drawn == MASKS["adipose"])).sum())
    return {
        "muscle_dice": _dice(prepared.undo(tissue.muscle), drawn == MASKS["pectoral muscle"]),
        "dense_dice": _dice(prepared.undo(tissue.mask), dense),
        "percent": round(tissue.percent_density, 2),
        "percent_drawn": round(100 * int(dense.sum()) / breast if breast else 0.0, 2),
    }


def _mask(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask, uint8 `(rows, columns)`."""
    if not file.is_file():
        raise InputError(f"{file.name}: no such picture in tissue_masks; every film needs a mask")
    with PillowImage.open(file) as picture:
        drawn = np.asarray(picture.convert("L"))
    if drawn.shape != shape:
        raise InputError(f"{file.name}: mask of {drawn.shape} pixels, the film has {shape}")
    if strange := sorted(set(np.unique(drawn).tolist()) - {0, *MASKS.values()}):
        raise InputError(f"{file.name}: mask with values {strange[:5]}, expected {MASKS}")
    return drawn


def _dice(found: np.ndarray, drawn: np.ndarray) -> float:
    """Return the Dice of two masks; 1 where both are empty."""
    found = found > 0
    both = int(found.sum()) + int(drawn.sum())
    return round(2 * int((found & drawn).sum()) / both, 4) if both else 1.0


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean Dice, correlation and error with their intervals over cases."""
    cases = [row["film"].split(".")[0] for row in rows]
    weights = bootstrap_weights(cases, RESAMPLES, SEED)
    ours, drawn = (np.array([row[name] for row in rows]) for name in ("percent", "percent_drawn"))
    means = {name: np.array([row[name] for row in rows]) for name in ("muscle_dice", "dense_dice")}
    means["percent_error"] = np.abs(ours - drawn)
    figures = {
        name: np.average(np.tile(values, (len(weights), 1)), axis=1, weights=weights)
        for name, values in means.items()
    }
    figures["percent_correlation"] = np.array([_correlation(ours, drawn, row) for row in weights])
    return {
        "films": len(rows),
        "cases": len(set(cases)),
        **{
            name: {
                "value": round(float(figures[name][0]), 3),
                "interval": [round(float(end), 3) for end in interval(figures[name][1:])],
            }
            for name in FIGURES
        },
    }


def _correlation(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where either does not vary."""
    covariance = np.cov(one, other, aweights=weights, ddof=0)
    spread = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return float(covariance[0, 1]) / spread if spread > 0 else 0.0


def cell(figure: dict[str, Any]) -> str:
    """Return a figure with its interval, as docs/density.md shows it."""
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"


def table(report: dict[str, Any]) -> list[str]:
    """Return lines of the figures."""
    return [
        f"{half:8} {words:45} {cell(rows[name])}"
        for half, rows in report["figures"].items()
        for name, words in FIGURES.items()
    ]
