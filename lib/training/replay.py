"""Old and new cases side by side: what a retraining draws, so that it learns without forgetting.

Weights that go on from the live ones see every case of the folder again, old and new. Were all
drawn alike, ten new labels among a thousand would hardly be seen; were only these drawn, the old
ones would be forgotten. So a pass gives the new ones up to half of its places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.studies import Item
from lib.files import content_fingerprint
from lib.tasks.spec import TaskSpec

MOST_REPEATS = 4  # of a new case in one pass: a few of them are not learnt by heart


@dataclass
class Pass:
    """The cases of one pass, some of them several times."""

    task: TaskSpec
    items: list[Item]

    def __len__(self) -> int:
        return len(self.items)


def cases_of_pass(
    items: Sequence[Item], new_ids: frozenset[str], rng: np.random.Generator
) -> np.ndarray:
    """Return the numbers of the cases of one pass, as many as there are cases.

    New ones take half of the places, or as many as `MOST_REPEATS` of each fill; a new sample of
    the old ones takes the rest. Where none or half of them are new, each case is drawn once.
    """
    count = len(items)
    new = [number for number, item in enumerate(items) if item.id in new_ids]
    if not new or 2 * len(new) >= count:
        return np.arange(count)
    old = [number for number, item in enumerate(items) if item.id not in new_ids]
    share = min(count // 2, MOST_REPEATS * len(new))
    return np.concatenate(
        [np.resize(rng.permutation(new), share), rng.choice(old, count - share, replace=False)]
    )


def label_prints(items: Sequence[Item]) -> dict[str, str]:
    """Return 16 hexadecimal digits over the label of each labelled item, by id."""
    return {item.id: content_fingerprint(item.label) for item in items if item.label}


def new_ids(prints: Mapping[str, str], known: Mapping[str, str]) -> frozenset[str]:
    """Return the ids whose labels are not among the `known`, or differ from what they were."""
    return frozenset(id for id, value in prints.items() if known.get(id) != value)


def count_labels(items: Sequence[Item], ids: frozenset[str]) -> int:
    """Return how many labels `ids` have; views of an exam share one."""
    found: set[Path | None] = {item.label for item in items if item.id in ids}
    return len(found)
