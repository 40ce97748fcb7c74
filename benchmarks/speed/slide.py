"""One image that is larger than memory: `infer` in a process of its own, whose memory is measured.

The image is made of seeded phantoms, tile by tile, and written as a tiled TIFF. The answer is a
label pyramid and GeoJSON. Memory is the most that the process held at once, as the kernel tells it
when the process has ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.speed.fixtures import SEED, TASK, weights
from lib.errors import InputError
from lib.image import MAX_PIXELS
from lib.phantoms.nuclei import nuclei_phantom
from lib.weights.store import ModelStore

SIDE = 32_768
PATCH, PATCHES, NUCLEI = 512, 16, 40  # pixels of a phantom, how many, nuclei in each
LIMIT_GIB = 4.0


def run(
    store: ModelStore, on_round: Callable[[], object], size: int = SIDE, rows: int | None = None
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        size: columns, a multiple of `PATCH`.
        rows: likewise; None for as many. Memory depends on the columns alone.

    Raises:
        InputError: another size, or one that `infer` reads whole.
    """
    rows = rows or size
    if size % PATCH or rows % PATCH or size * rows <= MAX_PIXELS:
        raise InputError(
            f"{size} x {rows} pixels: expected multiples of {PATCH}, and more than {MAX_PIXELS} in "
            f"all; give another --size or --rows"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, origin = weights(store, folder)
        image = folder / "slide.tif"
        start = time.perf_counter()
        drawn = write_slide(image, rows, size)
        written = time.perf_counter() - start
        figures = answer(image, folder, [TASK, "--weights", str(file)])
        on_round()
        figures["nuclei_drawn"] = drawn
        figures["image_mib"] = round(image.stat().st_size / 2**20)
    pixels = rows * size
    return {
        "what": f"one {size} x {rows} image with {TASK}, from file to label pyramid and GeoJSON",
        "task": TASK,
        "weights": origin,
        "columns": size,
        "rows": rows,
        "seconds_to_write_the_image": round(written, 1),
        "memory_limit_gib": LIMIT_GIB,
        "below_limit": figures["peak_memory_mib"] / 1024 < LIMIT_GIB,
        "megapixels_per_s": round(pixels / 1e6 / figures["seconds"], 3),
        "figures": figures,
    }


def write_slide(path: Path, rows: int, columns: int) -> int:
    """Write a seeded image, uint8, tile by tile; return how many nuclei it shows.

    Nuclei of neighbouring phantoms may touch at their borders.
    """
    rng = np.random.default_rng(SEED)
    made = [
        nuclei_phantom(SEED + number, rows=PATCH, columns=PATCH, nuclei=NUCLEI)
        for number in range(PATCHES)
    ]
    patches = [np.asarray(image) for image, _ in made]
    counts = [len(np.unique(label)) - 1 for _, label in made]
    order = rng.integers(0, PATCHES, (rows // PATCH, columns // PATCH))
    turned = rng.integers(0, 4, order.shape)

    def tiles() -> Iterator[np.ndarray]:
        for index, turn in zip(order.ravel(), turned.ravel(), strict=True):
            yield np.ascontiguousarray(np.rot90(patches[index], int(turn)))

    tifffile.imwrite(
        path,
        tiles(),
        shape=(rows, columns),
        dtype=patches[0].dtype,
        tile=(PATCH, PATCH),
        compression="zlib",
        compressionargs={"level": 1},
        photometric="minisblack",
        metadata=None,
    )
    return int(np.array(counts)[order].sum())


def answer(
    image: Path, folder: Path, words: Sequence[str], before: Sequence[str] = ()
) -> dict[str, Any]:
    """Run `infer` on an image in a process of its own, and return its figures.

    Args:
        folder: gets the answers.
        words: of `infer`, the task first.
        before: words before the command.

    Raises:
        InputError: it fails.
    """
    out, report, outlines = folder / "out", folder / "infer.json", folder / "outlines.geojson"
    task, *rest = words
    command = [sys.executable, "-m", "monailabel_app", *before, "infer", task, str(image)]
    command += ["--out", str(out), "--geojson", str(outlines), "--json", str(report), *rest]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise InputError(f"benchmark: slide: {lines[-1] if lines else 'ended by itself'}")
    told = json.loads(report.read_text())
    (row,) = told["images"]
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_mib": round(used.ru_maxrss / 1024),
        "backend": told["backend"],
        "objects": row["objects"],
        "foreground": row["foreground"],
        "answer_mib": round((out / image.name).stat().st_size / 2**20),
        "outlines_mib": round(outlines.stat().st_size / 2**20),
    }


def table(report: dict[str, Any]) -> list[str]:
    """Return lines of the figures."""
    found = report["figures"]
    return [
        f"{found['seconds'] / 60:.1f} min, {report['megapixels_per_s']:.2f} million pixels a "
        f"second, {found['backend']}",
        f"peak memory {found['peak_memory_mib']} MiB (wanted below "
        f"{report['memory_limit_gib']:.0f} GiB)",
        f"{found['objects']} objects, {found['nuclei_drawn']} nuclei drawn; answer "
        f"{found['answer_mib']} MiB, outlines {found['outlines_mib']} MiB",
    ]
