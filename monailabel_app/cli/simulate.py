"""`simulate-active-learning`: how many labels each strategy of active learning needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from lib.tasks.training_spec import read_patch_size
from monailabel_app.cli import options


def _seeds(text: str) -> tuple[int, ...]:
    """Read "0,1,2" or "0-4"."""
    seeds: list[int] = []
    try:
        for word in text.split(","):
            first, _, last = word.partition("-")
            seeds += range(int(first), int(last or first) + 1)
    except ValueError:
        seeds = []
    if not seeds:
        raise InputError(f"--seeds '{text}': expected numbers from 0, as in 0,1,2 or 0-4")
    return tuple(dict.fromkeys(seeds))


def _counts(start: int, add: str, rounds: int | None) -> tuple[int, ...]:
    """Return how many labels each round has: the first `start`, each further one more by `add`."""
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


@dataclass(frozen=True, kw_only=True)
class SimulateOptions(options.SizeOptions):
    """What `simulate-active-learning` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    strategies: str = options.option(
        "--strategies", default="random,uncertainty,diversity,combined"
    )
    start: int = options.positive("--start", default=4, help="First labels.")
    rounds: int | None = options.positive(
        "--rounds", help="Times that labels are added; 4 by default."
    )
    add: str = options.option(
        "--add", default="8", help="Labels added a round; or of each, as 4,8,16."
    )
    seeds: str = options.option("--seeds", default="0-4", help="As in 0,1,2 or 0-4.")
    steps: int = options.steps(default=300, help="Of each training.")
    test_share: float = options.option(
        "--test-share", type=click.FloatRange(0.01, 0.9), default=0.18
    )
    target: float = options.option("--target", type=click.FloatRange(0.01, 1.0), default=0.95)
    continued: bool = options.flag(
        "--continued", help="Train each round from the weights of the one before."
    )
    init_from: Path | None = options.init_from()
    batch_size: int | None = options.batch_size()
    patch_size: str | None = options.patch_size()
    learning_rate: float | None = options.learning_rate()
    out: Path | None = options.out(help="Folder; default runs/active_learning_TASK.")
    device: str = options.device()
    precision: str = options.precision()
    jobs: int | None = options.jobs(help="Strategies at the same time, on one device.")
    page: Path | None = options.page(help="Markdown page; by default in the folder.")
    json_file: Path | None = options.json_file()


@click.command()
@options.of(SimulateOptions)
def simulate_active_learning(chosen: SimulateOptions) -> None:
    """Play active learning on the labelled STUDIES: what would each strategy have needed?

    From --start random labels, each strategy adds labels of its choice in --rounds rounds; after
    each, TASK is trained anew for --steps and scored on a test set that is never chosen from.
    --target is a share of the score of a training on all labels (for the steps of all rounds if
    --continued). Every training is kept in OUT: an interrupted simulation goes on where it was, and
    seeds may be added.
    """
    task = chosen.resized(get_task(chosen.task))

    from benchmarks.active_learning.campaign import simulate
    from benchmarks.active_learning.page import write_page
    from benchmarks.active_learning.protocol import Protocol, fixed_steps
    from benchmarks.harness.campaign import Execution
    from lib.kinds import kind_of

    changes: dict[str, Any] = {
        "steps": chosen.steps,
        "batch_size": chosen.batch_size,
        "learning_rate": chosen.learning_rate,
        "patch_size": read_patch_size(chosen.patch_size) if chosen.patch_size else None,
    }
    task = fixed_steps(task, **{name: value for name, value in changes.items() if value})
    protocol = Protocol(
        task=task,
        out=chosen.out or Path("runs") / f"active_learning_{task.name}",
        strategies=tuple(dict.fromkeys(chosen.strategies.split(","))),
        counts=_counts(chosen.start, chosen.add, chosen.rounds),
        seeds=_seeds(chosen.seeds),
        test_share=chosen.test_share,
        target=chosen.target,
        continued=chosen.continued,
        jobs=options.how_many_at_once(chosen.jobs),
        execution=Execution(
            chosen.device, chosen.precision, progress=False, command=options.command_line()
        ),
        data_name=chosen.studies.resolve().name,
        init_from=chosen.init_from,
    )
    kind = kind_of(task)
    items, left_out = kind.matching(kind.cases.list(chosen.studies, task, True), task)
    options.show_left_out(left_out)
    report = simulate(protocol, items, click.echo)
    options.save_json(chosen.json_file, report)
    page = chosen.page or protocol.out / "page.md"
    write_page(report, page, chosen.json_file.name if chosen.json_file else "report.json")
    for line in report["verdicts"]:
        click.echo(line.replace("**", ""))
    click.echo(f"page: {page}")
