"""A stored label as viewers show it.

In 3D Slicer the i-th name is value i and nothing else; in OHIF each structure has its own value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lib.data.ignore import IGNORE, IGNORE_NAME
from lib.data.label_names import Labels, structure_of, values_of
from lib.data.label_names import renumbered as with_values
from lib.errors import InputError
from lib.io.masks import Names
from lib.segmentation.instances import renumbered, with_gaps

MAX_SEGMENTS = 1_000  # objects that become segments of their own
MAX_STRUCTURES = 255  # values of a label map in a browser


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


def as_structures(
    label: np.ndarray, names: Names, tasks: Sequence[Labels]
) -> tuple[np.ndarray, dict[str, int]]:
    """Return a label with one value for each structure, the objects of one together.

    Args:
        label: integers `(*spatial)`, 0 is background.
        names: of the values, as they were stored with the label; empty where nothing names them.
        tasks: structures of those that fit, the likeliest first. The structures get the values of
            the first one that has them all; what no task has, and what nobody labelled, gets the
            next free values.

    Returns:
        uint8 of the same shape, and the value of each structure of that task and of what else is
        drawn.

    Raises:
        InputError: there are more than `MAX_STRUCTURES`.
    """
    structures = _structures(values_of(label), names, tasks)
    wanted = {*structures.values(), *(structure_of(name, _known(tasks)) for name, _ in names)}
    wanted -= {"", IGNORE_NAME}
    fitting = max(tasks, key=lambda labels: len(wanted & labels.keys()), default={})
    shown = dict(fitting)
    for structure in dict.fromkeys(structures.values()):
        if structure not in shown:
            shown[structure] = max(shown.values(), default=0) + 1
    if len(shown) > MAX_STRUCTURES:
        raise InputError(
            f"the label holds {len(shown)} structures, at most {MAX_STRUCTURES} can be shown; "
            f"download it instead"
        )
    values = {value: shown[structure] for value, structure in structures.items()}
    return (with_values(label, values) if values else label).astype(np.uint8), shown


def _known(tasks: Sequence[Labels]) -> list[str]:
    return [structure for labels in tasks for structure in labels]


def _structures(values: set[int], names: Names, tasks: Sequence[Labels]) -> dict[int, str]:
    """Return the structure of each value, in rising order; see `as_structures`."""
    named = {value: name for name, value in names if value}
    drawn = list(dict.fromkeys(name for name, value in names if value or len(names) == 1))
    unnamed = values - named.keys() - {IGNORE}
    if not names:
        fitting = (labels for labels in tasks if unnamed <= set(labels.values()))
        by_value = {v: name for name, v in next(fitting, {}).items()}
        single = next((name for labels in tasks if len(labels) == 1 for name in labels), "")
        named = by_value or dict.fromkeys(unnamed, single)
    elif len(drawn) == 1:  # the numbers of its objects
        named |= dict.fromkeys(unnamed, drawn[0])
    known = [*_known(tasks), IGNORE_NAME]
    found = {}
    for value in sorted(values):
        name = named.get(value) or (IGNORE_NAME if value == IGNORE else f"label {value}")
        found[value] = structure_of(name, known) or name
    return found
