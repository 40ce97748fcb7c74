"""Clicks: how many an answer needs, and how long each takes through a real server.

The users are simulated, see `lib.interactive.click_evaluation`. The times are those of POST /infer
on images in the store, asked for by id, with the reply as a label image: the first click on an
image that was not asked for before, then further ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.speed.fixtures import SEED
from benchmarks.speed.serving import Server, spread
from lib.data.studies import fingerprint_of, split_items
from lib.errors import InputError, UnpublishedError
from lib.files import sha256
from lib.interactive.click_evaluation import ERRORS, MOST_ON_OBJECT, evaluate_clicks
from lib.interactive.predictor import ClickPredictor
from lib.io.volumes import save_volume
from lib.kinds import kind_of
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies
from lib.phantoms.ultrasound.studies import gland_volume
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore

TASK = "nuclei_click"
SIDE = 512
VOLUME = (64, 96, 96)
FURTHER = 4  # clicks after the first
PHANTOMS = 8
_WORDS = {"missed": "missed", "merged": "merged with another", "outline": "wrongly outlined"}
LIMITS_S = {"first": 0.7, "further": 0.3}  # of the first click on an image, and of others


def run(
    runs: int,
    store: ModelStore,
    on_round: Callable[[], object],
    task: str = TASK,
    studies: Path | None = None,
    split: str = "all",
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        runs: images that are clicked on through the server.
        studies: folder of labelled images; None makes phantoms of nuclei.
        split: "all" images, or those that training holds out ("validation").
    """
    row = get_task(task)
    if row.clicks is None:
        raise InputError(f"'{task}' takes no clicks; choose a task such as {TASK}")
    weights = store.served_path(task)
    if weights is None:
        raise UnpublishedError(f"'{task}' has no weights yet; train it first")
    predictor = ClickPredictor.from_checkpoint(row, load_checkpoint(weights))
    held_out = split == "validation"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if studies is None:
            write_nuclei_studies(folder / "labelled", PHANTOMS, PHANTOMS, seed=SEED)
        items = kind_of(row).cases.list(studies or folder / "labelled", row, True)
        if held_out:
            items = split_items(items, row.training.val_split)[1]
        data = fingerprint_of(items)
        figures = evaluate_clicks(predictor, items, SEED, on_item=on_round)
        times = _times(runs, row, weights, folder)
    size = VOLUME if row.image_dims == 3 else (SIDE, SIDE)
    return {
        "what": f"simulated clicks with {task}: {len(items)} {'held-out ' if held_out else ''}"
        f"images of {studies.name if studies else 'phantoms'}, and {runs} phantoms of "
        f"{'x'.join(map(str, size))} through the server",
        "task": task,
        "weights_sha256": sha256(weights),
        "data": data,
        "clicks": figures,
        "request": times,
        "limits_s": LIMITS_S,
    }


def _times(runs: int, task: TaskSpec, weights: Path, folder: Path) -> dict[str, Any]:
    """Return the seconds of clicks through a server."""
    studies = folder / "studies"
    studies.mkdir()
    write = _write_volume if task.image_dims == 3 else _write_image
    points = [write(studies, number) for number in range(runs + 1)]
    with Server(studies, {task.name: weights}, folder) as server:

        def click(number: int, count: int) -> float:
            clicked = points[number][:count]
            return server.infer(f"image{number}", foreground=clicked, background=[])

        click(0, 1)  # loads the weights
        first, further = [], []
        for number in range(1, runs + 1):
            first.append(click(number, 1))
            further += [click(number, count) for count in range(2, FURTHER + 2)]
    return {"first": spread(first), "further": spread(further)}


def _write_image(studies: Path, number: int) -> list[list[int]]:
    """Write a phantom of nuclei; returns the columns, rows and slices of clicks on some."""
    pixels, label = nuclei_phantom(SEED + number, rows=SIDE, columns=SIDE, nuclei=120)
    Image.fromarray(pixels).save(studies / f"image{number}.png")
    nuclei = [(label == value).nonzero() for value in range(1, FURTHER + 2)]
    return [[int(x.mean()), int(y.mean()), 0] for y, x in nuclei]


def _write_volume(studies: Path, number: int) -> list[list[int]]:
    """Write a phantom of a gland; returns the columns, rows and slices of clicks in it."""
    phantom = gland_volume(SEED + number, VOLUME)
    save_volume(studies / f"image{number}.nrrd", phantom.image, phantom.spacing)
    inside = np.argwhere(phantom.label > 0)
    drawn = np.random.default_rng(SEED + number).choice(inside, FURTHER + 1, replace=False)
    return [[int(index) for index in voxel[::-1]] for voxel in drawn]


def table(report: dict[str, Any]) -> list[str]:
    """Return lines of the figures."""
    clicks, request = report["clicks"], report["request"]
    curve = clicks["mean_dice"]
    lines = [
        "mean Dice after 0, 1, 2, 3, 5, 10, 20 clicks  "
        + "  ".join(f"{curve[n]:.3f}" for n in (0, 1, 2, 3, 5, 10, 20) if n < len(curve)),
        f"largest fall of the mean with a further click  {clicks['largest_fall']:.4f}",
        _line(f"clicks to Dice {clicks['target_dice']}", clicks["clicks_to_90"]),
    ]
    lines += [
        _line(f"clicks on an object: {_WORDS[error]}, at most {MOST_ON_OBJECT}", clicks[error])
        for error in ERRORS
        if error in clicks
    ]
    for name, title in (("first", "first click on an image"), ("further", "further click")):
        row = request[name]
        lines.append(
            f"{title}: median {row['median_s']:.3f} s, p95 {row['p95_s']:.3f} s "
            f"(wanted below {report['limits_s'][name]} s)"
        )
    return lines


def _line(title: str, row: dict[str, Any]) -> str:
    if not row["count"]:
        return f"{title}: none"
    low, high = row["median_interval"]
    off = row.get("found_off_middle")
    return (
        f"{title}: median {row['median']:g} ({low:g} to {high:g}), mean {row['mean']:.2f}, "
        f"reached {row['reached']:.1%} of {row['count']}"
    ) + ("" if off is None else f", by one click off the middle {off:.1%}")
