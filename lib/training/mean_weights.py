"""One set of weights from several: the average of what was trained from the same start.

Networks whose training began with the same weights lie in one basin of the loss. Their average is
often better than each of them (Wortsman et al. 2022, "Model soups", ICML, section 2). The average
of weights and of what was trained on from them with other images keeps what they knew of theirs
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", CVPR, section 3). Networks that
began with different random weights have nothing in common that an average would keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from lib.data.case import Cases, Figures
from lib.data.studies import Item, fingerprint_of
from lib.errors import InputError
from lib.kinds import kind_of, score_cases
from lib.tasks.spec import TaskSpec
from lib.training.familiarity import measure_familiarity, with_familiarity
from lib.training.provenance import shortened
from lib.weights.checkpoint import Checkpoint, load_network, utc_now, versions


def average(
    task: TaskSpec, checkpoints: Sequence[Checkpoint], shares: Sequence[float]
) -> Checkpoint:
    """Return the weighted average of checkpoints of one task, without any figures yet.

    Running statistics of batch normalisation are averaged too; whole numbers are the first's. It is
    mirrored only along the axes that all of the trainings mirrored.

    Args:
        shares: of each checkpoint, above 0; they are divided by their sum.

    Raises:
        InputError: fewer than two, not a share for each, or weights of another network.
    """
    if len(checkpoints) < 2 or len(shares) != len(checkpoints):
        raise InputError(
            f"expected two files of weights or more and a share for each, found {len(checkpoints)} "
            f"and {len(shares)}"
        )
    if not all(0 < share < float("inf") for share in shares):
        raise InputError(f"shares {list(shares)}: expected numbers above 0, as in 1,1")
    total = sum(shares)
    states = [load_network(task, one).state_dict() for one in checkpoints]
    fractions = torch.tensor(shares, dtype=torch.float64) / total
    weights = dict(states[0])
    for name, first in weights.items():
        if first.is_floating_point():
            each = torch.stack([state[name].double() for state in states])
            weights[name] = torch.tensordot(fractions, each, dims=1).to(first.dtype)
    origins = [
        {**shortened(one.provenance), "task": one.task, "share": round(share / total, 6)}
        for one, share in zip(checkpoints, shares, strict=True)
    ]
    return Checkpoint(
        task=task.name,
        spec=_mirrored_alike(task, checkpoints).as_dict(),
        weights=weights,
        provenance={"averaged": origins, "created": utc_now(), "versions": versions()},
    )


def _mirrored_alike(task: TaskSpec, checkpoints: Sequence[Checkpoint]) -> TaskSpec:
    """Return `task` that mirrors what it and the trainings of all checkpoints mirrored."""
    as_trained, axes = kind_of(task).predictor.as_trained, task.network.spatial_dims
    mirrored = set(task.augment.flipped_axes(axes))
    for checkpoint in checkpoints:
        trained, _ = as_trained(task, checkpoint)
        mirrored &= set(trained.augment.flipped_axes(axes))
    kept = {*task.augment.never_flipped, *task.augment.flipped_axes(axes)} - mirrored
    return replace(task, augment=replace(task.augment, never_flipped=tuple(sorted(kept))))


def measured(
    task: TaskSpec,
    checkpoint: Checkpoint,
    training: Cases,
    held_out: Cases,
    items: Sequence[Item],
    on_case: Callable[[], object] = lambda: None,
) -> Checkpoint:
    """Return a checkpoint with what a training would have written into it, but its origin.

    These are its figures on the held-out cases, what else decides its answers, and what its
    training images look like to it. All is computed on the CPU in float32.

    Args:
        training, held_out: prepared cases of the two parts of `items`.
        on_case: called after each case whose features were taken.
    """
    kind = kind_of(task)
    predictor = kind.predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    figures = score_cases(predictor, held_out)
    found = replace(
        checkpoint,
        metrics=figures,
        answer=kind.scoring.answer(task, figures, items),
        provenance={
            **checkpoint.provenance,
            "data": fingerprint_of(items),
            "training_cases": len(training),
            "validation_cases": len(held_out),
        },
    )
    return with_familiarity(found, measure_familiarity(predictor, training, held_out, on_case))


def figures_of(task: TaskSpec, checkpoint: Checkpoint, held_out: Cases) -> Figures:
    """Return the figures of a checkpoint on held-out cases, on the CPU in float32."""
    predictor = kind_of(task).predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    return score_cases(predictor, held_out)
