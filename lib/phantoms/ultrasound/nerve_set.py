"""Nerve phantoms in the layout of the Kaggle ultrasound-nerve-segmentation set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.io.pictures import save_picture
from lib.phantoms.ultrasound.studies import cine


def write_nerve_phantoms(
    folder: Path,
    seed: int = 0,
    subjects: int = 4,
    frames: int = 6,
    size: tuple[int, int] = (420, 580),
    contradictions: int = 1,
) -> int:
    """Write phantoms in the layout of the set: half of the masks are empty, some contradict.

    About half of a subject's frames are of a loop with a nerve, the others of one without.

    Args:
        subjects: how many.
        frames: how many each subject has.
        size: rows and columns.
        contradictions: how many subjects get one more frame: nearly a copy of a frame with a nerve,
            but with an empty mask.

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
            save_picture(train / f"{subject}_{index}.tif", image)
            save_picture(train / f"{subject}_{index}_mask.tif", label * np.uint8(255))
        written += len(moments)
    return written
