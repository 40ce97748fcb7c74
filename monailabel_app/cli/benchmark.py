"""`benchmark`: speed on this machine, beside the stock ways."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from lib.errors import choose
from monailabel_app.cli import options
from monailabel_app.config import APP_FOLDER, SHIPPED_MODELS

OnRound = Callable[[], object]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: what it tells, its rounds by default, how to run and how to show it."""

    title: str
    runs: int
    run: Callable[[int, Path, OnRound], dict[str, Any]]
    table: Callable[[dict[str, Any]], list[str]]


def _training_step(runs: int, models: Path, on_round: OnRound) -> dict[str, Any]:
    from benchmarks import training_step

    return training_step.run(runs, on_round)


def _inference(runs: int, models: Path, on_round: OnRound) -> dict[str, Any]:
    from benchmarks import inference

    return inference.run(runs, models, SHIPPED_MODELS, on_round)


def _server(runs: int, models: Path, on_round: OnRound) -> dict[str, Any]:
    from benchmarks import server

    return server.run(runs, models, SHIPPED_MODELS, APP_FOLDER, on_round)


def _variants(report: dict[str, Any]) -> list[str]:
    from benchmarks.rounds import table

    return table(report["figures"], report["unit"])


def _requests(report: dict[str, Any]) -> list[str]:
    from benchmarks.server import table

    return table(report)


BENCHMARKS = {
    "training-step": Benchmark("one optimiser step, stock and ours", 12, _training_step, _variants),
    "inference": Benchmark(
        "one 512x512 image, stock, ours and OpenVINO", 40, _inference, _variants
    ),
    "server": Benchmark("start, inference request, /info/ under load", 40, _server, _requests),
}
_NAMES = "; ".join(f"{name}: {entry.title}" for name, entry in BENCHMARKS.items())


@click.command(help=f"Measure NAME on this machine, under 3 minutes.\n\n{_NAMES}.")
@click.argument("name")
@click.option("--runs", type=click.IntRange(3), help="Most rounds; by default the benchmark's.")
@click.option(
    "--threads", type=click.IntRange(1), help="Of torch; by default its own choice. Not: server."
)
@options.models
@options.json_file
def benchmark(
    name: str, runs: int | None, threads: int | None, models: Path, json_file: Path | None
) -> None:
    """Measure NAME and show the figures."""
    entry = choose("benchmark", name, BENCHMARKS)
    import torch
    from tqdm import tqdm

    from benchmarks.machine import all_versions, machine_facts
    from benchmarks.subjects import SEED

    runs = runs or entry.runs
    torch.set_num_threads(threads or torch.get_num_threads())
    facts = machine_facts()
    with tqdm(desc=name, total=runs, unit="round", disable=not sys.stderr.isatty()) as bar:
        report = entry.run(runs, models, partial(bar.update, 1))
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
        f" threads, bf16 units: {'yes' if facts['bf16_units'] else 'no'}"
    )
    for line in entry.table(report):
        click.echo(line)
    for variant, reason in report.get("left_out", {}).items():
        click.echo(f"{variant}: left out, {reason}")
    options.save_json(json_file, report)


COMMANDS = {"benchmark": benchmark}
