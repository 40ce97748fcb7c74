"""`train`: fit a task on a studies folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import read_patch_size
from monailabel_app.cli import options, sizes
from monailabel_app.config import SHIPPED_MODELS

if TYPE_CHECKING:
    from lib.data.studies import Item
    from lib.training.options import FitOptions


class _LossOption(click.Option):
    """Names the losses of each kind of task in its help, where torch is imported only then."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from lib.kinds import KINDS

        kinds: dict[str, list[str]] = {}
        for kind in KINDS.values():
            kinds.setdefault(", ".join(kind.losses), []).append(kind.name)
        self.help = "; ".join(f"{' and '.join(names)}: {losses}" for losses, names in kinds.items())
        return super().get_help_record(ctx)


@click.command()
@click.argument("task")
@options.studies
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps; by default the recipe's.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data, instead of --steps.")
@click.option("--out", type=options.FOLDER, help="Folder of the run; default runs/TASK.")
@click.option("--init-from", type=options.FILE, help="Weights to start from; default random.")
@click.option("--publish", is_flag=True, help="Serve the result if it beats the live weights.")
@options.models
@options.seed
@options.device
@options.precision
@click.option("--learning-rate", type=float)
@click.option("--optimizer", help="adam, adamw, nadam, rmsprop, sgd or plain_sgd.")
@click.option("--schedule", type=click.Choice(["constant", "cosine", "plateau"]))
@click.option("--loss", cls=_LossOption)
@click.option("--label-smoothing", type=float, help="Exams: share spread over all classes.")
@click.option("--class-weights", type=click.Choice(["none", "balanced"]), help="Exams.")
@click.option("--input-size", help="Exams: pixels that the breast is brought to, 350 or 350x256.")
@click.option("--batch-size", type=click.IntRange(1), help="Patches per step, over all processes.")
@click.option("--patch-size", help="Sides of a patch in pixels: 256, or 32x64x64.")
@sizes.longest_side
@sizes.channels
@click.option("--val-split", type=float, help="Share of images held out for validation.")
@click.option("--val-interval", type=click.IntRange(1), help="Steps between validations.")
@click.option("--early-stop-patience", type=click.IntRange(0), help="Validations; 0 is never.")
@click.option(
    "--keep",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Weights that score best on the held-out images, or those of the last step.",
)
@click.option("--folds", type=click.IntRange(2), help="Cross-validation: as many trainings.")
@click.option("--fold", type=click.IntRange(0), help="Only this one of --folds, from 0.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--cache-mib", type=click.IntRange(0), default=2048, show_default=True)
@click.option("--resume/--no-resume", default=True, show_default=True)
@options.json_file
def train(
    task: str,
    studies: Path,
    steps: int | None,
    epochs: int | None,
    out: Path | None,
    init_from: Path | None,
    publish: bool,
    models: Path,
    seed: int,
    device: str,
    precision: str,
    input_size: str | None,
    longest_side: int | None,
    channels: str | None,
    keep: Literal["best", "last"],
    folds: int | None,
    fold: int | None,
    processes: int,
    cache_mib: int,
    resume: bool,
    json_file: Path | None,
    **recipe: Any,
) -> None:
    """Train TASK on a studies folder; an interrupted run goes on where it was.

    The best weights on the held-out images are written to OUT/best.pt. With --folds K, K models
    are trained, each image is held out by one of them, and OUT has a folder for each.
    """
    spec = sizes.resized(get_task(task), longest_side, channels)
    if publish and spec != get_task(task):
        raise InputError("--publish is for a task as it is, not with --longest-side or --channels")
    if steps and epochs:
        raise InputError("give --steps or --epochs, not both")
    if fold is not None and (folds is None or fold >= folds):
        raise InputError(f"--fold {fold} needs --folds K with K above {fold}, found {folds}")
    if folds and publish:
        raise InputError("--publish and --folds do not go together; train once more on all images")

    import ignite.distributed as idist

    from lib.kinds import kind_of
    from lib.training.loop import fit
    from lib.training.options import FitOptions
    from lib.training.parallel import backend, fit_in_processes, launched_by_torchrun
    from lib.training.publish import train_and_submit
    from lib.weights.checkpoint import load_checkpoint
    from lib.weights.store import ModelStore

    if input_size:
        if spec.exam is None:
            raise InputError(f"--input-size is for tasks on exams; '{task}' takes --patch-size")
        spec = replace(spec, input=replace(spec.input, size=_input_size(input_size)))
    items = kind_of(spec).cases.list(studies, spec, True)
    changed = {name: value for name, value in recipe.items() if value is not None}
    if "patch_size" in changed:
        changed["patch_size"] = read_patch_size(changed["patch_size"])
    training = replace(spec.training, **changed)
    if epochs:
        training = replace(training, epochs=epochs)
    if steps:
        training = replace(training, epochs=0, steps=steps)
    spec = replace(spec, training=training)
    store = ModelStore(models, SHIPPED_MODELS)
    run = FitOptions(
        out=out or Path("runs") / spec.name,
        seed=seed,
        device=device,
        precision=precision,
        init=load_checkpoint(init_from) if init_from else None,
        resume=resume,
        cache_bytes=cache_mib * 2**20,
        command=options.command_line(),
        keep=keep,
    )

    if folds:
        if launched_by_torchrun():
            raise InputError("--folds and torchrun do not go together; use --processes instead")
        _cross_validate(spec, items, run, folds, fold, processes, json_file)
        return
    reason = None
    if launched_by_torchrun():
        if publish:
            raise InputError("--publish and torchrun do not go together; publish OUT/best.pt after")
        idist.initialize(backend(device))
        try:
            result = fit(spec, items, run)
            main_process = idist.get_rank() == 0
        finally:
            idist.finalize()
        if not main_process:
            return
    elif publish:
        outcome = train_and_submit(spec, items, run, store, pretrained=False, processes=processes)
        result, reason = outcome.result, outcome.decision.reason
    else:
        result = fit_in_processes(spec, items, run, processes)
    score = result.metrics[spec.key_metric]
    click.echo(
        f"{spec.name}: {spec.key_metric} {score:.4f} on {len(result.validation_ids)} held-out "
        f"images after {result.steps} steps, weights in {result.weights}"
    )
    if reason:
        click.echo(f"{spec.name}: {reason}")
    options.save_json(
        json_file,
        {
            "task": spec.as_dict(),
            "command": options.command_line(),
            "seed": seed,
            "metrics": result.metrics,
            "steps": result.steps,
            "stopped_early": result.stopped_early,
            "history": result.history,
            "training_ids": result.training_ids,
            "validation_ids": result.validation_ids,
            "gate": reason,
        },
    )


def _input_size(text: str) -> int | tuple[int, int]:
    size = read_patch_size(text)
    if isinstance(size, int):
        return size
    if len(size) != 2:
        raise InputError(f"--input-size '{text}': expected one side or two, as 350 or 350x256")
    return size[0], size[1]


def _cross_validate(
    spec: TaskSpec,
    items: list[Item],
    run: FitOptions,
    folds: int,
    only: int | None,
    processes: int,
    json_file: Path | None,
) -> None:
    """Train a model for each fold, or for the one that is asked for, and show mean and spread.

    Where the kind of task has pooled figures, there is also one report on all held-out cases, each
    answered by the fold that held it out.
    """
    from lib.data.folds import k_folds
    from lib.kinds import kind_of
    from lib.statistics import mean_and_sd
    from lib.training.parallel import fit_in_processes

    rows: list[dict[str, Any]] = []
    held_out_of: list[tuple[Path, list[Item]]] = []
    for number, (_, held_out) in enumerate(k_folds(items, folds)):
        if only not in (None, number):
            continue
        options_of_fold = replace(
            run,
            out=run.out / f"fold{number}",
            validation_ids=frozenset(item.id for item in held_out),
        )
        result = fit_in_processes(spec, items, options_of_fold, processes)
        click.echo(
            f"{spec.name}, fold {number} of {folds}: {spec.key_metric} "
            f"{result.metrics[spec.key_metric]:.4f} on {len(result.validation_ids)} held-out "
            f"images, weights in {result.weights}"
        )
        rows.append(
            {
                "fold": number,
                "metrics": result.metrics,
                "steps": result.steps,
                "history": result.history,
                "training_ids": result.training_ids,
                "validation_ids": result.validation_ids,
            }
        )
        held_out_of.append((result.weights, held_out))
    figures = mean_and_sd([row["metrics"] for row in rows])
    last = mean_and_sd([{name: row["history"][-1][name] for name in figures} for row in rows])
    for name, value in figures.items():
        spread = f" ± {value['sd']:.4f}" if "sd" in value else ""
        click.echo(f"{name:10} {value['mean']:.4f}{spread}")
    pooled: dict[str, Any] = {}
    evaluation = kind_of(spec).evaluation
    if evaluation.pool:
        predictors = ((_load(spec, weights, run), cases) for weights, cases in held_out_of)
        report = evaluation.pool(predictors, run.seed)
        options.show_report(evaluation, report)
        pooled = {"pooled": report.as_dict()}
    options.save_json(
        json_file,
        {
            "task": spec.as_dict(),
            "command": options.command_line(),
            "seed": run.seed,
            "folds": folds,
            "weights": run.keep,
            **pooled,
            "figures": figures,  # of the best step on the same images, a little kind; see weights
            "figures_of_the_last_step": last,
            "runs": rows,
        },
    )


def _load(task: TaskSpec, weights: Path, run: FitOptions) -> Any:
    """Return the predictor of a fold's weights."""
    from lib.kinds import kind_of
    from lib.weights.checkpoint import load_checkpoint

    return kind_of(task).predictor.from_checkpoint(
        task, load_checkpoint(weights), run.device, run.precision
    )


COMMANDS = {"train": train}
