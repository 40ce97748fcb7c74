"""`benchmark`: speed on this machine, beside the stock ways."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from lib.errors import InputError, choose
from monailabel_app.cli import options
from monailabel_app.config import APP_FOLDER, SHIPPED_MODELS


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line, and what to call after each round or network."""

    runs: int
    models: Path
    device: str | None
    size: int | None
    exam: Path | None
    task: str | None
    studies: Path | None
    split: str
    annotators: int | None
    minutes: float | None
    on_round: Callable[[], object]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: what it tells, its rounds by default, how to run and how to show it.

    Attributes:
        any_device: whether it takes a device; the others run on the CPU.
        sized: whether it takes the size of what it measures on.
        on_exam: whether it takes a folder with an exam.
        on_studies: whether it takes a studies folder, and may take a task to measure on it.
        of_people: whether it takes how many annotators work, and for how long.
        counted: what the progress bar counts.
    """

    title: str
    runs: int
    run: Callable[[Wanted], dict[str, Any]]
    table: Callable[[dict[str, Any]], list[str]]
    any_device: bool = False
    sized: bool = False
    on_exam: bool = False
    on_studies: bool = False
    of_people: bool = False
    counted: str = "round"


def _training_step(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import training_step

    return training_step.run(wanted.runs, wanted.on_round)


def _rows(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import rows

    return rows.run(wanted.runs, wanted.device, wanted.on_round)


def _inference(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import inference

    return inference.run(wanted.runs, wanted.models, SHIPPED_MODELS, wanted.on_round)


def _volume(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import volume

    side = wanted.size or volume.SIDE
    return volume.run(wanted.runs, wanted.models, SHIPPED_MODELS, wanted.on_round, side)


def _server(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import server

    return server.run(wanted.runs, wanted.models, SHIPPED_MODELS, APP_FOLDER, wanted.on_round)


def _exam(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import exam

    return exam.run(
        wanted.runs, wanted.models, SHIPPED_MODELS, APP_FOLDER, wanted.on_round, wanted.exam
    )


def _clicks(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import clicks

    return clicks.run(
        wanted.runs,
        wanted.models,
        SHIPPED_MODELS,
        APP_FOLDER,
        wanted.on_round,
        wanted.task,
        wanted.studies,
        wanted.split == "validation",
    )


def _annotators(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import annotators

    if wanted.task or wanted.split != "all":
        raise InputError("annotators take no --task and no --split; leave them away")
    return annotators.run(
        wanted.annotators or annotators.ANNOTATORS,
        60 * (wanted.minutes or annotators.MINUTES),
        wanted.models,
        SHIPPED_MODELS,
        APP_FOLDER,
        wanted.on_round,
        wanted.studies,
    )


def _scribbles(wanted: Wanted) -> dict[str, Any]:
    from benchmarks import scribbles

    if wanted.task or wanted.split != "all":
        raise InputError("scribbles need no trained model; leave --task and --split away")
    return scribbles.run(wanted.runs, wanted.on_round, wanted.studies)


def _variants(report: dict[str, Any]) -> list[str]:
    from benchmarks.rounds import table

    return table(report["figures"], report["unit"])


def _throughput(report: dict[str, Any]) -> list[str]:
    from benchmarks.rows import table

    return table(report)


def _windows(report: dict[str, Any]) -> list[str]:
    from benchmarks.volume import table

    return table(report)


def _requests(report: dict[str, Any]) -> list[str]:
    from benchmarks.server import table

    return table(report)


def _answers(report: dict[str, Any]) -> list[str]:
    from benchmarks.exam import table

    return table(report)


def _clicked(report: dict[str, Any]) -> list[str]:
    from benchmarks.clicks import table

    return table(report)


def _loop(report: dict[str, Any]) -> list[str]:
    from benchmarks.annotators import table

    return table(report)


def _scribbled(report: dict[str, Any]) -> list[str]:
    from benchmarks.scribbles import table

    return table(report)


BENCHMARKS = {
    "training-step": Benchmark("one optimiser step, stock and ours", 12, _training_step, _variants),
    "rows": Benchmark(
        "training throughput of every row, MONAI's networks beside",
        10,
        _rows,
        _throughput,
        any_device=True,
        counted="network",
    ),
    "inference": Benchmark(
        "one 512x512 image, stock, ours and OpenVINO", 40, _inference, _variants
    ),
    "volume": Benchmark(
        "one 256x256x256 volume, MONAI's sliding window and ours, with peak memory; takes longer",
        3,
        _volume,
        _windows,
        sized=True,
    ),
    "server": Benchmark("start, inference request, /info/ under load", 40, _server, _requests),
    "exam": Benchmark(
        "a four-view mammography exam through the server, with overlays; time and peak memory",
        7,
        _exam,
        _answers,
        on_exam=True,
    ),
    "clicks": Benchmark(
        "simulated users: clicks that an answer needs, and seconds of a click through the server",
        12,
        _clicks,
        _clicked,
        on_studies=True,
        counted="image",
    ),
    "annotators": Benchmark(
        "people who label at once with 3D Slicer's client, a training running; 5 minutes",
        1,
        _annotators,
        _loop,
        on_studies=True,
        of_people=True,
        counted="label",
    ),
    "scribbles": Benchmark(
        "simulated scribbles and clicks without a trained model: Dice, and seconds of an answer",
        60,
        _scribbles,
        _scribbled,
        on_studies=True,
        counted="image",
    ),
}
_NAMES = "; ".join(f"{name}: {entry.title}" for name, entry in BENCHMARKS.items())


@click.command(help=f"Measure NAME on this machine: under 3 minutes, volume about 6.\n\n{_NAMES}.")
@click.argument("name")
@click.option("--runs", type=click.IntRange(3), help="Most rounds; by default the benchmark's.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Of torch; by default its own choice. Not: server, exam.",
)
@click.option("--device", help="Of rows: cpu, cuda, cuda:N; by default what is there.")
@click.option(
    "--size", type=click.IntRange(16), help="Of volume: voxels along each side, 256 by default."
)
@click.option(
    "--exam", type=options.FOLDER, help="Of exam: folder with the views; by default a phantom."
)
@click.option("--task", help="Of clicks: the task; by default nuclei_click.")
@click.option(
    "--studies",
    type=options.FOLDER,
    help="Of clicks, scribbles: labelled images; of annotators: images; default phantoms.",
)
@click.option(
    "--split",
    type=click.Choice(["all", "validation"]),
    default="all",
    show_default=True,
    help="Of --studies: all images, or those that training holds out.",
)
@click.option("--annotators", type=click.IntRange(1), help="Of annotators: how many, 20.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Of annotators: for how long they label, 5.",
)
@options.models
@options.json_file
def benchmark(
    name: str,
    runs: int | None,
    threads: int | None,
    device: str | None,
    size: int | None,
    exam: Path | None,
    task: str | None,
    studies: Path | None,
    split: str,
    annotators: int | None,
    minutes: float | None,
    models: Path,
    json_file: Path | None,
) -> None:
    """Measure NAME and show the figures."""
    entry = choose("benchmark", name, BENCHMARKS)
    if device and not entry.any_device:
        raise InputError(f"benchmark '{name}' runs on the CPU; only rows takes a --device")
    if size and not entry.sized:
        raise InputError(f"benchmark '{name}' has one size; only volume takes a --size")
    if exam and not entry.on_exam:
        raise InputError(f"benchmark '{name}' makes its own images; only exam takes an --exam")
    if (task or studies) and not entry.on_studies:
        raise InputError(
            f"benchmark '{name}' makes its own images; only clicks takes --task, it, scribbles and "
            f"annotators take --studies"
        )
    if (annotators or minutes) and not entry.of_people:
        raise InputError(
            f"benchmark '{name}' is of no people; only annotators takes --annotators and --minutes"
        )
    import torch
    from tqdm import tqdm

    from benchmarks.machine import all_versions, bf16_words, machine_facts
    from benchmarks.subjects import SEED

    runs = runs or entry.runs
    torch.set_num_threads(threads or torch.get_num_threads())
    facts = machine_facts()
    total = runs if entry.counted == "round" else None
    with tqdm(desc=name, total=total, unit=entry.counted, disable=not sys.stderr.isatty()) as bar:
        on_round = partial(bar.update, 1)
        wanted = Wanted(
            runs,
            models,
            device,
            size,
            exam,
            task,
            studies,
            split,
            annotators,
            minutes,
            on_round,
        )
        report = entry.run(wanted)
    report = {
        "benchmark": name,
        **report,
        "machine": facts,
        "versions": all_versions(),
        "seed": SEED,
        "command": options.command_line(),
    }
    click.echo(
        f"{report['what']}\n{facts['cpu']}, {facts['cores']} cores, {facts['torch_threads']}"
        f" threads, {bf16_words(facts)}"
    )
    for line in entry.table(report):
        click.echo(line)
    for variant, reason in report.get("left_out", {}).items():
        click.echo(f"{variant}: left out, {reason}")
    options.save_json(json_file, report)


COMMANDS = {"benchmark": benchmark}
