"""What `benchmark` can measure: a table of names, what each takes, and who runs and shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lib.errors import InputError
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
    from benchmarks.speed import training_step

    return training_step.run(wanted.runs, wanted.on_round)


def _rows(wanted: Wanted) -> dict[str, Any]:
    from benchmarks.speed import rows

    return rows.run(wanted.runs, wanted.device, wanted.on_round)


def _inference(wanted: Wanted) -> dict[str, Any]:
    from benchmarks.speed import inference

    return inference.run(wanted.runs, wanted.models, SHIPPED_MODELS, wanted.on_round)


def _volume(wanted: Wanted) -> dict[str, Any]:
    from benchmarks.speed import volume

    side = wanted.size or volume.SIDE
    return volume.run(wanted.runs, wanted.models, SHIPPED_MODELS, wanted.on_round, side)


def _server(wanted: Wanted) -> dict[str, Any]:
    from benchmarks.speed import server

    return server.run(wanted.runs, wanted.models, SHIPPED_MODELS, APP_FOLDER, wanted.on_round)


def _exam(wanted: Wanted) -> dict[str, Any]:
    from benchmarks.speed import exam

    return exam.run(
        wanted.runs, wanted.models, SHIPPED_MODELS, APP_FOLDER, wanted.on_round, wanted.exam
    )


def _clicks(wanted: Wanted) -> dict[str, Any]:
    from benchmarks.speed import clicks

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
    from benchmarks.speed import annotators

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
    from benchmarks.speed import scribbles

    if wanted.task or wanted.split != "all":
        raise InputError("scribbles need no trained model; leave --task and --split away")
    return scribbles.run(wanted.runs, wanted.on_round, wanted.studies)


def _variants(report: dict[str, Any]) -> list[str]:
    from benchmarks.speed.rounds import table

    return table(report["figures"], report["unit"])


def _own(module: str) -> Callable[[dict[str, Any]], list[str]]:
    """Return the `table` of a module of `benchmarks`, which is imported when it is called."""

    def table(report: dict[str, Any]) -> list[str]:
        lines: list[str] = import_module(f"benchmarks.speed.{module}").table(report)
        return lines

    return table


BENCHMARKS = {
    "training-step": Benchmark("one optimiser step, stock and ours", 12, _training_step, _variants),
    "rows": Benchmark(
        "training throughput of every row, MONAI's networks beside",
        10,
        _rows,
        _own("rows"),
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
        _own("volume"),
        sized=True,
    ),
    "server": Benchmark("start, inference request, /info/ under load", 40, _server, _own("server")),
    "exam": Benchmark(
        "a four-view mammography exam through the server, with overlays; time and peak memory",
        7,
        _exam,
        _own("exam"),
        on_exam=True,
    ),
    "clicks": Benchmark(
        "simulated users: clicks that an answer needs, and seconds of a click through the server",
        12,
        _clicks,
        _own("clicks"),
        on_studies=True,
        counted="image",
    ),
    "annotators": Benchmark(
        "people who label at once with 3D Slicer's client, a training running; 5 minutes",
        1,
        _annotators,
        _own("annotators"),
        on_studies=True,
        of_people=True,
        counted="label",
    ),
    "scribbles": Benchmark(
        "simulated scribbles and clicks without a trained model: Dice, and seconds of an answer",
        60,
        _scribbles,
        _own("scribbles"),
        on_studies=True,
        counted="image",
    ),
}
