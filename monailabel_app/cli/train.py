"""`train`: fit a task on a studies folder."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import COMPILE, Compile, TrainingSpec, read_patch_size
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS


class _LossOption(click.Option):
    """Names the losses of each kind of task in its help; only then is torch imported."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from lib.kinds import KINDS

        kinds: dict[str, list[str]] = {}
        for kind in KINDS.values():
            kinds.setdefault(", ".join(kind.losses), []).append(kind.name)
        self.help = "; ".join(f"{' and '.join(names)}: {losses}" for losses, names in kinds.items())
        return super().get_help_record(ctx)


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Changes to the recipe in the task's row; None keeps the row's value."""

    steps: int | None = options.steps(help="Optimiser steps; by default the recipe's.")
    epochs: int | None = options.epochs(help="Passes over the data, instead of --steps.")
    learning_rate: float | None = options.learning_rate()
    optimizer: str | None = options.option(
        "--optimizer", help="adam, adamw, nadam, rmsprop, sgd or plain_sgd."
    )
    schedule: str | None = options.option(
        "--schedule", type=click.Choice(["constant", "cosine", "plateau"])
    )
    loss: str | None = options.option("--loss", cls=_LossOption)
    label_smoothing: float | None = options.option(
        "--label-smoothing", type=float, help="Exams: share spread over all classes."
    )
    class_weights: str | None = options.option(
        "--class-weights", type=click.Choice(["none", "balanced"]), help="Exams."
    )
    batch_size: int | None = options.batch_size()
    patch_size: str | None = options.patch_size()
    val_split: float | None = options.option(
        "--val-split", type=float, help="Share of images held out for validation."
    )
    val_interval: int | None = options.positive("--val-interval", help="Steps between validations.")
    early_stop_patience: int | None = options.option(
        "--early-stop-patience", type=click.IntRange(0), help="Validations; 0 is never."
    )

    def changed(self, recipe: TrainingSpec) -> TrainingSpec:
        """Return `recipe` with these changes."""
        values = {field.name: getattr(self, field.name) for field in fields(RecipeOptions)}
        changes: dict[str, Any] = {name: v for name, v in values.items() if v is not None}
        if self.patch_size is not None:
            changes["patch_size"] = read_patch_size(self.patch_size)
        if self.steps:
            changes["epochs"] = 0
        return replace(recipe, **changes)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RecipeOptions, options.SizeOptions):
    """What `train` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    readers: str = options.readers()
    out: Path | None = options.out(help="Folder of the run; default runs/TASK.")
    init_from: Path | None = options.init_from()
    publish: bool = options.flag(
        "--publish", help="Serve the result if it beats the served weights."
    )
    models: Path = options.models()
    channel: str = options.channel()
    seed: int = options.seed()
    device: str = options.device()
    precision: str = options.precision()
    compile: Compile = options.option(
        "--compile",
        type=click.Choice(list(COMPILE)),
        default="auto",
        help="Compile the network on a GPU; auto does for long trainings.",
    )
    input_size: str | None = options.option(
        "--input-size", help="Exams: pixels that the breast is resampled to, 350 or 350x256."
    )
    keep: Literal["best", "last"] = options.option(
        "--keep",
        type=click.Choice(["best", "last"]),
        default="best",
        help="Weights that score best on the held-out images, or those of the last step.",
    )
    folds: int | None = options.option(
        "--folds", type=click.IntRange(2), help="Cross-validation: as many trainings."
    )
    fold: int | None = options.option(
        "--fold", type=click.IntRange(0), help="Only this one of --folds, from 0."
    )
    at_once: int | None = options.at_once(
        "--at-once", help="Of --folds: trainings at the same time, on one device."
    )
    processes: int = options.processes()
    cache_mib: int = options.option("--cache-mib", type=click.IntRange(0), default=2048)
    resume: bool = options.option("--resume/--no-resume", default=True)
    json_file: Path | None = options.json_file()

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            InputError: with the options and what to do.
        """
        if self.steps and self.epochs:
            raise InputError("give --steps or --epochs, not both")
        if self.fold is not None and (self.folds is None or self.fold >= self.folds):
            raise InputError(
                f"--fold {self.fold} needs --folds K with K above {self.fold}, found {self.folds}"
            )
        if (self.at_once or 1) > 1 and (self.folds is None or self.processes > 1):
            raise InputError(
                "--at-once is for --folds, and not with --processes; leave one of them away"
            )
        if self.folds and self.publish:
            raise InputError(
                "--publish and --folds do not go together; train once more on all images"
            )

    def changed_task(self) -> TaskSpec:
        """Return the task with the sizes and the recipe that were asked for."""
        task = self.resized(get_task(self.task))
        if self.publish and task != get_task(self.task):
            raise InputError(
                "--publish is for a task as it is, not with --longest-side or --channels"
            )
        if self.input_size:
            if task.exam is None:
                raise InputError(
                    f"--input-size is for tasks on exams; '{task.name}' takes --patch-size"
                )
            task = replace(task, input=replace(task.input, size=_input_size(self.input_size)))
        return replace(task, training=self.changed(task.training))


@click.command()
@options.of(TrainOptions)
def train(chosen: TrainOptions) -> None:
    """Train TASK on a studies folder; an interrupted run goes on where it was.

    The best weights on the held-out images are written to OUT/best.pt. With --folds K, K models
    are trained, each image is held out by one of them, and OUT has a folder for each.
    """
    chosen.check()
    task = chosen.changed_task()

    import ignite.distributed as idist

    from lib.kinds import kind_of, list_labelled
    from lib.training.loop import fit
    from lib.training.options import FitOptions
    from lib.training.parallel import backend, fit_in_processes, launched_by_torchrun
    from lib.training.publish import train_and_submit
    from lib.weights.checkpoint import load_checkpoint
    from lib.weights.store import ModelStore
    from monailabel_app.cli.folds import cross_validate, result_figures

    labelled = list_labelled(chosen.studies, task, chosen.readers)
    items, left_out = kind_of(task).matching(labelled, task)
    items = options.in_channel(items, chosen.channel, task)
    options.say_passed_over(chosen.studies)
    options.show_left_out(left_out)
    run = FitOptions(
        out=chosen.out or Path("runs") / task.name,
        seed=chosen.seed,
        device=chosen.device,
        precision=chosen.precision,
        compile=chosen.compile,
        init=load_checkpoint(chosen.init_from) if chosen.init_from else None,
        resume=chosen.resume,
        cache_bytes=chosen.cache_mib * 2**20,
        command=options.command_line(),
        keep=chosen.keep,
    )
    about = {"task": task.as_dict(), "command": run.command, "seed": run.seed}
    about |= {"left_out": left_out} if left_out else {}
    if chosen.folds:
        if launched_by_torchrun():
            raise InputError("--folds and torchrun do not go together; use --processes instead")
        report = cross_validate(
            task,
            items,
            run,
            chosen.folds,
            only=chosen.fold,
            processes=chosen.processes,
            at_once=1 if chosen.processes > 1 else options.how_many_at_once(chosen.at_once),
        )
        options.save_json(chosen.json_file, {**about, **report})
        return
    reason = None
    if launched_by_torchrun():
        if chosen.publish:
            raise InputError("--publish and torchrun do not go together; publish OUT/best.pt after")
        idist.initialize(backend(chosen.device))
        try:
            result = fit(task, items, run)
            main_process = idist.get_rank() == 0
        finally:
            idist.finalize()
        if not main_process:
            return
    elif chosen.publish:
        store = ModelStore(chosen.models, SHIPPED_MODELS)
        result, decision = train_and_submit(
            task, items, run, store, pretrained=False, processes=chosen.processes
        )
        reason = decision.reason
    else:
        result = fit_in_processes(task, items, run, chosen.processes)
    score = result.metrics[task.key_metric]
    click.echo(
        f"{task.name}: {task.key_metric} {score:.4f} on {len(result.validation_ids)} held-out "
        f"images after {result.steps} steps, weights in {result.weights}"
    )
    click.echo(f"{task.name}: {reason}" if reason else _next_step(chosen, result.weights))
    figures = {**result_figures(result), "stopped_early": result.stopped_early, "gate": reason}
    options.save_json(chosen.json_file, {**about, **figures})


def _next_step(chosen: TrainOptions, weights: Path) -> str:
    """Return what can be done with weights that were not published."""
    program = click.get_current_context().find_root().info_name
    tried = f"try them with: {program} infer {chosen.task} FILES --weights {weights}"
    if chosen.init_from or chosen.changed_task().network != get_task(chosen.task).network:
        return f"Not served. To {tried}"
    return (
        f"Not served yet. The same command with --publish serves them if they beat the served ones "
        f"(it trains no further); {tried}"
    )


def _input_size(text: str) -> int | tuple[int, int]:
    """Read ``350`` or ``350x256``."""
    size = read_patch_size(text)
    if isinstance(size, int):
        return size
    if len(size) != 2:
        raise InputError(f"--input-size '{text}': expected one side or two, as 350 or 350x256")
    return size[0], size[1]
