"""All runs of a study: planned, done one after the other or several at once, gathered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lib.checkpoints import utc_now, versions
from lib.datasets.studies import Item
from lib.devices import resolve_device
from lib.errors import InputError
from lib.files import write_json
from lib.progress import STATS
from lib.reproduction.machine import machine_facts
from lib.reproduction.panel import save_panel
from lib.reproduction.parts import Parts, always_empty, split_parts
from lib.reproduction.prior import choose_prior
from lib.reproduction.processes import Work, run_in_processes
from lib.reproduction.report import assemble
from lib.reproduction.runs import (
    FAILURE,
    RESULT,
    Run,
    Where,
    execute,
    finished,
    write_failure,
)
from lib.reproduction.sources import volume_items
from lib.reproduction.study import Study, Variant

REPORT = "report.json"
VALIDATIONS = 14

Say = Callable[[str], object]


@dataclass(frozen=True)
class Campaign:
    """What was asked for.

    Attributes:
        out: folder of the runs and the report.
        steps: of every run; None for the study's own number.
        recipe: of every variant; empty for the variants' own.
        jobs: runs at once, each in its own process.
        data_name: of the images, for the record.
        changes: of the recipe's training options, beside steps; for tests and trials.
        prior: weights file for the variants that start from one; None for `shipped`.
        shipped: weights of nuclei that come with the app, for these variants if they fit.
    """

    study: Study
    out: Path
    variants: tuple[Variant, ...]
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    recipe: str = ""
    jobs: int = 1
    where: Where = Where()
    data_name: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    prior: Path | None = None
    shipped: Path | None = None

    def runs(self) -> list[Run]:
        """Return the runs in the order of the study's table, seeds innermost.

        Raises:
            InputError: an unknown recipe, or a variant without a row.
        """
        return [
            self._run(variant, recipe, seed)
            for variant in self.variants
            for recipe in ((self.recipe,) if self.recipe else variant.recipes)
            for seed in self.seeds
        ]

    def _run(self, variant: Variant, recipe: str, seed: int) -> Run:
        task = self.study.row(variant, recipe)
        steps = self.steps or variant.steps or self.study.steps or task.training.steps
        training = replace(
            task.training,
            steps=steps,
            val_interval=max(1, steps // VALIDATIONS),
            **dict(self.changes),
        )
        return Run(
            variant.name,
            replace(task, training=training),
            recipe,
            seed,
            self.out / f"{self.study.label(variant)}-{recipe}-seed{seed}",
            self.study.recipes[recipe],
            variant.source,
        )

    def with_priors(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs, those that start from weights with what these are.

        Raises:
            InputError: the given weights cannot be read, or no run asks for them.
        """
        wanting = {variant.name for variant in self.variants if variant.prior}
        if self.prior and not wanting:
            raise InputError(
                f"--prior '{self.prior.name}' is of no use: none of the chosen variants starts "
                f"from weights; leave it away"
            )
        return [
            replace(
                run, prior=choose_prior(run.task, self.prior, self.shipped, self.out / "nuclei")
            )
            if run.variant in wanting
            else run
            for run in runs
        ]


def reproduce(campaign: Campaign, items: Sequence[Item], say: Say = print) -> dict[str, Any]:
    """Do what is missing of the runs, and return and write the report of all in `campaign.out`.

    The report is written after every run, so that an interruption leaves what there is.

    Args:
        items: labelled items.
        say: shows a line of progress.

    Raises:
        InputError: too few items, an unknown recipe or device.
    """
    study, runs = campaign.study, campaign.runs()
    device = resolve_device(campaign.where.device)
    campaign.out.mkdir(parents=True, exist_ok=True)
    runs = campaign.with_priors(runs)
    parts = _parts(runs, campaign, items)
    panel: dict[str, str] = {}
    if "studies" in parts:
        parts["studies"], panel = save_panel(campaign.out, parts["studies"], study.kinds)
    baseline = {}
    if study.often_absent:
        baseline = {"always_empty": always_empty(parts["studies"].test)}
    head = {
        "data": {
            "name": campaign.data_name,
            "split_by": "group" if any(item.group for item in items) else "id",
            "test_share": study.test_share,
            "validation_share_of_the_others": study.val_share,
            "sources": {name: part.as_dict() for name, part in parts.items()},
        },
        **baseline,
        "panel": panel,
        "machine": machine_facts(device),
        "versions": versions(),
        "command": campaign.where.command,
    }

    def gather() -> dict[str, Any]:
        report = assemble(study, {**head, "created": utc_now()}, _outcomes(campaign.out))
        write_json(campaign.out / REPORT, report)
        return report

    missing = []
    for run in runs:
        if finished(run, parts[run.source]):
            say(f"{run.name}: done before, {_figures(run)}")
        else:
            missing.append(run)
    say(f"{study.name}: {len(missing)} of {len(runs)} runs to do")
    if campaign.jobs > 1:
        _do_at_once(missing, parts, campaign, say, gather)
    else:
        for run in missing:
            say(f"{run.name}: starts")
            execute(run, parts[run.source], campaign.where)
            say(f"{run.name}: {_figures(run)}")
            gather()
    return gather()


def _parts(runs: Sequence[Run], campaign: Campaign, items: Sequence[Item]) -> dict[str, Parts]:
    """Return the parts of the images of each source that a run needs."""
    parts = {}
    for source in {run.source for run in runs}:
        found = items if source == "studies" else volume_items(campaign.out / source)
        parts[source] = split_parts(found, campaign.study)
    return parts


def _do_at_once(
    missing: Sequence[Run],
    parts: Mapping[str, Parts],
    campaign: Campaign,
    say: Say,
    gather: Callable[[], object],
) -> None:
    """Do the runs in processes, and tell where each stands."""
    by_name = {run.name: run for run in missing}
    where = replace(campaign.where, progress=False)
    threads = max(1, (os.cpu_count() or 1) // campaign.jobs)

    def ended(name: str, status: int) -> None:
        run = by_name[name]
        if not any((run.folder / file).is_file() for file in (RESULT, FAILURE)):
            write_failure(
                run, parts[run.source], "ProcessError", f"its process ended with status {status}"
            )
        say(f"{name}: {_figures(run)}")
        gather()

    told: dict[str, str] = {}

    def standing(names: list[str]) -> None:
        for name in names:
            line = _progress(by_name[name].folder)
            if line and told.get(name) != line:
                told[name] = line
                say(f"{name}: {line}")

    for run in missing:  # what an earlier campaign left must not be taken for this one's
        for file in (RESULT, FAILURE, STATS):
            (run.folder / file).unlink(missing_ok=True)
    work = [
        Work(run.name, _in_process, (run, parts[run.source], where, threads)) for run in missing
    ]
    run_in_processes(work, campaign.jobs, ended, standing)


def _in_process(run: Run, parts: Parts, where: Where, threads: int) -> None:
    torch.set_num_threads(threads)
    execute(run, parts, where)


def _progress(folder: Path) -> str:
    """Return where a run in another process stands, empty where that is not known yet."""
    try:
        stats = json.loads((folder / STATS).read_text())
        return (
            f"step {stats['step']}/{stats['total_steps']}, "
            f"{stats['key_metric']} {stats['best_metric']:.4f} at best, "
            f"{stats['seconds_left'] / 60:.1f} min left"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _figures(run: Run) -> str:
    """Return the outcome of a run in words."""
    if (run.folder / FAILURE).is_file():
        failure = json.loads((run.folder / FAILURE).read_text())
        return f"failed: {failure['reason']}"
    result = json.loads((run.folder / RESULT).read_text())
    low, high = result["intervals"]["mean_iou"]
    found = [f"mean IoU {result['pooled']['mean_iou']:.4f} ({low:.4f}..{high:.4f})"]
    if "dice_kaggle" in (presence := result.get("presence", {})):
        found.append(f"Kaggle Dice {presence['dice_kaggle']:.4f}")
    return f"{', '.join(found)} on unseen images"


def _outcomes(out: Path) -> list[dict[str, Any]]:
    """Return what all runs in `out` left, also those of earlier commands."""
    found = []
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        for name in (RESULT, FAILURE):
            if (folder / name).is_file():
                found.append({"folder": folder.name, **json.loads((folder / name).read_text())})
                break
    return found
