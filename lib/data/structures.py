"""A label sorted by structures: each gets the value that the tasks have for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from lib.data.ignore import IGNORE, IGNORE_NAME
from lib.data.label_names import Labels, renumbered, structure_of, structures_of_values, values_of
from lib.io.masks import Names


@dataclass(frozen=True, kw_only=True)
class SortedLabel:
    """A label sorted by structures.

    Attributes:
        label: of structures that tasks have, with the values of the task that has them.
        names: of these; those that were offered and are not drawn have the value 0.
        foreign: the other structures, numbered from 1, on the same grid; None without any.
        foreign_names: of these.
    """

    label: np.ndarray
    names: Names
    foreign: np.ndarray | None = None
    foreign_names: Names = ()


def sort_structures(
    file: str, label: np.ndarray, names: Names, tasks: Sequence[Labels]
) -> SortedLabel:
    """Sort a label by the names of its segments.

    The structures get the values of the first task that has them all. Where the values of two
    tasks are the same, a structure of the second gets the next free one. Objects of one structure
    keep their numbers.

    Args:
        names: at least one.
        tasks: structures of each; without any, all are known.

    Raises:
        OtherStructuresError: a value has no name.
    """
    values = values_of(label)
    known = {structure for labels in tasks for structure in labels} or {n for n, _ in names}
    structures = structures_of_values(file, values, names, (*known, IGNORE_NAME), tasks)
    named = {value: name for name, value in names}
    own = {value: found for value, found in structures.items() if found}
    replaced = _new_values(own, tasks)
    objects = Counter(own.values())
    kept: dict[int, str] = {}
    for value, structure in own.items():
        alone = objects[structure] == 1 or replaced[value] in kept
        kept[replaced[value]] = structure if alone else named.get(value, structure)
    if len(kept) > 1 and len(objects) == 1:
        kept = {min(kept): next(iter(objects))}  # one name for the numbers of its objects
    drawn = [(name, value) for value, name in sorted(kept.items())]
    offered = {structure_of(name, known) for name, _ in names} - {"", *own.values()}
    others = sorted(values - own.keys())
    numbers = {value: number for number, value in enumerate(others, start=1)}
    return SortedLabel(
        label=renumbered(label, {value: replaced.get(value, 0) for value in values}),
        names=(*drawn, *((name, 0) for name in sorted(offered))),
        foreign=renumbered(label, {v: numbers.get(v, 0) for v in values}) if others else None,
        foreign_names=tuple((named[value], number) for value, number in numbers.items()),
    )


def _new_values(structures: Mapping[int, str], tasks: Sequence[Labels]) -> dict[int, int]:
    """Return the value to store for each value: see `sort_structures`."""
    objects = Counter(structures.values())
    first: Labels = max(tasks, key=lambda labels: len(objects.keys() & labels), default={})
    own: dict[str, int] = dict(first)
    for labels in tasks:
        own = {**labels, **own}
    fixed = {IGNORE_NAME: IGNORE, **(first if len(first) > 1 else {})}
    result = {value: fixed[name] for value, name in structures.items() if name in fixed}
    used = set(result.values())
    free = (number for number in count(1) if number not in used and number not in structures)
    for value, structure in structures.items():
        if value not in result:
            wanted = own.get(structure, value) if objects[structure] == 1 else value
            result[value] = next(free) if wanted in used else wanted
            used.add(result[value])
    return result


def values_by_name(names: Iterable[str], tasks: Sequence[Labels]) -> dict[str, int] | None:
    """Return a value for each structure of the tasks that segments name, as `sort_structures` does.

    Several objects of one structure have their own names and numbers. Where no name is a
    structure's, those of the first task with each are returned; None without tasks.
    """
    known = {structure: value for labels in reversed(tasks) for structure, value in labels.items()}
    named = {name: found for name in names if (found := structure_of(name, known))}
    objects = Counter(named.values())
    keys = {
        name: number if objects[structure] > 1 else -number
        for number, (name, structure) in enumerate(named.items(), start=1)
    }
    values = _new_values({keys[name]: structure for name, structure in named.items()}, tasks)
    several = {structure: set[int]() for structure in objects}
    for name, structure in named.items():
        several[structure].add(values[keys[name]])
    return (
        {
            name if len(several[structure]) > 1 else structure: values[keys[name]]
            for name, structure in named.items()
        }
        or known
        or None
    )
