"""The labelled images of a studies folder, by the labels of all readers or of the last one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.data.label_names import OtherStructuresError, label_of_task
from lib.data.label_records import told_in
from lib.data.labels import names_in
from lib.data.readers import by_readers, consensus_file
from lib.data.studies import Item, list_items, volumes_only
from lib.data.versions import LabelVersion
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import image_geometry
from lib.segmentation.consensus import consensus
from lib.tasks.spec import TaskSpec


def list_images(studies: Path, task: TaskSpec, labelled: bool = False) -> list[Item]:
    """Return the images that a task answers on, or those with a label.

    Raises:
        InputError: no such folder, or no such image in it.
    """
    return volumes_only(list_items(studies, labelled), task.image_dims)


def list_images_of_readers(studies: Path, task: TaskSpec, readers: str) -> list[Item]:
    """Return labelled images with the labels of the chosen readers, see `lib.data.reader_choice`.

    Raises:
        InputError: no such folder, no such image in it, or a label that does not fit its image.
    """

    def agree(item: Item, labels: Mapping[str, LabelVersion]) -> Item:
        return with_consensus(studies, item, labels, task)

    return by_readers(list_images(studies, task, True), studies, readers, agree)


def with_consensus(
    studies: Path, item: Item, labels: Mapping[str, LabelVersion], task: TaskSpec
) -> Item:
    """Return an item with the consensus of several readers; it is made if it is not there.

    Readers who drew none of the task's structures are left out; of all such the item stays.
    """
    file = consensus_file(studies, item.id, labels.values(), f"consensus 2 {task.labels}", ".nrrd")
    if not file.exists():
        read = []
        for one in labels.values():
            with suppress(OtherStructuresError):
                read.append(read_label_of_reader(item, one, task))
        if not read:
            return item
        write_mask(file, consensus(read, len(task.labels) == 1), image_geometry(item.image))
    return replace(item, label=file, told=())


def read_label_of_reader(item: Item, label: LabelVersion, task: TaskSpec) -> np.ndarray:
    """Read a reader's label on the grid of its image, with the values of `task`.

    Raises:
        OtherStructuresError: it is a label of other structures.
        InputError: it cannot be read or does not fit the image.
    """
    assert label.file is not None
    pixels = read_label(label.file, image_geometry(item.image))
    names = names_in(label.file, told_in(label.info), pixels)
    return label_of_task(label.file.name, pixels, names, task.name, task.labels)
