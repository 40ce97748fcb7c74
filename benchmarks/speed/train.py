"""A whole training, from the start of its process: ours, and MONAI Label's way.

Ours is `lib.training.loop.fit`, what the verb `train` and the Train button run. Stock is MONAI's
SupervisedTrainer with the arguments of BasicTrainTask, its CacheDataset and ThreadDataLoader
without workers, and MONAI's transforms for the augmentation of the row, see `train_stock`. Both
train the same network with the same loss, optimiser, schedule, batch and split, are scored on the
same held-out images by our predictor after the same numbers of steps, and have a process of their
own, one after the other.

Images a second are counted from the first validation to the last, validations included: starting,
reading, recording and compiling come before.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.device_load import (
    count_flops,
    device_memory_mib,
    device_name,
    load_lines,
    peak_tflops,
    rate_of,
    watched,
)
from benchmarks.speed.fixtures import SEED, TASK, precision_name, random_network, training_batch
from benchmarks.speed.rounds import measure
from benchmarks.speed.train_stock import train_stock
from lib.data.case import Figures
from lib.devices import resolve_device, resolve_precision
from lib.errors import InputError
from lib.kinds import list_labelled
from lib.phantoms.nuclei import write_nuclei_studies
from lib.segmentation.losses import get_loss
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions

OURS, STOCK = "ours", "stock (BasicTrainTask)"
IMAGES, QUICK_IMAGES = 96, 12  # phantoms of 256x256
STEPS = {"cpu": 120, "cuda": 3500}
SECONDS = {"cpu": {OURS: 60.0, STOCK: 60.0}, "cuda": {OURS: 75.0, STOCK: 40.0}}  # then they stop
GOALS = (0.90, 0.92)  # of the mean IoU on held-out images


class _TimeOver(Exception):
    """The training has had its time."""


def prepare(
    variant: str,
    threads: int,
    device: str,
    task: TaskSpec,
    studies: str,
    begun: float,
    limit: float,
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return a function that trains, and one that returns the figures of the training."""
    torch.set_num_threads(threads)
    target = torch.device(device)
    seen: list[tuple[float, int, float]] = []
    samples: list[float] = []
    figures: dict[str, Any] = {}

    def validated(step: int, scores: Figures) -> None:
        seen.append((time.time() - begun, step, scores["mean_iou"]))
        if len(seen) == 1:
            samples.clear()  # of starting, reading and compiling
        if seen[-1][0] > limit:
            raise _TimeOver

    def run() -> None:
        if target.type == "cuda":
            torch.cuda.reset_peak_memory_stats(target)
        items = list_labelled(Path(studies), task)
        with watched(target, samples) as utilisation, tempfile.TemporaryDirectory() as out:
            options = FitOptions(
                out=Path(out),
                seed=SEED,
                device=device,
                progress=False,
                tensorboard=False,
                on_validation=validated,
            )
            try:
                (fit if variant == OURS else train_stock)(task, items, options)
            except _TimeOver:
                figures["stopped_after_s"] = round(limit, 1)
        figures["utilisation_percent"] = utilisation.mean
        figures["peak_device_memory_mib"] = device_memory_mib(target)

    def finish() -> dict[str, Any]:
        return {**_course(seen, task), **figures, **_rate(seen, task, target)}

    return run, finish


def _course(seen: list[tuple[float, int, float]], task: TaskSpec) -> dict[str, Any]:
    """Return seconds, steps and scores of the validations, and when the goals were reached."""
    (first_s, first, _), (last_s, last, score) = seen[0], seen[-1]
    images = (last - first) * task.training.batch_size
    reached = {
        f"seconds_to_{goal:.2f}": next((round(s, 2) for s, _, iou in seen if iou >= goal), None)
        for goal in GOALS
    }
    return {
        "steps": last,
        "first_validation_s": round(first_s, 2),
        "last_validation_s": round(last_s, 2),
        "images_per_s": round(images / (last_s - first_s), 1) if last > first else None,
        "mean_iou": round(score, 4),
        "best_mean_iou": round(max(iou for _, _, iou in seen), 4),
        **reached,
        "validations": [[round(s, 2), step, round(iou, 4)] for s, step, iou in seen],
    }


def _rate(
    seen: list[tuple[float, int, float]], task: TaskSpec, device: torch.device
) -> dict[str, Any]:
    """Return operations a second between the first validation and the last."""
    (first_s, first, _), (last_s, last, _) = seen[0], seen[-1]
    if last == first:
        return {}
    network = random_network(TASK).to(device)
    side = task.training.patch_sides(2)[0]
    images, targets = (part.to(device) for part in training_batch(1, side))
    loss = get_loss(task.training.loss)
    flops = count_flops(lambda: loss(network(images), targets).backward())
    total = flops * task.training.batch_size * (last - first)
    peak = peak_tflops(device, resolve_precision(device))
    return rate_of(total, last_s - first_s, peak)


def run(
    on_round: Callable[[], object],
    device: str | None = None,
    studies: Path | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure both, and return settings and figures.

    Args:
        device: by default the best there is.
        studies: labelled images of nuclei; by default phantoms.
        batch_size, steps: by default the recipe's, and as many steps as fit the time.
        quick: a few steps of tiny patches, to see that it runs.

    Raises:
        InputError: no labelled images, no such device, or both trainings failed.
    """
    target = resolve_device(device)
    task = get_task(TASK)
    recipe = replace(
        task.training,
        steps=steps or STEPS[target.type],
        batch_size=batch_size or task.training.batch_size,
    )
    if quick:
        recipe = replace(recipe, steps=8, batch_size=2, patch_size=32)
    recipe = replace(recipe, val_interval=max(1, min(recipe.val_interval, recipe.steps // 4)))
    task = replace(task, training=recipe)
    figures, left_out = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        if studies is None:
            count = QUICK_IMAGES if quick else IMAGES
            write_nuclei_studies(Path(folder), count, count, SEED)
        settings = {"threads": torch.get_num_threads(), "device": str(target), "task": task}
        settings["studies"] = str(studies or folder)
        for variant in (OURS, STOCK):
            begun = {"begun": time.time(), "limit": SECONDS[target.type][variant]}
            try:
                timed = measure(
                    prepare, [variant], settings | begun, 1, 0.0, warm_up=0, min_rounds=1
                )[variant]
            except InputError as error:
                left_out[variant] = str(error)
            else:
                figures[variant] = {**timed.result, "peak_memory_mib": round(timed.peak_mib)}
            on_round()
    if not figures:
        raise InputError(next(iter(left_out.values())))
    ours, stock = (figures.get(variant, {}).get("images_per_s") for variant in (OURS, STOCK))
    return {
        "what": f"training of {TASK}, batch {recipe.batch_size}, from the start of the process, "
        f"{device_name(target)}",
        "task": TASK,
        "device": target.type,
        "images": "phantoms" if studies is None else studies.name,
        "batch_size": recipe.batch_size,
        "patch": recipe.patch_size,
        "steps_asked_for": recipe.steps,
        "ours_computes_in": precision_name(target),
        "ours_times_as_fast": round(ours / stock, 2) if ours and stock else None,
        "unit": "images/s",
        "left_out": left_out,
        "figures": figures,
    }


def table(report: Mapping[str, Any]) -> list[str]:
    """Return lines of the figures."""
    lines = []
    for name, row in report["figures"].items():
        goals = [f"{goal:.2f} after {_seconds(row[f'seconds_to_{goal:.2f}'])}" for goal in GOALS]
        lines.append(
            f"{name}: {row['images_per_s']} images/s, first validation after "
            f"{row['first_validation_s']} s, mean IoU {row['best_mean_iou']:.3f} at best, "
            f"{', '.join(goals)}"
        )
    return [*lines, *load_lines(report["figures"])]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} s"
