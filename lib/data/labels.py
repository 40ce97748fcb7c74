"""The accepted labels of items, as a task understands them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from lib.data.label_names import (
    OtherStructuresError,
    Told,
    label_of_task,
    names_of,
    values_of,
)
from lib.data.studies import Item
from lib.errors import InputError
from lib.files import FileStamp, file_stamp
from lib.image import Image
from lib.io.facts import dicom_facts
from lib.io.labels import read_label
from lib.io.layers import label_names, read_label_file
from lib.io.masks import Names
from lib.io.read import image_size
from lib.tasks.fits import refusal
from lib.tasks.image_kind import ImageKind
from lib.tasks.spec import TaskSpec


def read_item_label(item: Item, image: Image, task: TaskSpec) -> np.ndarray:
    """Read the label of an item on the grid of its image, with the values of `task`.

    Returns:
        int32, of the image's shape; see `lib.data.label_names.label_of_task`.

    Raises:
        OtherStructuresError: it is a label of other structures.
        InputError: it has none, or one that cannot be read or does not fit the image.
    """
    if item.label is None:
        raise InputError(f"'{item.id}' has no accepted label; save one, or leave the image out")
    label = read_label(item.label, image)
    names = names_in(item.label, item.told, label)
    return label_of_task(item.label.name, label, names, task.name, task.labels)


def names_in(file: Path, told: tuple[Told, ...], label: np.ndarray) -> Names:
    """Return the names of the values of a label: those in its file, else the told ones."""
    return label_names(file) or (names_of(told, values_of(label)) if told else ())


def matching_items(items: Sequence[Item], task: TaskSpec) -> tuple[list[Item], dict[str, str]]:
    """Return the items whose labels are of the task's structures, and why others are not, by id.

    DICOM images of modalities that the task is not for are others too.

    Labels that cannot be read are returned with the first: whoever reads them says why.

    Raises:
        InputError: none is left.
    """
    left_out: dict[str, str] = {}
    for item in items:
        if item.label is not None and (reason := _misfit(item, task) or _mismatch(item, task)):
            left_out[item.id] = reason
    return without(items, left_out, task)


def without(
    items: Sequence[Item], left_out: dict[str, str], task: TaskSpec
) -> tuple[list[Item], dict[str, str]]:
    """Return the items that are not left out, and why others are.

    Raises:
        InputError: none is left.
    """
    kept = [item for item in items if item.id not in left_out]
    if left_out and not kept:
        raise InputError(
            f"none of {len(items)} labels is of '{task.name}', the first says: "
            f"{next(iter(left_out.values()))}"
        )
    return kept, left_out


def _misfit(item: Item, task: TaskSpec) -> str:
    """Return why the image is of a modality that the task is not for; empty where it is none."""
    return refusal(task, ImageKind(dicom_facts(item.image)[0])) if task.modalities else ""


def _mismatch(item: Item, task: TaskSpec) -> str:
    """Return why the label is none of the task; empty where it is."""
    assert item.label is not None
    try:
        if len(task.labels) == 1 and not item.told and not label_names(item.label):
            return ""  # any number is an object then
        dims = 3 if len(image_size(item.image)) == 3 else 2
        return _mismatch_once(
            item.label,
            file_stamp(item.label),
            item.told,
            dims,
            task.name,
            tuple(task.labels.items()),
        )
    except OSError:
        return ""
    except InputError as error:
        return str(error) if isinstance(error, OtherStructuresError) else ""


@lru_cache(maxsize=65536)  # the server looks at all labels after each that is saved
def _mismatch_once(
    file: Path,
    stamp: FileStamp,
    told: tuple[Told, ...],
    dims: int,
    task: str,
    labels: Names,
) -> str:
    label = read_label_file(file, dims).pixels
    try:
        label_of_task(file.name, label, names_in(file, told, label), task, dict(labels))
    except OtherStructuresError as error:
        return str(error)
    return ""
