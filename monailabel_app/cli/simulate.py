"""`simulate-active-learning`: how many labels each strategy would have needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from lib.tasks.training_spec import read_patch_size
from monailabel_app.cli import options, sizes


def _seeds(text: str) -> tuple[int, ...]:
    """Read "0,1,2" or "0-4"."""
    found: list[int] = []
    try:
        for word in text.split(","):
            first, _, last = word.partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError:
        found = []
    if not found:
        raise InputError(f"--seeds '{text}': expected numbers from 0, as in 0,1,2 or 0-4")
    return tuple(dict.fromkeys(found))


def _counts(start: int, add: str, rounds: int | None) -> tuple[int, ...]:
    """Return the labels of each round: the first, and what each further one adds."""
    try:
        added = [int(word) for word in add.split(",")]
    except ValueError:
        added = [0]
    if min(added) < 1:
        raise InputError(f"--add '{add}': expected numbers from 1, as in 8, or 4,8,16")
    if len(added) == 1:
        added *= rounds if rounds is not None else 4
    if rounds is not None and len(added) != rounds:
        raise InputError(f"--add '{add}' has {len(added)} numbers for --rounds {rounds}")
    counts = [start]
    for number in added:
        counts.append(counts[-1] + number)
    return tuple(counts)


@click.command()
@click.argument("task")
@options.studies
@click.option("--strategies", default="random,uncertainty,diversity,combined", show_default=True)
@click.option("--start", type=click.IntRange(1), default=4, show_default=True, help="First labels.")
@click.option("--rounds", type=click.IntRange(1), help="Times that labels are added; 4 by default.")
@click.option(
    "--add", default="8", show_default=True, help="Labels added a round; or of each, as 4,8,16."
)
@click.option("--seeds", default="0-4", show_default=True, help="As in 0,1,2 or 0-4.")
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True, help="A training.")
@click.option("--test-share", type=click.FloatRange(0.01, 0.9), default=0.18, show_default=True)
@click.option("--target", type=click.FloatRange(0.01, 1.0), default=0.95, show_default=True)
@click.option("--continued", is_flag=True, help="Train each round from the weights before it.")
@click.option("--init-from", type=options.FILE, help="Weights to start from; default random.")
@click.option("--batch-size", type=click.IntRange(1))
@click.option("--patch-size", help="Sides of a patch in pixels.")
@click.option("--learning-rate", type=float)
@sizes.longest_side
@sizes.channels
@click.option("--out", type=options.FOLDER, help="Folder; default runs/active_learning_TASK.")
@options.device
@options.precision
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Strategies at once."
)
@click.option("--page", type=options.FILE, help="Markdown page; by default in the folder.")
@options.json_file
def simulate_active_learning(
    task: str,
    studies: Path,
    strategies: str,
    start: int,
    rounds: int | None,
    add: str,
    seeds: str,
    steps: int,
    test_share: float,
    target: float,
    continued: bool,
    init_from: Path | None,
    batch_size: int | None,
    patch_size: str | None,
    learning_rate: float | None,
    longest_side: int | None,
    channels: str | None,
    out: Path | None,
    device: str,
    precision: str,
    jobs: int,
    page: Path | None,
    json_file: Path | None,
) -> None:
    """Play active learning on the labelled STUDIES: what would each strategy have needed?

    From --start random labels, each strategy adds labels of its choice in --rounds rounds; after
    each, TASK is trained anew for --steps and scored on a test set that is never chosen from. A
    training on all labels, for the steps of all rounds if --continued, is what the target is a
    share of. Every training is kept in OUT: an
    interrupted simulation goes on where it was, and seeds may be added.
    """
    spec = sizes.resized(get_task(task), longest_side, channels)
    if page is not None and not page.parent.is_dir():
        raise InputError(f"folder '{page.parent}' for --page does not exist; make it first")

    from benchmarks.active_learning.campaign import simulate
    from benchmarks.active_learning.page import write_page
    from benchmarks.active_learning.protocol import Protocol, fixed_steps
    from benchmarks.harness.campaign import Execution
    from lib.kinds import kind_of

    changes: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "patch_size": read_patch_size(patch_size) if patch_size else None,
    }
    spec = fixed_steps(spec, **{name: value for name, value in changes.items() if value})
    protocol = Protocol(
        task=spec,
        out=out or Path("runs") / f"active_learning_{spec.name}",
        strategies=tuple(dict.fromkeys(strategies.split(","))),
        counts=_counts(start, add, rounds),
        seeds=_seeds(seeds),
        test_share=test_share,
        target=target,
        continued=continued,
        jobs=jobs,
        execution=Execution(device, precision, progress=False, command=options.command_line()),
        data_name=studies.resolve().name,
        init_from=init_from,
    )
    report = simulate(protocol, kind_of(spec).cases.list(studies, spec, True), click.echo)
    options.save_json(json_file, report)
    page = page or protocol.out / "page.md"
    write_page(report, page, json_file.name if json_file else "report.json")
    for line in report["verdicts"]:
        click.echo(line.replace("**", ""))
    click.echo(f"page: {page}")


COMMANDS = {"simulate-active-learning": simulate_active_learning}
