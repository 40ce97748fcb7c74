"""All runs of a study: planned, done one after the other or several at once, gathered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.machine import device_facts
from benchmarks.harness.processes import Work, run_in_processes
from benchmarks.harness.where import Where
from benchmarks.reproduction.pages.panel import save_panel
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.report import assemble
from benchmarks.reproduction.run import FAILURE, RESULT, Run, execute, finished, write_failure
from benchmarks.reproduction.sources import volume_items
from benchmarks.reproduction.splits import Parts, always_empty, fold_parts, split_parts
from benchmarks.reproduction.study import Study
from benchmarks.reproduction.testing import told
from lib.classification.cases import cases_of
from lib.data.studies import Item
from lib.devices import resolve_device
from lib.errors import InputError
from lib.files import write_json
from lib.training.progress import STATS
from lib.weights.checkpoint import utc_now, versions

__all__ = ["Campaign", "reproduce"]

REPORT = "report.json"

Say = Callable[[str], object]


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
    _add_parts_of(_outcomes(campaign.out), parts, study, items)
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
            **({} if study.folds else {"test_share": study.test_share}),
            "validation_share_of_the_others": study.val_share,
            "sources": {name: part.as_dict() for name, part in parts.items()},
        },
        **baseline,
        "panel": panel,
        "machine": device_facts(device),
        "versions": versions(),
        "command": campaign.where.command,
    }

    def gather() -> dict[str, Any]:
        report = assemble(study, {**head, "created": utc_now()}, _outcomes(campaign.out))
        write_json(campaign.out / REPORT, report)
        return report

    missing = []
    for run in runs:
        if finished(run, parts[run.part]):
            say(f"{run.name}: done before, {_figures(run)}")
        else:
            missing.append(run)
    say(f"{study.name}: {len(missing)} of {len(runs)} runs to do")
    if campaign.jobs > 1:
        _do_at_once(missing, parts, campaign, say, gather)
    else:
        for run in missing:
            say(f"{run.name}: starts")
            execute(run, parts[run.part], campaign.where)
            say(f"{run.name}: {_figures(run)}")
            gather()
    return gather()


def _parts(runs: Sequence[Run], campaign: Campaign, items: Sequence[Item]) -> dict[str, Parts]:
    """Return the parts of the images that the runs need, by `Run.part`."""
    parts: dict[str, Parts] = {}
    for run in runs:
        if run.part in parts:
            continue
        if run.fold:
            cases = cases_of(items, run.task)
            parts[run.part] = fold_parts(cases, campaign.study, run.fold)
        else:
            found = items if run.source == "studies" else volume_items(campaign.out / run.source)
            parts[run.part] = split_parts(found, campaign.study)
    return parts


def _add_parts_of(
    outcomes: Sequence[Mapping[str, Any]],
    parts: dict[str, Parts],
    study: Study,
    items: Sequence[Item],
) -> None:
    """Add the parts of the folds of earlier commands, so that those of other images are known."""
    variants = {variant.name: variant for variant in study.variants}
    for outcome in outcomes:
        variant = variants.get(outcome["variant"])
        if variant and "fold" in outcome and outcome["part"] not in parts:
            number, folds = outcome["fold"]
            try:
                cases = cases_of(items, study.row(variant, outcome["recipe"]))
                parts[outcome["part"]] = fold_parts(cases, study, (number, folds))
            except InputError:  # no such case here: it is of other images
                continue


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
                run, parts[run.part], "ProcessError", f"its process ended with status {status}"
            )
        say(f"{name}: {_figures(run)}")
        gather()

    said: dict[str, str] = {}

    def standing(names: list[str]) -> None:
        for name in names:
            line = _progress(by_name[name].folder)
            if line and said.get(name) != line:
                said[name] = line
                say(f"{name}: {line}")

    for run in missing:  # what an earlier campaign left must not be taken for this one's
        for file in (RESULT, FAILURE, STATS):
            (run.folder / file).unlink(missing_ok=True)
    work = [Work(run.name, _in_process, (run, parts[run.part], where, threads)) for run in missing]
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
    return told(json.loads((run.folder / RESULT).read_text()))


def _outcomes(out: Path) -> list[dict[str, Any]]:
    """Return what all runs in `out` left, also those of earlier commands."""
    found = []
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        for name in (RESULT, FAILURE):
            if (folder / name).is_file():
                found.append({"folder": folder.name, **json.loads((folder / name).read_text())})
                break
    return found
