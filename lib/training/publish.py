"""Train, compare with the live weights on the same cases, and publish only what is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lib.data.studies import Item, split_items
from lib.errors import InputError
from lib.kinds import kind_of, score_cases
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases
from lib.training.options import FitOptions, FitResult
from lib.training.parallel import fit_in_processes
from lib.training.replay import label_prints, new_ids
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import Decision, ModelStore, TrainedOn


@dataclass(frozen=True)
class Outcome:
    """A training run and what became of it."""

    result: FitResult
    decision: Decision


def train_and_submit(
    task: TaskSpec,
    items: Sequence[Item],
    options: FitOptions,
    store: ModelStore,
    pretrained: bool = True,
    processes: int = 1,
) -> Outcome:
    """Train `task`, and put the best weights of the run to the gate of `store`.

    A run that starts from the live weights draws the labels that these have not seen more often.

    Args:
        options: of the run; `init` and `new_ids` are filled in here.
        pretrained: start from the live weights where there are any.
        processes: how many share the work (one per GPU, or several on a CPU).

    Returns:
        The run and the gate's decision. Live weights that do not fit the task's network, or cannot
        be read, count as none.
    """
    live = store.live_path(task.name)
    checkpoint = None
    score = None
    labels = label_prints(items)  # before they are read: one that changes meanwhile stays new
    if live is not None:
        try:
            checkpoint = load_checkpoint(live)
            predictor = kind_of(task).predictor.from_checkpoint(
                task, checkpoint, options.device, options.precision
            )
            _, held_out = split_items(items, task.training.val_split)
            score = score_cases(predictor, PreparedCases(held_out, predictor.task))[task.key_metric]
        except InputError:
            if not _is_foreign(task, store):
                raise
            checkpoint = None
    if pretrained and checkpoint:
        seen = store.live_labels(task.name)
        options = replace(options, init=checkpoint, new_ids=new_ids(labels, seen))
    else:
        options = replace(options, init=None, new_ids=frozenset())
    result = fit_in_processes(task, items, options, processes)
    data = TrainedOn(load_checkpoint(result.weights).provenance, labels)
    decision = store.submit(task.name, result.weights, result.metrics, task.key_metric, score, data)
    return Outcome(result, decision)


def _is_foreign(task: TaskSpec, store: ModelStore) -> bool:
    """Tell whether the live weights are unusable for the task, rather than its data."""
    live = store.live_path(task.name)
    try:
        if live is not None:
            kind_of(task).predictor.from_checkpoint(task, load_checkpoint(live), "cpu")
    except InputError:
        return True
    return False
