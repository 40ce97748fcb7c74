"""The picture of a simulation, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.active_learning.protocol import BASELINE
from lib.plots import BLUE, GREEN, GREY, VERMILION, save

COLOURS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9")


def draw(path: Path, report: Mapping[str, Any]) -> Path:
    """Draw the score of each strategy against labels, with its band over seeds."""
    canvas = Figure(figsize=(6.4, 4.0), layout="constrained")
    chart = canvas.subplots()
    others = [name for name in report["strategies"] if name != BASELINE]
    for name in (BASELINE, *others):
        curve = report["strategies"][name]["curve"]
        colour = GREY if name == BASELINE else COLOURS[others.index(name) % len(COLOURS)]
        labels = [point["labels"] for point in curve]
        low, high = zip(*(point["interval"] for point in curve), strict=True)
        chart.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
        dashes = "--" if name == BASELINE else "-"
        means = [point["mean"] for point in curve]
        chart.plot(labels, means, color=colour, linestyle=dashes, marker=".", label=name)
    whole = report["all_labels"]
    mean, target = sum(whole) / len(whole), report["protocol"]["target"]
    chart.axhline(mean, color=GREY, linewidth=0.8)
    chart.axhline(target * mean, color=GREY, linewidth=0.8, dashes=(1, 2))
    counts = report["protocol"]["counts"]
    chart.text(counts[0], mean, f"all {report['data']['pool']} labels", fontsize=8, va="bottom")
    chart.text(counts[0], target * mean, f"{target:.0%} of it", fontsize=8, va="bottom")
    chart.set_xscale("log", base=2)
    chart.set_xticks(counts, [str(count) for count in counts])
    chart.set_xlabel("labels")
    chart.set_ylabel(f"score on {report['data']['test']} unseen samples")
    chart.grid(alpha=0.25)
    chart.legend(fontsize=8)
    return save(canvas, path)
