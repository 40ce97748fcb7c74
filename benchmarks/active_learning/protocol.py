"""What a simulation of active learning does, fixed before it: split, counts of labels, seeds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.campaign import Execution
from lib.data.studies import Item, fingerprint_of, split_items
from lib.errors import InputError, choose
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec

BASELINE = "random"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a simulation plays.

    Attributes:
        task: the row, with the steps and sizes of this simulation.
        strategies: names of `lib.active_learning.strategies.STRATEGIES`; the baseline ``random`` is
            always one.
        counts: samples that are labelled in each round, growing.
        test_share: of the samples, never chosen from, by a hash of their group.
        target: share of the score with all labels that is to be reached.
        continued: whether each round starts from the weights of the round before, as a server's
            retraining does; else each is trained from random weights.
        init_from: weights that each training without a round before begins with; None for random.
        jobs: processes at the same time: each plays a strategy of a seed, or trains on its first
            labels or on all.
    """

    task: TaskSpec
    out: Path
    strategies: tuple[str, ...]
    counts: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    test_share: float = 0.18
    target: float = 0.95
    continued: bool = False
    jobs: int = 1
    execution: Execution = field(default_factory=Execution)
    data_name: str = ""
    init_from: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be played or would not be fair."""
        fitting = dict.fromkeys(kind_of(self.task).strategies)
        for name in self.strategies:
            choose("strategy", name, fitting)
        if BASELINE not in self.strategies:
            raise InputError(f"strategies {', '.join(self.strategies)} lack '{BASELINE}': add it")
        if len(self.counts) < 2 or list(self.counts) != sorted(set(self.counts)):
            raise InputError(
                f"counts of labels must grow over 2 rounds or more, found {self.counts}"
            )
        recipe = self.task.training
        if recipe.schedule == "plateau" or recipe.early_stop_patience or recipe.epochs:
            raise InputError(
                f"'{self.task.name}' is trained by schedule {recipe.schedule}, patience "
                f"{recipe.early_stop_patience}, epochs {recipe.epochs}: expected a fixed number of "
                f"steps without a look at the test set; give --steps and another --schedule"
            )

    @property
    def metric(self) -> str:
        """The figure that is compared; in segmentation the mean over images of their Dice."""
        return kind_of(self.task).simulation_metric

    @property
    def whole(self) -> TaskSpec:
        """The task as it is trained on all labels: for as many steps as the last round's model."""
        if not self.continued:
            return self.task
        return fixed_steps(self.task, steps=self.task.training.steps * len(self.counts))

    def as_dict(self) -> dict[str, Any]:
        """Return what decides the outcome beside the data, for the report."""
        return {
            "task": self.task.as_dict(),
            "strategies": list(self.strategies),
            "counts": list(self.counts),
            "seeds": list(self.seeds),
            "metric": self.metric,
            "target": self.target,
            "continued": self.continued,
            "init_from": self.init_from.name if self.init_from else "",
        }


@dataclass(frozen=True)
class Samples:
    """The samples, split once for all seeds; one is labelled at a time, an image or a whole exam.

    Attributes:
        pool: items of each sample that may be chosen, by its id.
        test: items that all models are scored on.
        test_samples: how many samples these are.
    """

    pool: Mapping[str, tuple[Item, ...]]
    test: tuple[Item, ...]
    test_samples: int

    def items(self, ids: Sequence[str]) -> list[Item]:
        """Return the items of some samples of the pool, in the order of their ids."""
        return [item for id in sorted(ids) for item in self.pool[id]]

    def as_dict(self, empty_pool: int, empty_test: int) -> dict[str, Any]:
        """Return sizes and fingerprints, for the report."""
        pool = self.items(list(self.pool))
        return {
            "pool": len(self.pool),
            "test": self.test_samples,
            "pool_empty": empty_pool,
            "test_empty": empty_test,
            "pool_groups": len({item.key for item in pool}),
            "test_groups": len({item.key for item in self.test}),
            "pool_fingerprint": fingerprint_of(pool),
            "test_fingerprint": fingerprint_of(self.test),
        }


def split_samples(items: Sequence[Item], protocol: Protocol) -> Samples:
    """Split labelled items into pool and test set by the hash of their group, or id.

    Raises:
        InputError: fewer samples in the pool than the last round has labels.
    """
    rest, test = split_items(items, protocol.test_share)
    pool: dict[str, tuple[Item, ...]] = {}
    for item in rest:
        pool[item.sample] = (*pool.get(item.sample, ()), item)
    if len(pool) <= protocol.counts[-1]:
        raise InputError(
            f"the last round has {protocol.counts[-1]} labels, the pool {len(pool)} samples "
            f"({protocol.test_share:.0%} of all are tested on); expected more: ask for fewer "
            f"labels or rounds, or label more"
        )
    return Samples(pool, tuple(test), len({item.sample for item in test}))


def random_of(seed: int, number: int, name: str) -> np.random.Generator:
    """Return the generator of a choice; for one seed it is the same in every simulation."""
    return np.random.default_rng((seed, number, zlib.crc32(name.encode())))


def fixed_steps(task: TaskSpec, **changes: Any) -> TaskSpec:
    """Return `task` with a fixed number of steps and one validation, after the last."""
    recipe = replace(task.training, **changes, epochs=0, early_stop_patience=0)
    return replace(task, training=replace(recipe, val_interval=recipe.steps))
