"""A stored label as 3D Slicer shows it: the i-th name is value i and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lib.segmentation.instances import renumbered, with_gaps

MAX_SEGMENTS = 1_000  # objects that become segments of their own


def as_segments(
    label: np.ndarray, names: Sequence[tuple[str, int]], labels: Mapping[str, int]
) -> tuple[np.ndarray, dict[str, int]]:
    """Return a label with values from 1 without gaps, and the name of each, in rising order.

    Objects that are numbered become segments of their own, "nuclei 7". Where there are more than
    `MAX_SEGMENTS`, they become one segment, in which a gap of a pixel parts those that touch.

    Args:
        label: integers `(*spatial)`, 0 is background.
        names: of the values, as they were stored with the label; empty where nothing names them.
        labels: names and values of the task, for a label without names.

    Returns:
        Integers of the same shape, and the value of each name.
    """
    values = [int(value) for value in np.unique(label) if value]
    named = {value: name for name, value in names or labels.items() if value}
    structures = list(dict.fromkeys(name for name, _ in names)) or list(labels)
    if not values:
        return label, {name: value for value, name in enumerate(structures, start=1)}
    # names without a value were offered and not drawn
    structures = list(dict.fromkeys(name for name, value in names if value)) or structures
    alone = structures[0] if len(structures) == 1 else "segment"
    if len(structures) == 1 and len(values) > 1 and len(values) > MAX_SEGMENTS:
        return (with_gaps(label) > 0).astype(np.uint8), {alone: 1}
    if len(structures) == 1 and len(values) == 1:
        return renumbered(label), {alone: 1}
    counts = Counter(named.get(value, alone) for value in values)
    return renumbered(label), {
        name if counts[name] == 1 else f"{name} {value}": number
        for number, value in enumerate(values, start=1)
        if (name := named.get(value, alone))
    }
