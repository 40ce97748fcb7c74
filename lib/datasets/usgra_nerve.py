"""Frames of ultrasound-guided regional anaesthesia: peripheral nerves and vessels.

The set is ``usgra-seg`` of tmkand (CC BY 4.0): frames of a Mindray TE7 at the interscalene,
axillary, elbow, femoral and popliteal sites. It names no subjects, and neighbouring frames are
alike; the importer groups those that look alike, so that a split does not separate them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.data.studies import list_items
from lib.data.write_item import write_item
from lib.datasets.alike import group_alike
from lib.datasets.duplicates import read_signature
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image

STRUCTURES = {"nerve": 1, "vessel": 2}


def import_usgra_nerve(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Image files are copied as they are; labels become NRRD of 0, 1 and 2 that keeps the names nerve
    and vessel, so that a task of one structure takes its own.
    ``groups.csv`` lists the group of each frame, ``duplicates.csv`` the pairs that made the groups.

    The report's figures are `frames_with`: how many frames show each structure; and `groups`: how
    many groups a split keeps together, single frames included.

    Raises:
        InputError: a label has other values.
    """
    check_folder(source)
    if not ((source / "images").is_dir() and (source / "labels").is_dir()):
        raise InputError(
            f"'{source}' is not usgra-seg: expected folders images/ and labels/ with equal names, "
            f"0 background, 1 nerve, 2 vessel; give the unpacked data set"
        )
    items = list_items(source)
    signatures, shown = [], dict.fromkeys(STRUCTURES, 0)
    for item in counted(items, on_item):
        signatures.append(read_signature(item.image, cropped=True))
        label = None
        if item.label:
            label = read_label(item.label, read_image(item.image))
            values = set(np.unique(label).tolist())
            if strange := sorted(values - {0, *STRUCTURES.values()}):
                raise InputError(
                    f"{item.label.name}: values {strange}, expected 0 background, 1 nerve and 2 "
                    f"vessel; give the labels of the data set"
                )
            for name, value in STRUCTURES.items():
                shown[name] += value in values
        write_item(studies, item.id, item.image, label, names=tuple(STRUCTURES.items()))
    groups, pairs = group_alike(studies, [i.id for i in items], signatures)
    counts = ", ".join(f"{count} with a {name}" for name, count in shown.items())
    return ImportReport(
        images=len(items),
        lines=(
            f"{len(items)} images imported into {studies}: {counts}",
            f"{pairs} pairs of frames look alike, in duplicates.csv: {groups} groups to split",
        ),
        figures={"frames_with": shown, "groups": groups},
    )
