"""`train --folds`: a model for each fold, and the figures over all folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lib.data.folds import k_folds
from lib.data.studies import Item
from lib.kinds import kind_of
from lib.statistics import mean_and_sd
from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions, FitResult
from lib.training.parallel import fit_in_processes
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.cli.predictors import show_report


def cross_validate(
    task: TaskSpec,
    items: Sequence[Item],
    run: FitOptions,
    folds: int,
    *,
    only: int | None,
    processes: int,
) -> dict[str, Any]:
    """Train a model for each fold, show mean and spread of its figures, and return the report.

    If the kind of task has pooled figures, there is also one report on all held-out cases, each
    answered by the model that was not trained on it.

    Args:
        only: the one fold to train, from 0; None trains all.
    """
    rows: list[dict[str, Any]] = []
    held_out_of: list[tuple[Path, list[Item]]] = []
    for fold, (_, held_out) in enumerate(k_folds(items, folds)):
        if only not in (None, fold):
            continue
        run_of_fold = replace(
            run,
            out=run.out / f"fold{fold}",
            validation_ids=frozenset(item.id for item in held_out),
        )
        result = fit_in_processes(task, items, run_of_fold, processes)
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


def result_figures(result: FitResult) -> dict[str, Any]:
    """Return what the record of `train` says of one training."""
    return {
        "metrics": result.metrics,
        "steps": result.steps,
        "history": result.history,
        "training_ids": result.training_ids,
        "validation_ids": result.validation_ids,
    }
