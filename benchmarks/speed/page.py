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
    "train": "Training from cold start",
    "study": "A study, runs at once",
    "rows": "Training throughput of every row",
    "inference": "Inference",
    "answers": "Answers of the default model",
    "batch": "Answers on a folder",
    "volume": "One volume",
    "server": "Server",
    "exam": "Four-view exam",
    "viewer": "A study in the viewer",
    "annotators": "Many annotators",
    "kills": "Kills",
    "soak": "Many requests",
    "clicks": "Clicks",
    "scribbles": "Scribbles",
}

_GPU_SCRIPT = ("training-step", "train", "study", "rows", "inference", "batch")
ON_GPU = {name: TITLES[name] for name in _GPU_SCRIPT}


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
    measured = {name for name, *_, report in sections if report.get("device") == "cuda"}
    text = render(
        TEMPLATE,
        sections=sections,
        unmeasured=[title for name, title in ON_GPU.items() if name not in measured],
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
