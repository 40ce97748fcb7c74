"""The Kaggle ultrasound-nerve-segmentation set: brachial plexus in ultrasound of the neck.

``train/S_I.tif`` is frame I of subject S; ``train/S_I_mask.tif`` is its mask, 0 or 255, empty where
no nerve was marked. Public copies have ``images/S_I.*`` beside ``labels/S_I.*``. The frames come
from video and were marked one by one. So nearly equal frames can contradict each other: one has a
mask, the other an empty mask. This is a known fault of the set
(https://fhtagn.net/prog/2016/08/19/kaggle-uns.html).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.groups import Grouped, write_groups, write_table
from lib.data.studies import FINAL_LABELS, list_items
from lib.data.write_item import write_item
from lib.datasets.duplicates import SAME_FRAME, read_signature, similar_pairs
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image

CONTRADICTIONS = "contradictions.csv"
_NAME = re.compile(r"(\d+)_(\d+)\.tiff?", re.IGNORECASE)
_ID = re.compile(r"(\d+)_(\d+)")


@dataclass(frozen=True)
class NerveFrame:
    """One frame of the set.

    Attributes:
        id: ``S_I``.
        subject: S.
        mask: None for frames of the set's test part.
    """

    id: str
    subject: int
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Contradiction:
    """Two nearly equal frames of a subject: one has a mask, the other an empty mask.

    Attributes:
        marked: id of the frame with the mask.
        empty: id of the other frame.
        correlation: of their signatures, up to 1; see `lib.datasets.duplicates`.
        pixels: how many the mask has.
    """

    marked: str
    empty: str
    correlation: float
    pixels: int


def find_frames(folder: Path) -> list[NerveFrame]:
    """Return the frames in `folder` or its ``train``, sorted by subject and number.

    Two layouts are accepted: as published, and ``images/`` beside ``labels/``.

    Raises:
        InputError: no such folder, or no frames in it.
    """
    check_folder(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return _copied_frames(folder)
    root = folder / "train" if (folder / "train").is_dir() else folder
    found = []
    for image in root.iterdir():
        if name := _NAME.fullmatch(image.name):
            mask = image.with_name(f"{image.stem}_mask{image.suffix}")
            key = int(name[1]), int(name[2])
            frame = NerveFrame(image.stem, key[0], image, mask if mask.is_file() else None)
            found.append((key, frame))
    if not found:
        raise InputError(
            f"'{folder}' is not ultrasound-nerve-segmentation: expected train/S_I.tif with "
            f"train/S_I_mask.tif, S the subject, or folders images/ and labels/ with files S_I; "
            f"give the unpacked data set"
        )
    return [frame for _, frame in sorted(found, key=lambda pair: pair[0])]


def _copied_frames(folder: Path) -> list[NerveFrame]:
    """Return the frames in ``images/``, sorted by subject and number.

    Raises:
        InputError: a name that tells no subject, or no frames.
    """
    found = []
    for item in list_items(folder):
        name = _ID.fullmatch(item.id)
        if not name:
            raise InputError(
                f"{item.image.name} in '{folder}' tells no subject: expected S_I, the subject's "
                f"number and the frame's, as in 12_34; rename it, or take it out of images/"
            )
        key = int(name[1]), int(name[2])
        found.append((key, NerveFrame(item.id, key[0], item.image, item.label)))
    if not found:
        raise InputError(f"there are no images in '{folder / 'images'}'; expected files S_I")
    return [frame for _, frame in sorted(found, key=lambda pair: pair[0])]


def find_contradictions(
    frames: Sequence[NerveFrame],
    pixels: dict[str, int],
    signatures: dict[str, np.ndarray],
    threshold: float = SAME_FRAME,
) -> list[Contradiction]:
    """Return the pairs of nearly equal frames of a subject where one mask is empty, one is not.

    Args:
        pixels: number of pixels in the mask, by id; frames without an entry are not compared.
        signatures: by id.
        threshold: smallest correlation at which two frames count as nearly equal, 0..1.
    """
    by_subject: dict[int, list[str]] = defaultdict(list)
    for frame in frames:
        if frame.id in pixels:
            by_subject[frame.subject].append(frame.id)
    found = []
    for ids in by_subject.values():
        for pair in similar_pairs([signatures[id] for id in ids], threshold):
            empty, marked = sorted((ids[pair.a], ids[pair.b]), key=lambda id: pixels[id])
            if pixels[empty] == 0 < pixels[marked]:
                rounded = round(pair.correlation, 4)
                found.append(Contradiction(marked, empty, rounded, pixels[marked]))
    return found


def import_nerve(
    source: Path,
    studies: Path,
    on_item: OnItem | None = None,
    *,
    drop_contradictions: bool = False,
) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Image files are copied as they are; labels become PNG of 0 and 1. ``groups.csv`` keeps the
    frames of a subject together in a split, ``contradictions.csv`` lists the contradictory pairs.

    The report's figures are `frames`: how many by subject; `marked`: how many of these show a
    nerve; and `contradictions`.

    Args:
        drop_contradictions: import the empty one of each contradictory pair without its label.
    """
    frames = find_frames(source)
    pixels: dict[str, int] = {}
    signatures = {}
    for frame in counted(frames, on_item):
        signatures[frame.id] = read_signature(frame.image)
        label = None
        if frame.mask:
            label = (read_label(frame.mask, read_image(frame.image)) > 0).astype(np.uint8)
            pixels[frame.id] = int(label.sum())
        write_item(studies, frame.id, frame.image, label)
    contradictions = find_contradictions(frames, pixels, signatures)
    if drop_contradictions:
        for pair in contradictions:
            (studies / FINAL_LABELS / f"{pair.empty}.png").unlink(missing_ok=True)
    write_table(
        studies / CONTRADICTIONS,
        ("marked", "empty", "correlation", "mask_pixels"),
        [(c.marked, c.empty, c.correlation, c.pixels) for c in contradictions],
    )
    kinds = {id: "nerve" if count else "empty" for id, count in pixels.items()}
    write_groups(
        studies, (Grouped(f.id, f"subject_{f.subject}", kinds.get(f.id, "")) for f in frames)
    )
    subjects = Counter(frame.subject for frame in frames)
    marked = Counter(frame.subject for frame in frames if pixels.get(frame.id))
    dropped = "; the empty ones were imported without label" if drop_contradictions else ""
    return ImportReport(
        images=len(frames),
        lines=(
            f"{len(frames)} images of {len(subjects)} subjects imported into {studies}, "
            f"{marked.total()} with a nerve",
            f"{len(contradictions)} pairs of nearly equal frames with and without a mask, in "
            f"{CONTRADICTIONS}{dropped}",
        ),
        figures={
            "frames": dict(subjects),
            "marked": dict(marked),
            "contradictions": tuple(contradictions),
        },
    )
