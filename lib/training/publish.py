"""Train, compare with the served weights on the same cases, and publish only what is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.data.studies import Item, split_items
from lib.errors import InputError
from lib.kinds import kind_of, score_cases
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases
from lib.training.options import FitOptions, FitResult
from lib.training.parallel import fit_in_processes
from lib.training.replay import label_fingerprints, new_ids
from lib.weights.checkpoint import Checkpoint, load_checkpoint, load_network
from lib.weights.store import Decision, ModelStore
from lib.weights.versions import TrainedOn


def train_and_submit(
    task: TaskSpec,
    items: Sequence[Item],
    options: FitOptions,
    store: ModelStore,
    pretrained: bool = True,
    processes: int = 1,
) -> tuple[FitResult, Decision]:
    """Train `task`, and submit the best weights of the run to `store`.

    A run that starts from the served weights draws labels that these were not trained on more
    often.

    Args:
        options: of the run; `init` and `new_ids` are filled in here.
        pretrained: start from the served weights, if there are any.
        processes: how many share the work (one per GPU, or several on a CPU).

    Returns:
        The result of the run, and the store's decision. First weights are compared with the best
        answer that looks at no image. Served weights that cannot be read, or do
        not fit the task's network, count as none.
    """
    labels = label_fingerprints(items)  # first: a label that changes during training stays new
    served = _served_weights(task, store)
    score = None
    fresh: frozenset[str] = frozenset()
    if served is not None:
        predictor = kind_of(task).predictor.from_checkpoint(
            task, served, options.device, options.precision
        )
        _, held_out = split_items(items, task.training.val_split)
        score = score_cases(predictor, PreparedCases(held_out, predictor.task))[task.key_metric]
        if pretrained:
            fresh = new_ids(labels, store.served_labels(task.name))
    options = replace(options, init=served if pretrained else None, new_ids=fresh)
    result = fit_in_processes(task, items, options, processes)
    data = TrainedOn(load_checkpoint(result.weights).provenance, labels)
    scoring, trivial = kind_of(task).scoring, None
    if served is None:
        _, held_out = split_items(items, task.training.val_split)
        trivial = scoring.trivial(task, PreparedCases(held_out, task))
    decision = store.submit(
        task.name,
        result.weights,
        result.metrics,
        task.key_metric,
        score,
        data,
        trivial,
        collapsed=bool(scoring.collapsed(task, result.steps, result.metrics)),
    )
    return result, replace(decision, score=result.metrics[task.key_metric], before=score)


def _served_weights(task: TaskSpec, store: ModelStore) -> Checkpoint | None:
    """Return the weights that are served; None if there are none that the task can use."""
    path = store.served_path(task.name)
    try:
        checkpoint = load_checkpoint(path) if path else None
        if checkpoint:
            load_network(task, checkpoint)
    except InputError:
        return None
    return checkpoint
