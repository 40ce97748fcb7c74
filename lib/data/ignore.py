"""Partly labelled images: the value of label images that marks what nobody labelled.

Whatever has this value is neither structure nor background: losses, figures and simulated users
leave it out. In viewers it is the segment called `IGNORE_NAME`; in targets it is `UNKNOWN`.
"""

from __future__ import annotations

import numpy as np

from lib.errors import InputError

IGNORE_NAME = "ignore"
# It fits 16 bits, and is not 65535, which is the foreground of many 16 bit masks.
IGNORE = 65534
UNKNOWN = -1  # in training targets, see `lib.data.targets.make_target`


def split_ignored(label: np.ndarray, name: str = "label") -> tuple[np.ndarray, np.ndarray]:
    """Return a label image `(*spatial)` with 0 for what is ignored, and its labelled pixels.

    Args:
        label: integers, 0 is background, `IGNORE` is what nobody labelled.
        name: of the label, for the error.

    Raises:
        InputError: nothing is labelled.
    """
    labelled = label != IGNORE
    if label.size and not labelled.any():
        raise InputError(
            f"{name}: everything is marked '{IGNORE_NAME}', expected some labelled pixels; label a "
            f"part of the image, or remove the label"
        )
    return np.where(labelled, label, 0), labelled


def labelled_objects(objects: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return answered objects as far as they can be judged.

    Objects with more than half of their pixels outside `labelled` leave, and so do the pixels of
    the others there.

    Args:
        objects: `(*spatial)` integers from 0, 0 is background.
        labelled: boolean, of the same shape.
    """
    if labelled.all():
        return objects
    sizes = np.bincount(objects.ravel())
    seen = np.bincount(objects[labelled], minlength=len(sizes))
    return np.where(labelled & (2 * seen >= sizes)[objects], objects, 0)
