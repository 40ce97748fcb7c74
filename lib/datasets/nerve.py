"""The Kaggle ultrasound-nerve-segmentation set: brachial plexus in ultrasound of the neck.

``train/S_I.tif`` is frame I of subject S, ``train/S_I_mask.tif`` its mask, 0 or 255, empty where no
nerve was marked. Frames come from video, marked one by one, so that some nearly equal frames have a
mask and others none: the known fault of the set
(https://fhtagn.net/prog/2016/08/19/kaggle-uns.html).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.data.groups import Grouped, write_groups, write_table
from lib.data.studies import FINAL_LABELS
from lib.datasets.duplicates import SAME_FRAME, read_signature, similar_pairs
from lib.errors import InputError
from lib.files import copy_atomically, write_atomically
from lib.image import Geometry
from lib.io.masks import read_label, write_mask
from lib.io.read import extension, read_image
from lib.phantoms.ultrasound.studies import cine

CONTRADICTIONS = "contradictions.csv"
_NAME = re.compile(r"(\d+)_(\d+)\.tiff?", re.IGNORECASE)


@dataclass(frozen=True)
class NerveFrame:
    """One frame of the set.

    Attributes:
        id: ``S_I``.
        subject: S.
        mask: None in the set's test part.
    """

    id: str
    subject: int
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Contradiction:
    """Two nearly equal frames of a subject of which one has a mask and one an empty one.

    Attributes:
        marked, empty: their ids.
        correlation: of their signatures, see `lib.datasets.duplicates`.
        pixels: of the mask.
    """

    marked: str
    empty: str
    correlation: float
    pixels: int


@dataclass(frozen=True)
class NerveReport:
    """What an import found.

    Attributes:
        frames: by subject, how many.
        marked: by subject, how many with a nerve.
    """

    frames: dict[int, int]
    marked: dict[int, int]
    contradictions: tuple[Contradiction, ...]


def find_frames(folder: Path) -> list[NerveFrame]:
    """Return the frames in `folder` or its ``train``, sorted by subject and number.

    Raises:
        InputError: no such folder, or no frames in it.
    """
    if not folder.is_dir():
        raise InputError(f"folder '{folder}' does not exist; give the unpacked data set")
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
            f"train/S_I_mask.tif, S the subject; give the unpacked data set"
        )
    return [frame for _, frame in sorted(found, key=lambda pair: pair[0])]


def find_contradictions(
    frames: Sequence[NerveFrame],
    pixels: dict[str, int],
    signatures: dict[str, np.ndarray],
    threshold: float = SAME_FRAME,
) -> list[Contradiction]:
    """Return the pairs of nearly equal frames of a subject of which one has an empty mask.

    Args:
        pixels: of the mask, by id; frames without an entry are passed over.
        signatures: by id.
        threshold: least correlation of frames that count as nearly equal, 0..1.
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
    on_item: Callable[[int, int], object] | None = None,
    drop_contradictions: bool = False,
) -> NerveReport:
    """Copy the set into a studies folder in MONAI Label's layout.

    Images keep their file; labels become PNG of 0 and 1. Beside them, ``groups.csv`` keeps the
    frames of a subject together in a split, ``contradictions.csv`` lists nearly equal frames with
    and without a mask.

    Args:
        on_item: called with the number done and the number in all.
        drop_contradictions: leave the label of the empty one of each such pair away.

    Raises:
        InputError: not this set, or a mask is unreadable or of another size than its image.
    """
    frames = find_frames(source)
    labels = studies / FINAL_LABELS
    labels.mkdir(parents=True, exist_ok=True)
    pixels: dict[str, int] = {}
    signatures = {}
    for done, frame in enumerate(frames, start=1):
        signatures[frame.id] = read_signature(frame.image)
        if frame.mask:
            shape = read_image(frame.image).shape
            label = (read_label(frame.mask, shape) > 0).astype(np.uint8)
            pixels[frame.id] = int(label.sum())
            write_mask(labels / f"{frame.id}.png", label, Geometry.flat(*shape))
        copy_atomically(frame.image, studies / f"{frame.id}{extension(frame.image)}")
        if on_item:
            on_item(done, len(frames))
    contradictions = find_contradictions(frames, pixels, signatures)
    if drop_contradictions:
        for pair in contradictions:
            (labels / f"{pair.empty}.png").unlink(missing_ok=True)
    write_table(
        studies / CONTRADICTIONS,
        ("marked", "empty", "correlation", "mask_pixels"),
        [(c.marked, c.empty, c.correlation, c.pixels) for c in contradictions],
    )
    kinds = {id: "nerve" if count else "empty" for id, count in pixels.items()}
    write_groups(
        studies, (Grouped(f.id, f"subject_{f.subject}", kinds.get(f.id, "")) for f in frames)
    )
    return NerveReport(
        dict(Counter(frame.subject for frame in frames)),
        dict(Counter(frame.subject for frame in frames if pixels.get(frame.id))),
        tuple(contradictions),
    )


def write_nerve_phantoms(
    folder: Path,
    seed: int = 0,
    subjects: int = 4,
    frames: int = 6,
    size: tuple[int, int] = (420, 580),
    contradictions: int = 1,
) -> int:
    """Write phantoms in the layout of the set, with its share of empty masks and its fault.

    A subject's frames are moments of two loops, one with a nerve and one without, about as many.

    Args:
        frames: of each subject.
        contradictions: this many subjects get one more frame, almost that of a frame with a nerve,
            with an empty mask.

    Returns:
        How many images were written.
    """
    train = folder / "train"
    train.mkdir(parents=True, exist_ok=True)
    written = 0
    for subject in range(1, subjects + 1):
        number = seed * 100_003 + subject
        with_nerve = (frames + subject % 2) // 2
        twice = subject <= contradictions and with_nerve > 0
        loops = (
            (cine(number, 3 * with_nerve + 1, size, present=True), with_nerve),
            (cine(number, 3 * (frames - with_nerve) + 1, size, present=False), frames - with_nerve),
        )
        moments = [
            (loop.image[3 * k], loop.label[3 * k]) for loop, count in loops for k in range(count)
        ]
        if twice:
            first, label = moments[0]
            moments.append(((np.roll(first, 1, axis=1) * 0.93).astype(np.uint8), label * 0))
        for index, (image, label) in enumerate(moments, start=1):
            _save(train / f"{subject}_{index}.tif", image)
            _save(train / f"{subject}_{index}_mask.tif", label * np.uint8(255))
        written += len(moments)
    return written


def _save(path: Path, pixels: np.ndarray) -> None:
    write_atomically(path, lambda file: PillowImage.fromarray(pixels).save(file, format="TIFF"))
