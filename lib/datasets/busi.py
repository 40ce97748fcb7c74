"""BUSI: breast ultrasound images with lesion masks, in the layouts it is found in.

Al-Dhabyani et al., Dataset of breast ultrasound images, Data in Brief 28:104863, 2020. The set has
copies of images (with and without burned-in marks, some of them in two classes) and several frames
of one patient. The importer groups them, so that a split does not separate them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.groups import Grouped, write_groups, write_table
from lib.data.studies import list_items
from lib.data.write_item import write_item
from lib.datasets.duplicates import groups_of, read_signature, similar_pairs
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image

CLASSES = ("benign", "malignant", "normal")
DUPLICATES = "duplicates.csv"
_NAME = re.compile(r"(.+) \((\d+)\)(_mask(?:_\d+)?)?\.png", re.IGNORECASE)


@dataclass(frozen=True)
class BusiImage:
    """One image of the set.

    Attributes:
        id: ``benign_12`` for ``benign (12).png``.
        kind: its class: benign, malignant or normal; empty where the layout does not say.
        masks: its mask files; the label is their union.
    """

    id: str
    kind: str
    image: Path
    masks: tuple[Path, ...]


def find_images(folder: Path) -> list[BusiImage]:
    """Return the images of the set below `folder`, sorted by id.

    Two layouts are accepted: as published, ``[Dataset_BUSI_with_GT/]<class>/<class> (N).png``
    beside ``<class> (N)_mask.png``, ``_mask_1.png`` and so on; and compact, ``images/`` and
    ``labels/`` with the classes in ``labels.csv`` (columns id, class).

    Raises:
        InputError: no such folder, or neither layout.
    """
    check_folder(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        kinds = _listed_classes(folder / "labels.csv")
        return [
            BusiImage(
                i.id, kinds.get(i.id, _class_of(i.id)), i.image, (i.label,) if i.label else ()
            )
            for i in list_items(folder)
        ]
    inner = folder / "Dataset_BUSI_with_GT"
    found = _published(inner if inner.is_dir() else folder)
    if not found:
        raise InputError(
            f"'{folder}' is not BUSI: expected Dataset_BUSI_with_GT/benign/benign (1).png with "
            f"benign (1)_mask.png, or folders images/ and labels/"
        )
    return found


def join_masks(item: BusiImage) -> np.ndarray:
    """Return the label of `item`: uint8 `(rows, columns)`, 1 where any of its masks is set.

    Raises:
        InputError: a mask is unreadable or of another size than the image.
    """
    image = read_image(item.image)
    label = np.zeros(image.shape, dtype=np.uint8)
    for mask in item.masks:
        label[read_label(mask, image) > 0] = 1
    return label


def import_busi(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Image files are copied as they are; labels become PNG of 0 and 1. Of images without a mask,
    normal ones get an empty label, others none. ``groups.csv`` lists the group and the class of
    each image, ``duplicates.csv`` the pairs that made the groups.

    The report's figures are `classes`: images of each class; `groups`: how many groups a split
    keeps together, single images included; `duplicates`: pairs of ids with the correlation of their
    signatures; `mixed`: the ids of each group whose images are of several classes.
    """
    items = find_images(source)
    signatures = []
    for item in counted(items, on_item):
        signatures.append(read_signature(item.image))
        labelled = item.masks or item.kind == "normal"
        write_item(studies, item.id, item.image, join_masks(item) if labelled else None)
    pairs = similar_pairs(signatures)
    groups = groups_of(len(items), pairs)
    write_groups(
        studies,
        (Grouped(i.id, items[group].id, i.kind) for i, group in zip(items, groups, strict=True)),
    )
    named = [(items[p.a], items[p.b], round(p.correlation, 4)) for p in pairs]
    write_table(
        studies / DUPLICATES,
        ("id", "other", "correlation", "class", "other_class"),
        [(a.id, b.id, correlation, a.kind, b.kind) for a, b, correlation in named],
    )
    members = defaultdict(list)
    for item, group in zip(items, groups, strict=True):
        members[group].append(item)
    mixed = [group for group in members.values() if len({item.kind for item in group}) > 1]
    classes = Counter(item.kind for item in items)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(classes.items()))
    return ImportReport(
        images=len(items),
        lines=(
            f"{len(items)} images imported into {studies}: {counts}",
            f"{len(pairs)} pairs show the same, in {DUPLICATES}: {len(members)} groups to split, "
            f"{len(mixed)} of them of more than one class",
        ),
        figures={
            "classes": dict(classes),
            "groups": len(members),
            "duplicates": tuple((a.id, b.id, correlation) for a, b, correlation in named),
            "mixed": tuple(tuple(item.id for item in group) for group in mixed),
        },
    )


def _published(root: Path) -> list[BusiImage]:
    images: dict[str, tuple[str, Path]] = {}
    masks = defaultdict(list)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for file in sorted(folder.iterdir()):
            if name := _NAME.fullmatch(file.name):
                id = f"{name[1]}_{name[2]}"
                if name[3]:
                    masks[id].append(file)
                else:
                    images[id] = folder.name.lower(), file
    return [
        BusiImage(id, kind, image, tuple(masks[id])) for id, (kind, image) in sorted(images.items())
    ]


def _class_of(id: str) -> str:
    name = id.rsplit("_", 1)[0].lower()
    return name if name in CLASSES else ""


def _listed_classes(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"id", "class"} <= set(rows.fieldnames or ()):
            raise InputError(
                f"{path.name}: columns {', '.join(rows.fieldnames or ()) or 'none'}, expected id "
                f"and class; correct its first line or remove the file"
            )
        return {row["id"]: row["class"] for row in rows}
