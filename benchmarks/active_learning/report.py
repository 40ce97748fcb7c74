"""From the curves of all seeds to figures: labels needed, and whether that is fewer than random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from benchmarks.active_learning.protocol import BASELINE
from lib.statistics import RESAMPLES, interval

LEVEL = 0.05  # below which a difference is called significant
EXACT = 10**5  # sign changes: all are counted up to so many, else so many are drawn


def labels_needed(labels: Sequence[float], scores: Sequence[float], target: float) -> float:
    """Return the number of labels at which a curve first reaches a score.

    The curve is linear between its points.

    Args:
        labels: of each point, growing; the last are all labels, whose score is at least `target`.

    Returns:
        The first point's labels where that reaches it already, though fewer might do.
    """
    for point, score in enumerate(scores):
        if score >= target:
            if point == 0:
                return float(labels[0])
            low, below = labels[point - 1], scores[point - 1]
            return float(low + (labels[point] - low) * (target - below) / (score - below))
    raise ValueError(f"no score of {list(scores)} reaches {target}")


def gain_over(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Compare two figures seed by seed, where greater is better.

    Returns:
        The mean difference, its bootstrap interval over seeds, in how many seeds it is above 0,
        and p of the paired permutation test (the signs of the differences), one-sided: `ours` is
        not greater. It is exact up to `EXACT` sign changes (16 seeds); beyond, so many are drawn.
    """
    difference = np.array(ours, dtype=float) - np.array(theirs, dtype=float)
    rng = np.random.default_rng(seed)
    bounds = _bootstrap_interval(difference, rng)
    p = 1.0
    if len(difference) > 1 and difference.any():
        found = permutation_test(
            (np.array(ours), np.array(theirs)),
            lambda x, y, axis: (x - y).mean(axis=axis),
            permutation_type="samples",
            alternative="greater",
            vectorized=True,
            n_resamples=EXACT,
            random_state=rng,
        )
        p = float(found.pvalue)
    return {
        "mean": float(difference.mean()),
        "interval": bounds,
        "better_in": int((difference > 0).sum()),
        "of": len(difference),
        "p": p,
    }


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Return p-values of several tests together, by Holm 1979 (Scand. J. Statistics 6)."""
    adjusted, greatest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(ps.items(), key=lambda entry: entry[1])):
        greatest = max(greatest, min(1.0, p * (len(ps) - rank)))
        adjusted[name] = greatest
    return adjusted


def summarise(
    seeds: Sequence[Mapping[str, Any]], pool: int, target: float
) -> dict[str, dict[str, Any]]:
    """Return the figures of each strategy over the seeds that were played.

    Args:
        seeds: what `benchmarks.active_learning.rounds.Player.play` returned for each.
        pool: samples that could be labelled.
        target: share of the score with all labels that is to be reached.
    """
    table: dict[str, dict[str, Any]] = {}
    for strategy in seeds[0]["curves"]:
        needed = []
        for seed in seeds:
            points = [*seed["curves"][strategy], seed["all"]]
            labels = [point["labels"] for point in points]
            found = [point["score"] for point in points]
            needed.append(labels_needed(labels, found, target * found[-1]))
        scores = np.array([[point["score"] for point in s["curves"][strategy]] for s in seeds])
        counts = [point["labels"] for point in seeds[0]["curves"][strategy]]
        table[strategy] = {
            "curve": [
                _point(count, column) for count, column in zip(counts, scores.T, strict=True)
            ],
            "labels_needed": needed,
            "labels_needed_mean": float(np.mean(needed)),
            "labels_needed_median": float(np.median(needed)),
            "share_of_pool": float(np.mean(needed)) / pool,
            "in_rounds": sum(value <= counts[-1] for value in needed),
            "mean_score": [float(row.mean()) for row in scores[:, 1:]],
        }
    _compare(table)
    return table


def _compare(table: dict[str, dict[str, Any]]) -> None:
    """Add to each strategy how it does against the baseline."""
    base = table[BASELINE]
    others = [name for name in table if name != BASELINE]
    for name in others:
        row = table[name]
        ours, theirs = (-np.array(each["labels_needed"]) for each in (row, base))
        most = row["curve"][-1]["labels"]
        row["labels_saved"] = gain_over(ours.tolist(), theirs.tolist())
        # what lies beyond the rounds is interpolated far: no more than they show counts here
        row["labels_saved_in_rounds"] = gain_over(
            np.maximum(ours, -most).tolist(), np.maximum(theirs, -most).tolist()
        )
        row["score_gained"] = gain_over(row["mean_score"], base["mean_score"])
    for figure in ("labels_saved", "labels_saved_in_rounds", "score_gained"):
        adjusted = holm({name: table[name][figure]["p"] for name in others})
        for name in others:
            table[name][figure]["p_holm"] = adjusted[name]


def _point(count: int, scores: np.ndarray) -> dict[str, Any]:
    """Return the mean of a round over the seeds and its bootstrap interval."""
    bounds = _bootstrap_interval(scores, np.random.default_rng(count))
    return {"labels": count, "mean": float(scores.mean()), "interval": bounds}


def _bootstrap_interval(values: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Return the bounds of the mean of `values`, one for each seed."""
    draws = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    return [float(bound) for bound in interval(draws)]


def verdicts(report: Mapping[str, Any]) -> list[str]:
    """Say plainly which strategies need fewer labels than random, and which do not."""
    table, base = report["strategies"], report["strategies"][BASELINE]
    target, pool = report["protocol"]["target"], report["data"]["pool"]
    lines = []
    for name, row in sorted(table.items(), key=lambda entry: entry[1]["labels_needed_mean"]):
        if name == BASELINE:
            continue
        saved = row["labels_saved"]
        facts = (
            f"{row['labels_needed_mean']:.1f} labels on average ({row['share_of_pool']:.0%} of the "
            f"pool of {pool}) to {target:.0%} of the score with all labels, random "
            f"{base['labels_needed_mean']:.1f}; fewer in {saved['better_in']} of {saved['of']} "
            f"seeds, p = {saved['p']:.3f} one-sided, {saved['p_holm']:.3f} by Holm over the "
            f"strategies"
        )
        if saved["p"] < LEVEL and saved["mean"] > 0:
            lines.append(f"**{name}** needs fewer labels than random: {facts}.")
        else:
            lines.append(f"**{name}** does not beat random: {facts}.")
    return lines
