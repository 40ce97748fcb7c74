"""All runs of a study, done one after the other or several at once, and their report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.campaign import REPORT, Say
from benchmarks.harness.processes import run_in_processes, torch_job
from benchmarks.reproduction.pages.panel import save_panel
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.report import assemble
from benchmarks.reproduction.run import (
    FAILURE,
    RESULT,
    Run,
    execute,
    finished,
    trained_alike,
    write_failure,
)
from benchmarks.reproduction.sources import volume_items
from benchmarks.reproduction.splits import Split, always_empty, fold_split, hash_split
from benchmarks.reproduction.study import Study
from benchmarks.reproduction.testing import describe_outcome
from lib.classification.cases import cases_of
from lib.data.studies import Item
from lib.devices import resolve_device
from lib.errors import InputError
from lib.files import write_json
from lib.training.progress import STATS
from lib.training.shared_cases import CasePool, SharedCases
from lib.weights.checkpoint import utc_now


def reproduce(campaign: Campaign, items: Sequence[Item], say: Say = print) -> dict[str, Any]:
    """Do what is missing of the runs, and return and write the report of all in `campaign.out`.

    The report is written after every run, so that an interrupted study leaves one too.

    Args:
        items: labelled items.
        say: shows a line of progress.

    Raises:
        InputError: too few items, an unknown recipe or device.
    """
    study, runs = campaign.study, campaign.runs()
    device = resolve_device(campaign.execution.device)
    campaign.out.mkdir(parents=True, exist_ok=True)
    runs = campaign.with_initial_weights(runs)
    splits = _splits(runs, campaign, items)
    _add_earlier_folds(_outcomes(campaign.out), splits, study, items)
    panel: dict[str, str] = {}
    if "studies" in splits:
        splits["studies"], panel = save_panel(campaign.out, splits["studies"], study.often_absent)
    baseline = {}
    if study.often_absent:
        baseline = {"always_empty": always_empty(splits["studies"].test)}
    head = {
        "data": {
            "name": campaign.data_name,
            "split_by": "group" if any(item.group for item in items) else "id",
            **({} if study.folds else {"test_share": study.test_share}),
            "validation_share_of_the_others": study.val_share,
            "sources": {name: split.as_dict() for name, split in splits.items()},
        },
        **baseline,
        "panel": panel,
        **campaign.execution.provenance(device),
    }

    def gather() -> dict[str, Any]:
        report = assemble(study, {**head, "created": utc_now()}, _outcomes(campaign.out))
        write_json(campaign.out / REPORT, report)
        return report

    missing = []
    for run in runs:
        if finished(run, splits[run.split_name]):
            say(f"{run.name}: done before, {_figures(run)}")
        else:
            missing.append(run)
    say(f"{study.name}: {len(missing)} of {len(runs)} runs to do")
    to_train = [run for run in missing if not trained_alike(run, splits[run.split_name])]
    trained_on = {run.name: (run.task, splits[run.split_name].training) for run in to_train}
    with CasePool(trained_on) as pool:
        if campaign.jobs > 1:
            _do_at_once(missing, splits, campaign, pool, say, gather)
            return gather()
        for run in missing:
            say(f"{run.name}: starts")
            execute(run, splits[run.split_name], campaign.execution, 1, pool.of(run.name))
            pool.done(run.name)
            say(f"{run.name}: {_figures(run)}")
            gather()
    return gather()


def _splits(runs: Sequence[Run], campaign: Campaign, items: Sequence[Item]) -> dict[str, Split]:
    """Return the splits of the images that the runs need, by `Run.split_name`."""
    splits: dict[str, Split] = {}
    for run in runs:
        if run.split_name in splits:
            continue
        if run.fold:
            cases = cases_of(items, run.task)
            splits[run.split_name] = fold_split(cases, campaign.study, run.fold)
        else:
            found = items if run.source == "studies" else volume_items(campaign.out / run.source)
            splits[run.split_name] = hash_split(found, campaign.study)
    return splits


def _add_earlier_folds(
    outcomes: Sequence[Mapping[str, Any]],
    splits: dict[str, Split],
    study: Study,
    items: Sequence[Item],
) -> None:
    """Add the folds of earlier commands, so that runs on other images are recognised."""
    variants = {variant.name: variant for variant in study.variants}
    for outcome in outcomes:
        variant = variants.get(outcome["variant"])
        if variant and "fold" in outcome and outcome["part"] not in splits:
            number, folds = outcome["fold"]
            try:
                cases = cases_of(items, study.row(variant, outcome["recipe"]))
                splits[outcome["part"]] = fold_split(cases, study, (number, folds))
            except InputError:  # no such case here: it is of other images
                continue


def _do_at_once(
    missing: Sequence[Run],
    splits: Mapping[str, Split],
    campaign: Campaign,
    pool: CasePool,
    say: Say,
    gather: Callable[[], object],
) -> None:
    """Do the runs in processes, and show the progress of each."""
    by_name = {run.name: run for run in missing}
    quiet = replace(campaign.execution, progress=False)

    def ended(name: str, status: int) -> None:
        run = by_name[name]
        pool.done(name)
        if not any((run.folder / file).is_file() for file in (RESULT, FAILURE)):
            reason = f"its process ended with status {status}"
            write_failure(run, splits[run.split_name], "ProcessError", reason)
        say(f"{name}: {_figures(run)}")
        gather()

    shown: dict[str, str] = {}

    def show_progress(names: list[str]) -> None:
        for name in names:
            line = _progress(by_name[name].folder)
            if line and shown.get(name) != line:
                shown[name] = line
                say(f"{name}: {line}")

    for run in missing:  # what an earlier campaign left must not be taken for this one's
        for file in (RESULT, FAILURE, STATS):
            (run.folder / file).unlink(missing_ok=True)
    jobs = [
        torch_job(
            run.name,
            campaign.jobs,
            execute,
            *(run, splits[run.split_name], quiet, campaign.jobs),
            late=partial(_cases_of, pool, run.name),
        )
        for run in missing
    ]
    run_in_processes(jobs, campaign.jobs, ended, show_progress)


def _cases_of(pool: CasePool, name: str) -> tuple[SharedCases | None]:
    return (pool.of(name),)


def _progress(folder: Path) -> str:
    """Return the progress of a run in another process, empty before its first validation."""
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
    return describe_outcome(json.loads((run.folder / RESULT).read_text()))


def _outcomes(out: Path) -> list[dict[str, Any]]:
    """Return what all runs in `out` left, also those of earlier commands."""
    found = []
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        for name in (RESULT, FAILURE):
            if (folder / name).is_file():
                found.append({"folder": folder.name, **json.loads((folder / name).read_text())})
                break
    return found
