"""`train --folds`: a model for each fold, and the figures over all folds."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.harness.processes import run_in_processes, torch_job
from lib.data.folds import k_folds
from lib.data.studies import Item
from lib.errors import DivergedError, InputError
from lib.files import write_atomically
from lib.kinds import kind_of
from lib.statistics import mean_and_sd
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions, FitResult
from lib.training.parallel import fit_in_processes
from lib.training.shared_cases import SharedCases, share_cases
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.cli.predictors import show_report

RESULT = "result.pickle"  # of a fold, until it is read


def cross_validate(
    task: TaskSpec,
    items: Sequence[Item],
    run: FitOptions,
    folds: int,
    *,
    only: int | None,
    processes: int,
    at_once: int = 1,
) -> dict[str, Any]:
    """Train a model for each fold, show mean and spread of its figures, and return the report.

    If the kind of task has pooled figures, there is also one report on all held-out cases, each
    answered by the model that was not trained on it.

    Args:
        only: the one fold to train, from 0; None trains all.
        processes: that share each batch of a training.
        at_once: trainings at the same time, each in a process of its own with a share of the
            cores; the prepared cases of all trainings are read once and are in memory once.

    Raises:
        InputError, DivergedError: a training could not be done.
    """
    rows: list[dict[str, Any]] = []
    held_out_of: list[tuple[Path, list[Item]]] = []
    chosen: list[tuple[int, list[Item]]] = []
    for fold, (_, held_out) in enumerate(k_folds(items, folds)):
        if only in (None, fold):
            chosen.append((fold, held_out))
    runs = [
        replace(
            run,
            out=run.out / f"fold{fold}",
            validation_ids=frozenset(item.id for item in held_out),
        )
        for fold, held_out in chosen
    ]
    results: Iterator[FitResult]
    if processes > 1:
        results = (fit_in_processes(task, items, one, processes) for one in runs)
    else:
        results = _with_shared_cases(task, items, runs, at_once)
    for (fold, held_out), result in zip(chosen, results, strict=True):
        click.echo(
            f"{task.name}, fold {fold} of {folds}: {task.key_metric} "
            f"{result.metrics[task.key_metric]:.4f} on {len(result.validation_ids)} held-out "
            f"images, weights in {result.weights}"
        )
        rows.append({"fold": fold, **result_figures(result)})
        held_out_of.append((result.weights, held_out))
    figures = mean_and_sd([row["metrics"] for row in rows])
    last = mean_and_sd([{name: row["history"][-1][name] for name in figures} for row in rows])
    for name, value in figures.items():
        spread = f" ± {value['sd']:.4f}" if "sd" in value else ""
        click.echo(f"{name:10} {value['mean']:.4f}{spread}")
    pooled: dict[str, Any] = {}
    evaluation, load = kind_of(task).evaluation, kind_of(task).predictor.from_checkpoint
    if evaluation.pool:
        predictors = (
            (load(task, load_checkpoint(weights), run.device, run.precision), cases)
            for weights, cases in held_out_of
        )
        report = evaluation.pool(predictors, run.seed)
        show_report(evaluation, report)
        pooled = {"pooled": report.as_dict()}
    return {
        "folds": folds,
        "weights": run.keep,
        **pooled,
        # with `keep` best, the step was chosen on the same images: slightly optimistic
        "figures": figures,
        "figures_of_the_last_step": last,
        "runs": rows,
    }


def _with_shared_cases(
    task: TaskSpec, items: Sequence[Item], runs: Sequence[FitOptions], at_once: int
) -> Iterator[FitResult]:
    """Do the runs on one copy of the prepared cases, and yield their results in order."""
    with share_cases(items, task, runs[0].cache_bytes) as cases:
        if at_once == 1 or len(runs) == 1:
            for run in runs:
                yield fit(task, items, cases.given_to(run))
            return
        jobs = []
        for run in runs:
            (run.out / RESULT).unlink(missing_ok=True)
            quiet = replace(run, progress=False)
            arguments = (task, list(items), quiet, cases, at_once)
            jobs.append(torch_job(run.out.name, at_once, _fit_one, *arguments))
        run_in_processes(jobs, at_once, lambda name, status: None)
        for run in runs:
            file = run.out / RESULT
            if not file.is_file():
                raise InputError(
                    f"the training of {run.out.name} ended without a result, out of memory? Ask "
                    f"for fewer --at-once, now {at_once}"
                )
            found = pickle.loads(file.read_bytes())
            file.unlink()
            if isinstance(found, Exception):
                raise found
            yield found


def _fit_one(
    task: TaskSpec, items: Sequence[Item], run: FitOptions, cases: SharedCases, at_once: int
) -> None:
    """Train in a process of its own, and leave the result, or the error, in the run's folder."""
    found: FitResult | Exception
    try:
        found = fit(task, items, cases.given_to(run, at_once))
    except (InputError, DivergedError) as error:
        found = error
    run.out.mkdir(parents=True, exist_ok=True)
    write_atomically(run.out / RESULT, partial(pickle.dump, found))


def result_figures(result: FitResult) -> dict[str, Any]:
    """Return what the record of `train` says of one training."""
    return {
        "metrics": result.metrics,
        "steps": result.steps,
        "history": result.history,
        "training_ids": result.training_ids,
        "validation_ids": result.validation_ids,
    }
