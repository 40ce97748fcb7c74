"""The images of the panel, one of each group, as in the thesis's figures 3, 4 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduction.splits import Split
from benchmarks.reproduction.testing import PANEL
from lib.data.groups import read_groups
from lib.data.studies import Item
from lib.files import write_atomically
from lib.io.labels import read_label
from lib.io.read import read_image

STAINS = ("fluorescence", "stained")
BRIGHT = 0.5


def choose_panel(test: Sequence[Item], by_class: bool = False) -> dict[str, Item]:
    """Return a test image of each group that there is: that with the median number of objects.

    Args:
        by_class: whether groups are the classes of the images; else they are the stains.
    """
    found: dict[str, list[tuple[int, str, Item]]] = {}
    group_of = _classes(test) if by_class else _stains(test)
    for item in test:
        assert item.label is not None
        objects = len(np.unique(read_label(item.label))) - 1
        found.setdefault(group_of[item.id], []).append((objects, item.id, item))
    return {
        group: sorted(found[group], key=lambda entry: entry[:2])[len(found[group]) // 2][2]
        for group in sorted(found)
    }


def save_panel(out: Path, split: Split, by_class: bool) -> tuple[Split, dict[str, str]]:
    """Choose the panel's images, keep them with their truth in `out`, and name them in the split.

    Returns:
        The split, and the id of the image of each group.
    """
    arrays: dict[str, Any] = {}
    chosen = choose_panel(split.test, by_class)
    for group, item in chosen.items():
        assert item.label is not None
        image = read_image(item.image)
        arrays[f"{group}_image"] = displayed(image.pixels)
        arrays[f"{group}_truth"] = (read_label(item.label, image) > 0).astype(np.uint8)
    write_atomically(out / PANEL, lambda file: np.savez_compressed(file, **arrays))
    ids = {group: item.id for group, item in chosen.items()}
    return replace(split, panel=tuple(ids.values())), ids


def displayed(pixels: np.ndarray) -> np.ndarray:
    """Return an image's pixels as uint8 for display, stretched from percentile 0.5 to 99.8."""
    low, high = np.percentile(pixels, (0.5, 99.8))
    scaled = (pixels.astype(np.float32) - low) / max(1e-9, float(high - low))
    return (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)


def _stains(items: Sequence[Item]) -> dict[str, str]:
    """Return the stain of each image by its id.

    An image is taken as stained if its median lies in the upper half of its range.
    """
    stains = {}
    for item in items:
        pixels = read_image(item.image).pixels.astype(np.float32)
        low, middle, high = np.percentile(pixels, (0.5, 50, 99.8))
        bright = high > low and (middle - low) / (high - low) > BRIGHT
        stains[item.id] = STAINS[bool(bright)]
    return stains


def _classes(items: Sequence[Item]) -> dict[str, str]:
    """Return the class of each image by its id, as ``groups.csv`` beside the images has it.

    An image without a class is "with" or "without" what its label marks.
    """
    folders = {item.image.parent for item in items}
    listed = {row.id: row.kind for folder in folders for row in read_groups(folder)}
    return {item.id: listed.get(item.id) or _with_or_without(item) for item in items}


def _with_or_without(item: Item) -> str:
    assert item.label is not None
    return "with" if read_label(item.label).any() else "without"
