"""HC18: fetal heads in ultrasound, with the size of a pixel and the circumference in millimetres.

Van den Heuvel et al., "Automated measurement of fetal head circumference using 2D ultrasound
images", PLoS ONE 13(8):e0200412, 2018; the data are https://zenodo.org/records/1322001 (CC BY 4.0).
``NNN_HC.png`` is the frame of an examination, ``NNN_2HC.png`` a second frame of the same one;
``NNN_HC_Annotation.png`` is the outline of the head, an ellipse. Frames of one examination are one
group, and so are frames that look alike, so that a split does not separate them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.morphology import convex_hull_image

from lib.data.studies import list_items
from lib.data.write_item import write_item
from lib.datasets.alike import group_alike
from lib.datasets.duplicates import SAME_FRAME, read_signature
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted, read_table
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image

TABLE = "training_set_pixel_size_and_HC.csv"
WIDTH = 800  # pixels of the published frames, to which the sizes in the table apply
_NAME = re.compile(r"((\d+)_\d?HC)\.png", re.IGNORECASE)


@dataclass(frozen=True)
class HeadFrame:
    """One frame of the set.

    Attributes:
        id: ``NNN_HC``, or ``NNN_2HC`` for a second frame.
        label: the published outline, or a filled mask; None without one.
        outlined: whether `label` is an outline.
    """

    id: str
    image: Path
    label: Path | None
    outlined: bool

    @property
    def examination(self) -> str:
        """The number before the first underscore."""
        return self.id.partition("_")[0]


def find_frames(folder: Path) -> list[HeadFrame]:
    """Return the frames in `folder` or its ``training_set``, sorted by id.

    Two layouts are accepted: as published, and ``images/`` beside ``labels/`` with filled masks.

    Raises:
        InputError: no such folder, or neither layout.
    """
    check_folder(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return [HeadFrame(i.id, i.image, i.label, outlined=False) for i in list_items(folder)]
    root = folder / "training_set" if (folder / "training_set").is_dir() else folder
    found = []
    for image in sorted(root.iterdir()):
        if name := _NAME.fullmatch(image.name):
            outline = image.with_name(f"{name[1]}_Annotation{image.suffix}")
            found.append(HeadFrame(name[1], image, outline if outline.is_file() else None, True))
    if not found:
        raise InputError(
            f"'{folder}' is not HC18: expected NNN_HC.png with NNN_HC_Annotation.png, or folders "
            f"images/ and labels/; give the unpacked data set"
        )
    return found


def pixel_sizes(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the size of a pixel and the circumference, both in mm, by id, as the table tells them.

    The circumference is NaN where the table has none. Without a table nothing is known.

    Raises:
        InputError: the table lacks a column, or a size is no positive number.
    """
    path = next((p for p in (folder / TABLE, folder.parent / TABLE) if p.is_file()), None)
    if path is None:
        return {}
    found = {}
    for row in read_table(path):
        names = {name.partition("(")[0].strip(): value for name, value in row.items()}
        try:
            size = float(names["pixel size"])
            around = float(names.get("head circumference") or "nan")
        except (KeyError, ValueError):
            size = around = 0.0
        if not 0 < size < 10:
            raise InputError(
                f"{path.name}: expected columns filename, pixel size(mm) and head circumference "
                f"(mm) with sizes above 0, found {row}; take the table of the data set"
            )
        found[Path(names["filename"]).stem] = (size, around)
    return found


def filled_outline(outline: np.ndarray, name: str) -> np.ndarray:
    """Return what an outline surrounds: uint8 `(rows, columns)`, 1 inside and on the outline.

    The outline is an ellipse. So its convex hull is the head, also where the frame cuts it and the
    outline is open.

    Args:
        outline: boolean `(rows, columns)`.
        name: of its file, for the message.

    Raises:
        InputError: nothing is drawn.
    """
    if not outline.any():
        raise InputError(
            f"{name}: nothing is drawn; expected the outline of a head, white on black"
        )
    hull: np.ndarray = convex_hull_image(outline, offset_coordinates=False)
    return hull.astype(np.uint8)


def import_hc18(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Labels become PNG of 0 and 1. With the set's table the frames become PNG that hold the size of a
    pixel, from which everything that measures takes millimetres; the table's sizes are those of
    frames 800 pixels wide, and smaller copies get larger pixels. Without it image files are copied
    as they are. ``groups.csv`` keeps the frames of an examination, and those that look alike,
    together; ``duplicates.csv`` lists the pairs that look alike.

    The report's figures are `examinations`: how many; `groups`: how many groups a split keeps
    together; `sizes`: the size of a pixel in mm by id; `circumferences`: as published, in mm by id.
    """
    frames = find_frames(source)
    sizes = pixel_sizes(source)
    signatures = []
    spacings: dict[str, float] = {}
    for frame in counted(frames, on_item):
        image = read_image(frame.image)
        signatures.append(read_signature(frame.image))
        label = None
        if frame.label:
            drawn = read_label(frame.label, image) > 0
            label = filled_outline(drawn, frame.label.name) if frame.outlined else drawn
        if frame.id in sizes:
            spacings[frame.id] = sizes[frame.id][0] * WIDTH / image.shape[1]
        write_item(studies, frame.id, frame.image, label, spacings.get(frame.id))
    ids = [frame.id for frame in frames]
    # heads are bright rings: 300 of different examinations correlate by up to 0.54
    keys = [f"examination_{frame.examination}" for frame in frames]
    groups, pairs = group_alike(studies, ids, signatures, keys=keys, threshold=SAME_FRAME)
    return ImportReport(
        images=len(frames),
        lines=(
            f"{len(frames)} images of {len(set(keys))} examinations imported into {studies}, "
            f"{len(spacings)} with the size of a pixel",
            f"{pairs} pairs of frames look alike: {groups} groups to split",
        ),
        figures={
            "examinations": len(set(keys)),
            "groups": groups,
            "sizes": spacings,
            "circumferences": _known(sizes, ids),
        },
    )


def _known(sizes: Mapping[str, tuple[float, float]], ids: Iterable[str]) -> dict[str, float]:
    return {id: sizes[id][1] for id in ids if id in sizes and sizes[id][1] > 0}
