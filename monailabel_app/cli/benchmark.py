"""`benchmark`: measure speed on this machine, beside the stock ways; a row for each benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from lib.errors import InputError, choose
from lib.weights.store import ModelStore
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What `benchmark` is asked for."""

    name: str = options.argument("name")
    runs: int | None = options.option(
        "--runs", type=click.IntRange(3), help="Most rounds; by default the benchmark's."
    )
    threads: int | None = options.positive(
        "--threads",
        help="Of torch; by default its own choice. Not for server and exam.",
    )
    device: str | None = options.option(
        "--device",
        help="training-step, inference: cpu, cuda, cuda:N, by default cpu; train, study, rows, "
        "batch: by default the best there is.",
    )
    batch_size: int | None = options.positive(
        "--batch-size", help="training-step, train: by default the recipe's."
    )
    steps: int | None = options.steps(help="train: how many at most; study: of each run.")
    quick: bool = options.flag(
        "--quick",
        help="training-step, train, study, rows, inference, batch: tiny, to see that it runs.",
    )
    size: int | None = options.option(
        "--size",
        type=click.IntRange(16),
        help="Along each side; volume: 256 by default, answers: 512, slide: 32768.",
    )
    rows: int | None = options.positive("--rows", help="slide: by default as --size.")
    exam: Path | None = options.option(
        "--exam", type=options.FOLDER, help="exam: folder with the views; by default a phantom."
    )
    task: str | None = options.option(
        "--task",
        help="clicks: the task, by default nuclei_click; sizes: nuclei; inference, batch: one for "
        "nuclei, by default nuclei_vhllrhe.",
    )
    studies: Path | None = options.studies(
        required=False,
        help="train, study, clicks, scribbles, sizes: labelled images; annotators: images; by "
        "default phantoms. tissue: films in images, outlines of the same names in tissue_masks.",
    )
    split: str = options.split(
        help="clicks, sizes: all images of --studies, or those that training holds out."
    )
    annotators: int | None = options.positive(
        "--annotators", help="annotators: how many, 20 by default."
    )
    minutes: float | None = options.option(
        "--minutes",
        type=click.FloatRange(0, min_open=True),
        help="annotators: for how long they label, 5 by default; soak: when to stop.",
    )
    kills: int | None = options.positive("--kills", help="kills: how many, 300 by default.")
    state: Path | None = options.option(
        "--state",
        type=options.FILE,
        help="kills: file of what is done, for a run that was broken off to go on.",
    )
    requests: int | None = options.positive("--requests", help="soak: how many, 10000 by default.")
    models: Path = options.models()
    json_file: Path | None = options.json_file()


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark; its module in `benchmarks.speed` is imported when it runs.

    Attributes:
        title: what it measures.
        runs: how many rounds, by default; 0 where `--minutes` end it.
        weights: whether it measures trained weights.
        takes: names of the options that not every benchmark takes.
        counted: what the progress bar counts.
        variants: whether its figures are of variants side by side; else its module shows them.
    """

    title: str
    runs: int = 0
    weights: bool = False
    takes: frozenset[str] = frozenset()
    counted: str = "round"
    variants: bool = False

    def arguments(self, rounds: int, chosen: BenchmarkOptions) -> dict[str, Any]:
        """Return what its module is called with; it knows the defaults of what was not chosen."""
        arguments = {name: getattr(chosen, name) for name in self.takes}
        arguments["runs"] = rounds if self.runs else None
        arguments["store"] = ModelStore(chosen.models, SHIPPED_MODELS) if self.weights else None
        return {name: value for name, value in arguments.items() if value not in (None, False)}


def check(chosen: BenchmarkOptions) -> None:
    """Refuse options that the chosen benchmark does not take.

    Raises:
        InputError: with the option and the benchmarks that take it.
    """
    takes = BENCHMARKS[chosen.name].takes
    for option in sorted(frozenset().union(*(row.takes for row in BENCHMARKS.values())) - takes):
        if getattr(chosen, option) not in (None, False, "all"):
            takers = ", ".join(name for name, row in BENCHMARKS.items() if option in row.takes)
            raise InputError(f"--{option} is for {takers}, not for '{chosen.name}'; leave it away")


BENCHMARKS = {
    "training-step": Benchmark(
        title="one optimiser step, stock and ours",
        runs=12,
        variants=True,
        takes=frozenset({"device", "batch_size", "quick"}),
    ),
    "train": Benchmark(
        title="a whole training from cold start, stock and ours: images/s, seconds to a score",
        takes=frozenset({"device", "studies", "batch_size", "steps", "quick"}),
        counted="training",
    ),
    "study": Benchmark(
        title="a short `reproduce` of several small networks: one after the other, and at once",
        takes=frozenset({"device", "studies", "steps", "quick"}),
        counted="way",
    ),
    "rows": Benchmark(
        title="training throughput of every row, beside MONAI's networks",
        runs=10,
        takes=frozenset({"device", "quick"}),
        counted="network",
    ),
    "inference": Benchmark(
        title="one 512x512 image, stock, ours and OpenVINO",
        runs=40,
        weights=True,
        variants=True,
        takes=frozenset({"device", "quick", "task"}),
    ),
    "answers": Benchmark(
        title="one image from pixels to numbered nuclei, by torch and by OpenVINO",
        runs=20,
        weights=True,
        variants=True,
        takes=frozenset({"size"}),
    ),
    "batch": Benchmark(
        title="answers on a folder of images, from file to file, stock and ours",
        weights=True,
        takes=frozenset({"device", "quick", "task"}),
        counted="variant",
    ),
    "volume": Benchmark(
        title="one 256x256x256 volume, MONAI's sliding window and ours, with peak memory; takes "
        "longer",
        runs=3,
        weights=True,
        takes=frozenset({"size"}),
    ),
    "slide": Benchmark(
        title="one 32768x32768 image from file to label pyramid and outlines, with peak memory; "
        "half an hour",
        weights=True,
        takes=frozenset({"size", "rows"}),
        counted="image",
    ),
    "server": Benchmark(
        title="start, inference request, /info/ under load",
        runs=40,
        weights=True,
    ),
    "exam": Benchmark(
        title="a four-view mammography exam through the server, with overlays; time and peak "
        "memory",
        runs=7,
        weights=True,
        takes=frozenset({"exam"}),
    ),
    "viewer": Benchmark(
        title="seconds until a study can be worked on in OHIF, in Chromium",
        runs=5,
        weights=True,
    ),
    "clicks": Benchmark(
        title="simulated users: clicks that an answer needs, and seconds of a click through the "
        "server",
        runs=12,
        weights=True,
        takes=frozenset({"task", "studies", "split"}),
        counted="image",
    ),
    "annotators": Benchmark(
        title="people who label at once with 3D Slicer's client, a training running; 5 minutes",
        weights=True,
        takes=frozenset({"studies", "annotators", "minutes"}),
        counted="label",
    ),
    "kills": Benchmark(
        title="kill -9 in the middle of saves, uploads, publishing, training and consensus labels: "
        "what is lost, torn or left; half an hour",
        takes=frozenset({"kills", "state"}),
        counted="series",
    ),
    "soak": Benchmark(
        title="requests of all kinds, and whether memory, file handles and temporary files stay; "
        "10,000 take 15 minutes",
        weights=True,
        takes=frozenset({"requests", "minutes"}),
        counted="request",
    ),
    "scribbles": Benchmark(
        title="simulated scribbles and clicks without a trained model: Dice, and seconds of an "
        "answer",
        runs=60,
        takes=frozenset({"studies"}),
        counted="image",
    ),
    "sizes": Benchmark(
        title="nuclei of other sizes than those trained on: labelled images made smaller and "
        "larger, answered as they are and resampled; longer for many images",
        weights=True,
        takes=frozenset({"task", "studies", "split"}),
        counted="size",
    ),
    "tissue": Benchmark(
        title="pectoral muscle, dense tissue and percent density of mammograms, beside outlines by "
        "hand",
        takes=frozenset({"studies"}),
        counted="film",
    ),
}

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

    from benchmarks.harness.machine import all_versions, bf16_words, machine_facts, memory_and_load
    from benchmarks.speed.device_load import load_lines
    from benchmarks.speed.fixtures import SEED
    from benchmarks.speed.rounds import table
    from lib.devices import resolve_device

    rounds = chosen.runs or row.runs
    torch.set_num_threads(chosen.threads or torch.get_num_threads())
    device = resolve_device(chosen.device) if chosen.device else "cpu"
    facts = {**machine_facts(device), **memory_and_load()}
    module = import_module(f"benchmarks.speed.{name.replace('-', '_')}")
    total = rounds if row.counted == "round" else None
    with tqdm(desc=name, total=total, unit=row.counted, disable=None) as bar:
        measured = module.run(on_round=partial(bar.update, 1), **row.arguments(rounds, chosen))
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
    lines = module.table(report) if not row.variants else table(report["figures"], report["unit"])
    lines += load_lines(report["figures"]) if row.variants else []
    for line in lines:
        click.echo(line)
    for variant, reason in report.get("left_out", {}).items():
        click.echo(f"{variant}: left out, {reason}")
    options.save_json(chosen.json_file, report)
