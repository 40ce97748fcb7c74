"""Writes docs/benchmarks.md from the figures in docs/results: `python -m benchmarks.speed.page`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.harness.machine import bf16_words
from benchmarks.harness.pages import render, write_page
from benchmarks.speed import clicks, scribbles
from benchmarks.speed.rounds import speedup
from benchmarks.speed.rows import memory

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
TEMPLATE = Path(__file__).with_name("pages") / "benchmarks.md.j2"

# by the names of the benchmarks, which are those of the templates of their sections
TITLES = {
    "training-step": "Training step",
    "rows": "Training throughput of every row",
    "inference": "Inference",
    "volume": "One volume",
    "server": "Server",
    "exam": "Four-view exam",
    "annotators": "Many annotators",
    "clicks": "Clicks",
    "scribbles": "Scribbles",
}


def main() -> int:
    """Write the page; the status is 1 where no results are there yet."""
    sections = []
    for name, title in TITLES.items():
        stem = f"benchmark_{name.replace('-', '_')}"
        for file in sorted((*RESULTS.glob(f"{stem}.json"), *RESULTS.glob(f"{stem}_on_*.json"))):
            sections.append((name, title, file.name, json.loads(file.read_text())))
    if not sections:
        print(f"no results in {RESULTS.name}; run `python -m monailabel_app benchmark NAME` first")
        return 1
    text = render(
        TEMPLATE,
        sections=sections,
        bf16_words=bf16_words,
        speedup=speedup,
        memory=memory,
        clicks_table=clicks.table,
        scribbles_table=scribbles.table,
    )
    write_page(PAGE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
