"""The labelled images of a studies folder, by the labels of all readers or of the last one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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

    def agree(item: Item, labels: Mapping[str, LabelVersion]) -> Path:
        return write_consensus(studies, item, labels, task)

    return by_readers(list_images(studies, task, True), studies, readers, agree)


def write_consensus(
    studies: Path, item: Item, labels: Mapping[str, LabelVersion], task: TaskSpec
) -> Path:
    """Return the file of the consensus of several readers on an image, made if it is not there."""
    one_structure = len(task.labels) == 1
    method = f"consensus 1 {'structure' if one_structure else 'structures'}"
    file = consensus_file(studies, item.id, labels.values(), method, ".nrrd")
    if not file.exists():
        grid = image_geometry(item.image)
        read = [read_label(one.file, grid) for one in labels.values() if one.file]
        write_mask(file, consensus(read, one_structure), grid)
    return file
