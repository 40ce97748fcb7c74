"""Scribbles and clicks without training: how good the answers are, and how long they take.

The annotators are simulated, see `lib.interactive.scribble_evaluation`. Times are of
`lib.interactive.scribbles` alone, on noisy balls of the sizes that the limits are meant for.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.fixtures import SEED
from lib.data.studies import fingerprint_of, list_items
from lib.image import Geometry, Image
from lib.interactive.clicks import Clicks
from lib.interactive.scribble_evaluation import MARKINGS, evaluate_scribbles
from lib.interactive.scribbles import segment_clicks, segment_scribbles
from lib.phantoms.nuclei import write_nuclei_studies

PHANTOMS = 12
REPEATS = 3
SIZES = {"image": (512, 512), "volume": (128, 128, 128)}
LIMITS_S = {"image": 0.5, "volume": 5.0}


def run(runs: int, on_round: Callable[[], object], studies: Path | None = None) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        runs: most images that are scribbled on.
        studies: folder of labelled images; None makes phantoms of nuclei.
    """
    with tempfile.TemporaryDirectory() as folder:
        if studies is None:
            write_nuclei_studies(Path(folder), PHANTOMS, PHANTOMS, seed=SEED)
        items = list_items(studies or folder, labelled=True)
        data = fingerprint_of(items)
        figures = evaluate_scribbles(items, SEED, runs, on_round)
    return {
        "what": f"simulated scribbles and clicks on {figures['images']} images of "
        f"{studies.name if studies else 'phantoms'}, and {REPEATS} answers of each size",
        "data": data,
        "kinds": MARKINGS,
        "dice": figures,
        "seconds": {name: _times(shape) for name, shape in SIZES.items()},
        "limits_s": LIMITS_S,
    }


def _times(shape: tuple[int, ...]) -> dict[str, float]:
    """Return the median seconds of an answer, by the clock and of the processor."""
    away = np.sqrt(
        sum((at - side / 2) ** 2 for at, side in zip(np.indices(shape), shape, strict=True))
    )
    away /= shape[0]
    pixels = np.random.default_rng(SEED).normal(80, 8, shape) + 60 * (away < 0.3)
    image = Image(pixels.astype(np.float32), Geometry.flat(*shape), Path("ball"))
    click = Clicks(np.array([[side // 2 for side in shape]]))
    work = {
        "scribbles": lambda: segment_scribbles(image, away < 0.05, away > 0.45),
        "correction": lambda: segment_scribbles(
            image, away < 0.05, (away > 0.34) & (away < 0.36), away < 0.38
        ),
        "click": lambda: segment_clicks(image, click),
    }
    seconds = {}
    for name, answer in work.items():
        spent, busy = [], []
        for _ in range(REPEATS):
            start, processor = time.perf_counter(), time.process_time()
            answer()
            spent.append(time.perf_counter() - start)
            busy.append(time.process_time() - processor)
        seconds[f"{name}_s"] = round(statistics.median(spent), 4)
        seconds[f"{name}_processor_s"] = round(statistics.median(busy), 4)
    return seconds


def table(report: dict[str, Any]) -> list[str]:
    """Return lines of the figures."""
    figures = report["dice"]
    lines = [
        f"{name:9}  Dice median {row['median']:.3f}, mean {row['mean']:.3f}, tenth percentile "
        f"{row['tenth_percentile']:.3f}  ({words})"
        for name, words in report["kinds"].items()
        for row in [figures[name]]
    ]
    lines.append(f"corrections that made the answer better: {figures['improved']:.1%}")
    for name, row in report["seconds"].items():
        shown = ", ".join(f"{work} {row[f'{work}_s']:.2f} s" for work in _TIMED)
        size = " x ".join(map(str, SIZES[name]))
        lines.append(f"{name} of {size}: {shown} (wanted below {report['limits_s'][name]} s)")
    return lines


_TIMED = ("scribbles", "correction", "click")
