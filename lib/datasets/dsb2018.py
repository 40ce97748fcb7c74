"""The Kaggle Data Science Bowl 2018 nuclei set, in the layouts it is found in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.studies import list_items
from lib.data.write_item import write_item
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import extension, read_image, stem


@dataclass(frozen=True)
class Source:
    """One image of the set.

    Attributes:
        masks: the files that make its label; none where it has no label.
        joined: whether its one mask file is the whole label, nuclei numbered.
    """

    id: str
    image: Path
    masks: tuple[Path, ...]
    joined: bool


def find_sources(folder: Path) -> list[Source]:
    """Return the images of the set below `folder`, sorted by id.

    Two layouts are accepted: as published, ``[stage1_train/]ID/images/ID.png`` with one mask file
    per nucleus in ``ID/masks/``; and compact, ``images/`` with one label image each in ``labels/``.

    Raises:
        InputError: the folder does not exist or has neither layout.
    """
    check_folder(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        items = list_items(folder)
        return [Source(i.id, i.image, (i.label,) if i.label else (), True) for i in items]
    root = folder / "stage1_train" if (folder / "stage1_train").is_dir() else folder
    found = []
    for case in sorted(path for path in root.iterdir() if path.is_dir()):
        images = sorted(file for file in case.glob("images/*") if extension(file))
        if images:
            masks = tuple(sorted(file for file in case.glob("masks/*") if extension(file)))
            found.append(Source(stem(images[0]), images[0], masks, joined=False))
    if not found:
        raise InputError(
            f"'{folder}' is not DSB 2018: expected stage1_train/ID/images/ID.png with "
            f"ID/masks/*.png, or folders images/ and labels/"
        )
    return found


def join_masks(source: Source) -> np.ndarray:
    """Return the label image of `source`: int32 `(rows, columns)`, nuclei numbered from 1.

    Where masks overlap, the smaller nucleus is kept whole, so that none disappears.

    Raises:
        InputError: a mask is unreadable or of another size than the image.
    """
    image = read_image(source.image)
    if source.joined:
        return read_label(source.masks[0], image)
    masks = [read_label(path, image) > 0 for path in source.masks]
    masks = sorted((mask for mask in masks if mask.any()), key=lambda mask: -int(mask.sum()))
    label = np.zeros(image.shape, dtype=np.int32)
    for number, mask in enumerate(masks, start=1):
        label[mask] = number
    return label


def import_dsb2018(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Image files are copied as they are; labels become 16-bit PNG; images without masks get no label.
    Existing files are replaced by equal content, so an interrupted import can be run again.
    """
    sources = find_sources(source)
    for item in counted(sources, on_item):
        write_item(studies, item.id, item.image, join_masks(item) if item.masks else None)
    count = len(sources)
    return ImportReport(images=count, lines=(f"{count} images imported into {studies}",))
