"""What is decided before a training run begins: its steps and its held-out cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.data.studies import Item, split_items
from lib.errors import InputError, choose
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.optimizers import OPTIMIZERS
from lib.training.options import FitOptions


def check_row(task: TaskSpec) -> None:
    """Make sure that a row can be trained, as far as this shows before there are cases.

    Raises:
        InputError: its kind, loss, optimizer or sizes are none that there are, or its parts are not
            those of its kind.
    """
    recipe = task.training
    try:
        kind = kind_of(task)
        choose("loss", recipe.loss, kind.losses)
        choose("optimizer", recipe.optimizer, OPTIMIZERS)
        kind.cases.check_size(task)
    except ValueError as error:
        raise InputError(f"task '{task.name}': {error}") from None


def plan_run(
    task: TaskSpec, items: Sequence[Item], options: FitOptions
) -> tuple[TaskSpec, list[Item], list[Item]]:
    """Return the task with its recipe in steps, the items to train on and those held out.

    Raises:
        InputError: too few items, a patient on both sides of a given split, or an impossible
            recipe.
    """
    training, validation = _split(items, task.training.val_split, options.validation_ids)
    task = _in_steps(task, training)
    recipe = task.training
    if recipe.steps < 1 or recipe.batch_size < 1 or recipe.val_interval < 1:
        raise InputError(
            f"steps, batch_size and val_interval must be at least 1, found {recipe.steps}, "
            f"{recipe.batch_size} and {recipe.val_interval}"
        )
    kind_of(task).cases.check_size(task)
    return task, training, validation


def iterations(steps: range, together: int, interval: int) -> list[int]:
    """Return how many of `steps` each iteration of the training engine stands for.

    An iteration ends after every step whose number, counted from the start of the run, is a
    multiple of `together` or of `interval`, and after the last one.
    """
    ends = [
        step
        for step in range(steps.start + 1, steps.stop + 1)
        if step % together == 0 or step % interval == 0 or step == steps.stop
    ]
    return [end - begin for begin, end in zip([steps.start, *ends], ends, strict=False)]


def _split(
    items: Sequence[Item], val_split: float, validation_ids: frozenset[str] | None
) -> tuple[list[Item], list[Item]]:
    if validation_ids is None:
        return split_items(items, val_split)
    validation = [item for item in items if item.id in validation_ids]
    training = [item for item in items if item.id not in validation_ids]
    if not training or not validation or len(validation) != len(validation_ids):
        raise InputError(
            f"a given split must leave items to train on and name known ones, at least one, found "
            f"{len(training)} left and {len(validation)} of {len(validation_ids)} known"
        )
    if both := sorted({item.key for item in training} & {item.key for item in validation}):
        raise InputError(
            f"{len(both)} patients or groups are on both sides of the split, the first is "
            f"'{both[0]}'; hold out all of a group's images, or none"
        )
    return training, validation


def _in_steps(task: TaskSpec, training: Sequence[Item]) -> TaskSpec:
    """Return the task with a recipe that counts steps, not passes over the training items.

    Raises:
        InputError: negative passes, or empty batches.
    """
    recipe = task.training
    if recipe.epochs < 0 or recipe.batch_size < 1:
        raise InputError(
            f"epochs must not be negative and batch_size at least 1, found {recipe.epochs} and "
            f"{recipe.batch_size}"
        )
    batches = kind_of(task).cases.batches(training, task)
    steps = recipe.epochs * batches or recipe.steps
    interval = recipe.val_interval or batches
    return replace(task, training=replace(recipe, epochs=0, steps=steps, val_interval=interval))
