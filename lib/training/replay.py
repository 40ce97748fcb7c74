"""Old and new cases side by side: what a retraining draws, so that it learns without forgetting.

A retraining starts from the served weights and uses every case of the folder, old and new. If all
cases were drawn equally often, ten new labels among a thousand would hardly matter; if only the new
ones were drawn, the network would forget the old ones. So the new cases make up as much as half of
each pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.data.studies import Item
from lib.files import content_fingerprint

MOST_REPEATS = 4  # of a new case in one pass, so that the network does not learn a few by heart


def cases_of_pass(
    items: Sequence[Item], new_ids: frozenset[str], rng: np.random.Generator
) -> np.ndarray:
    """Return the indices of the cases of one pass, as many as there are cases.

    New cases make up half of the pass, or less where each of them would come more than
    `MOST_REPEATS` times; a random sample of the old ones makes up the rest. Where no case is new,
    or at least half of them are, each case is drawn once.
    """
    count = len(items)
    new = [index for index, item in enumerate(items) if item.id in new_ids]
    if not new or 2 * len(new) >= count:
        return np.arange(count)
    old = [index for index, item in enumerate(items) if item.id not in new_ids]
    share = min(count // 2, MOST_REPEATS * len(new))
    return np.concatenate(
        [np.resize(rng.permutation(new), share), rng.choice(old, count - share, replace=False)]
    )


def label_fingerprints(items: Sequence[Item]) -> dict[str, str]:
    """Return 16 hexadecimal digits over the label of each labelled item, by id."""
    return {item.id: content_fingerprint(item.label) for item in items if item.label}


def new_ids(fingerprints: Mapping[str, str], trained_on: Mapping[str, str]) -> frozenset[str]:
    """Return the ids whose label was not trained on, or was another one then.

    Args:
        fingerprints: of the labels now, by id; see `label_fingerprints`.
        trained_on: of the labels of an earlier training.
    """
    return frozenset(id for id, value in fingerprints.items() if trained_on.get(id) != value)


def count_labels(items: Sequence[Item], ids: frozenset[str]) -> int:
    """Return how many labels `ids` have; the views of an exam share one."""
    labels: set[Path | None] = {item.label for item in items if item.id in ids}
    return len(labels)
