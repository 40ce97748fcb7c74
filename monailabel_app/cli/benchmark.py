"""`benchmark`: measure speed on this machine, beside the stock ways."""

from __future__ import annotations

import sys
from functools import partial

import click

from lib.errors import choose
from monailabel_app.cli import options
from monailabel_app.cli.benchmark_table import BENCHMARKS, BenchmarkOptions, check

_TITLES = "; ".join(f"{name}: {row.title}" for name, row in BENCHMARKS.items())


@click.command(help=f"Measure NAME on this machine: under 3 minutes, volume about 6.\n\n{_TITLES}.")
@options.of(BenchmarkOptions)
def benchmark(chosen: BenchmarkOptions) -> None:
    """Measure a benchmark and show its figures."""
    name = chosen.name
    row = choose("benchmark", name, BENCHMARKS)
    check(chosen)
    import torch
    from tqdm import tqdm

    from benchmarks.harness.machine import (
        all_versions,
        bf16_words,
        machine_facts,
        memory_and_load,
    )
    from benchmarks.speed.fixtures import SEED

    rounds = chosen.runs or row.runs
    torch.set_num_threads(chosen.threads or torch.get_num_threads())
    facts = {**machine_facts(), **memory_and_load()}
    total = rounds if row.counted == "round" else None
    with tqdm(desc=name, total=total, unit=row.counted, disable=not sys.stderr.isatty()) as bar:
        measured = row.measure(rounds, chosen, partial(bar.update, 1))
    report = {
        "benchmark": name,
        **measured,
        "machine": facts,
        "versions": all_versions(),
        "seed": SEED,
        "command": options.command_line(),
    }
    click.echo(
        f"{report['what']}\n{facts['cpu']}, {facts['cores']} cores, {facts['torch_threads']}"
        f" threads, {bf16_words(facts)}"
    )
    for line in row.lines(name, report):
        click.echo(line)
    for variant, reason in report.get("left_out", {}).items():
        click.echo(f"{variant}: left out, {reason}")
    options.save_json(chosen.json_file, report)


COMMANDS = {"benchmark": benchmark}
