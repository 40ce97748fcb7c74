"""Groups of images, by stain or by class: the panel of a page shows one image of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.data.groups import read_groups
from lib.data.studies import Item
from lib.io.labels import read_label
from lib.io.read import read_image

STAINS = ("fluorescence", "stained")
BRIGHT = 0.5


def by_brightness(items: Sequence[Item]) -> dict[str, str]:
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


def by_class(items: Sequence[Item]) -> dict[str, str]:
    """Return the class of each image by its id, as ``groups.csv`` beside the images has it.

    An image without a class is "with" or "without" what its label marks.
    """
    listed = {
        row.id: row.kind
        for folder in {item.image.parent for item in items}
        for row in read_groups(folder)
    }
    return {item.id: listed.get(item.id) or _with_or_without(item) for item in items}


def _with_or_without(item: Item) -> str:
    assert item.label is not None
    return "with" if read_label(item.label).any() else "without"
