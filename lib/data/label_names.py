"""Which structure each value of a label is: the names of its segments decide, not the numbers.

Names come from the label file itself (.seg.nrrd), or from the ``label_info`` that clients send and
that a studies folder's index keeps. They are compared without regard to case, spaces, hyphens and
underscores, and "nuclei 2" is an object of "nuclei". Where nothing names the values, they must be
those of the task; in tasks with one structure they number its objects.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.data.ignore import IGNORE, IGNORE_NAME
from lib.errors import InputError, listed
from lib.io.masks import Names
from lib.io.segments import NO_STRUCTURES
from lib.tasks.spec import plain

_NUMBER = re.compile(r"\s\d+$")  # of "nuclei 7"
_TABLE = 1 << 20  # values up to this are looked up in a table


class OtherStructuresError(InputError):
    """A label of other structures than those of a task."""


class Told(NamedTuple):
    """An entry of ``label_info``.

    Attributes:
        idx: position of the segment in 3D Slicer, from 1, those that are not submitted counted too;
            or the value, as other clients send it.
        id: the value, where the client tells it.
    """

    name: str
    idx: int | None = None
    id: int | None = None


def read_label_info(label_info: object) -> tuple[Told, ...]:
    """Return the entries of ``label_info``; none where it is None.

    Raises:
        InputError: it is no list, or an entry has no name, or a number that is none.
    """
    found: list[Told] = []
    if label_info is not None and not isinstance(label_info, (list, tuple)):
        raise InputError(
            f"label_info is {str(label_info)[:60]}; expected a list of entries such as "
            f"{{'name': 'nuclei', 'idx': 1}}"
        )
    for entry in label_info or ():
        name = entry.get("name") if isinstance(entry, Mapping) else None
        numbers = [entry.get(key) for key in ("idx", "id")] if name else []
        if (
            not name
            or not isinstance(name, str)
            or not all(
                number is None or (type(number) is int and 0 <= number) for number in numbers
            )
        ):
            raise InputError(
                f"label_info holds {str(entry)[:60]}; expected entries such as "
                f"{{'name': 'nuclei', 'idx': 1}}"
            )
        found.append(Told(name, *numbers))
    return tuple(found)


def as_label_info(names: Names) -> list[dict[str, Any]]:
    """Return names as ``label_info``, with the value of each as ``idx`` and ``id``."""
    return [{"name": name, "idx": value, "id": value} for name, value in names]


def names_of(told: Sequence[Told], values: Collection[int]) -> Names:
    """Return which values the entries of ``label_info`` name.

    3D Slicer numbers the segments that it submits by their order, whatever their ``idx``.

    Args:
        values: of the label, without 0.

    Raises:
        OtherStructuresError: the values are neither those of the order nor the told ones.
    """
    # an id of 0 is that of a segment that was offered and not drawn
    drawn = [one for one in told if one.id != 0 and one.name.lower() not in NO_STRUCTURES]
    by_id = [(one.name, one.id) for one in told if one.id is not None]
    by_idx = [(one.name, one.idx) for one in told if one.idx is not None]
    positions = [one.idx for one in drawn if one.idx is not None]
    ordered = all(first < second for first, second in zip(positions, positions[1:], strict=False))
    by_order = [(one.name, value) for value, one in enumerate(drawn, start=1)]
    if told and len(by_id) == len(told):
        options = [by_id]
    else:
        options = [by_order, by_idx] if ordered else [by_idx]
    for names in options:
        known = [value for _, value in names if value]
        if set(values) <= set(known) and len(set(known)) == len(known):
            return tuple(names)
    if len(drawn) == 1:  # numbers of objects, or a mask of any value
        value = next(iter(values)) if len(values) == 1 else by_order[0][1]
        return ((drawn[0].name, value),)
    if not drawn:
        return ()
    raise OtherStructuresError(
        f"label holds the values {listed(values)}, but label_info names "
        f"{', '.join(f'{name!r} {value}' for name, value in options[-1]) or 'none'}; number the "
        f"segments in their order, or give the value of each as its 'id'"
    )


def structure_of(name: str, known: Iterable[str]) -> str:
    """Return which of the `known` names a segment's name is; empty where it is none."""
    table = {plain(one): one for one in known}
    wanted = plain(name)
    return table.get(wanted) or table.get(_NUMBER.sub("", wanted)) or ""


def values_of(label: np.ndarray) -> set[int]:
    """Return the values of a label image but 0."""
    return {int(value) for value in np.unique(label) if value}


Labels = Mapping[str, int]
"""The structures of a task with their values, as `TaskSpec.labels`."""


def label_of_task(
    file: str, label: np.ndarray, names: Names, task: str, labels: Labels
) -> np.ndarray:
    """Return a label with the values of a task: structures of other names become background.

    In tasks with one structure the numbers of its objects stay. What nobody labelled becomes
    `lib.data.ignore.IGNORE`.

    Args:
        file: name of the file, for errors.
        task: its name, for errors.

    Raises:
        OtherStructuresError: names or values are none of the task.
    """
    values = values_of(label)
    single = len(labels) == 1
    expected = ", ".join(f"'{name}' {value}" for name, value in labels.items())
    if not names:
        strange = set() if single else values - set(labels.values()) - {IGNORE}
        if strange:
            raise OtherStructuresError(
                f"{file}: holds the values {listed(strange)}, and no names, '{task}' expects "
                f"{expected}; name the structures, or number them so"
            )
        return label
    structures = structures_of_values(file, values, names, (*labels, IGNORE_NAME), [labels])
    offered = any(structure_of(name, labels) for name, _ in names)
    drawn = set(structures.values()) - {""}
    if not (drawn or (offered and not values)):
        raise OtherStructuresError(
            f"{file}: is a label of {listed({name for name, _ in names})}, '{task}' expects "
            f"{expected}; leave it out, or rename the segments"
        )
    own = {**labels, IGNORE_NAME: IGNORE, "": 0}
    return renumbered(
        label,
        {
            value: value if single and found in labels else own[found]
            for value, found in structures.items()
        },
    )


def structures_of_values(
    file: str,
    values: Iterable[int],
    names: Names,
    known: Collection[str],
    tasks: Sequence[Labels],
) -> dict[int, str]:
    """Return the known structure of each value, empty for others.

    Raises:
        OtherStructuresError: a value has no name.
    """
    named = {value: name for name, value in names}
    unnamed = set(values) - named.keys()
    found = {value: structure_of(named[value], known) for value in set(values) & named.keys()}
    if not unnamed:
        return found
    drawn = [name for name, value in names if value] or [name for name, _ in names]
    if len(drawn) == 1:  # the numbers of the objects of a structure that is alone in its task
        structure = structure_of(drawn[0], known)
        if not tasks or any(set(labels) == {structure} for labels in tasks):
            return dict.fromkeys(values, structure)
    raise OtherStructuresError(
        f"{file}: no segment has the values {listed(unnamed)}, expected "
        f"{', '.join(f'{name!r} {value}' for name, value in names)}; name every segment"
    )


def renumbered(label: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Return a label with each of its values replaced; `label` itself where nothing changes."""
    if all(before == after for before, after in values.items()):
        return label
    if max(values) < _TABLE:
        table = np.zeros(max(values) + 1, np.int32)
        table[list(values)] = list(values.values())
        return table[label]
    found, inverse = np.unique(label, return_inverse=True)
    replaced = np.array([values.get(int(value), 0) for value in found], np.int32)
    return replaced[inverse].reshape(label.shape)


def common_name(names: Sequence[tuple[str, int]]) -> Names:
    """Return names, or the only one of the objects of one structure, and none that say nothing."""
    drawn = {_NUMBER.sub("", plain(name)) for name, _ in names}
    if drawn <= {"label", "segment"}:
        return ()
    return ((drawn.pop(), names[0][1]),) if len(drawn) == 1 and len(names) > 1 else tuple(names)
