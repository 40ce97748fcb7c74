"""Groups of the images of a data set that show the same, written into its studies folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from lib.data.groups import Grouped, write_groups, write_table
from lib.datasets.duplicates import SAME_VIEW, Pair, groups_of, similar_pairs

DUPLICATES = "duplicates.csv"


def group_alike(
    studies: Path,
    ids: Sequence[str],
    signatures: Sequence[np.ndarray],
    *,
    keys: Sequence[str] = (),
    threshold: float = SAME_VIEW,
) -> tuple[int, int]:
    """Write ``groups.csv`` and ``duplicates.csv``.

    Args:
        ids: of the images.
        signatures: of each image, see `lib.datasets.duplicates.signature`.
        keys: of each image: what is known to belong together, such as a patient.
        threshold: smallest correlation at which two images count as alike, 0..1.

    Returns:
        How many groups there are, and how many pairs look alike.
    """
    pairs = similar_pairs(signatures, threshold)
    linked = sorted(range(len(ids)), key=lambda index: keys[index]) if keys else []
    known = [Pair(a, b, 1.0) for a, b in pairwise(linked) if keys[a] == keys[b]]
    groups = groups_of(len(ids), [*pairs, *known])
    names = keys or ids
    write_groups(
        studies, (Grouped(id, names[group]) for id, group in zip(ids, groups, strict=True))
    )
    write_table(
        studies / DUPLICATES,
        ("id", "other", "correlation"),
        [(ids[p.a], ids[p.b], round(p.correlation, 4)) for p in pairs],
    )
    return len(set(groups)), len(pairs)
