"""`benchmark`: speed on this machine, beside the stock ways."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from lib.errors import InputError, choose
from monailabel_app.cli import options
from monailabel_app.cli.benchmark_kinds import BENCHMARKS, Wanted

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

    from benchmarks.harness.machine import (
        all_versions,
        bf16_words,
        machine_facts,
        memory_and_load,
    )
    from benchmarks.speed.fixtures import SEED

    runs = runs or entry.runs
    torch.set_num_threads(threads or torch.get_num_threads())
    facts = {**machine_facts(), **memory_and_load()}
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
