"""Labelled phantoms of nuclei as a studies folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as PillowImage

from lib.phantoms.nuclei import nuclei_phantom


def write_nuclei(folder: Path, count: int, side: int = 64) -> Path:
    """Write `count` fluorescence phantoms of `side` x `side` pixels with their labels."""
    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    for index in range(count):
        image, label = nuclei_phantom(index, rows=side, columns=side, nuclei=6)
        PillowImage.fromarray(image).save(folder / f"nucleus_{index}.png")
        PillowImage.fromarray(label).save(labels / f"nucleus_{index}.png")
    return folder
