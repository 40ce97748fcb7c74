"""How far the label images of two readers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.data.ignore import IGNORE
from lib.errors import InputError
from lib.segmentation.metrics import dice
from lib.statistics import weighted_kappa

FOREGROUND = "foreground"
MOST_STRUCTURES = 16  # labels with more values are taken for numbered objects


def compare_masks(
    one: np.ndarray, other: np.ndarray, structures: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return Dice of each structure, and Cohen's kappa over pixels; `IGNORE` is left out.

    Args:
        one, other: integers `(*spatial)`, 0 is background.
        structures: values by name. All values are (objects of) a single one. None takes each value
            for a structure, beside the foreground of all; of more than `MOST_STRUCTURES` values,
            which are numbered objects, there is the foreground alone.

    Returns:
        ``dice`` by structure, 1 where neither reader drew it, and ``kappa``, None where both gave
        one and the same value to all pixels.

    Raises:
        InputError: the labels have different shapes.
    """
    if one.shape != other.shape:
        raise InputError(
            f"labels of {_size(one)} and {_size(other)} pixels cannot be compared; expected the "
            f"size of their image"
        )
    labelled = (one != IGNORE) & (other != IGNORE)
    one, other = one[labelled], other[labelled]
    foreground = {FOREGROUND: (one > 0, other > 0)}
    values = np.union1d(one, other)
    if structures is None:
        numbered = np.count_nonzero(values) > MOST_STRUCTURES
        named = {} if numbered else {str(value): int(value) for value in values if value}
        masks = {**foreground, **_masks(one, other, named)}
    elif len(structures) == 1:
        named, masks = {}, dict(zip(structures, foreground.values(), strict=True))
    else:
        named, masks = dict(structures), _masks(one, other, structures)
    classes = [_classes(label, list(named.values())) for label in (one, other)]
    count = max(2, len(named) + 1)
    confusion = np.bincount(classes[0] * count + classes[1], minlength=count * count)
    kappa = float(weighted_kappa(confusion.reshape(count, count), undefined=np.nan))
    return {
        "dice": {name: dice(*pair) for name, pair in masks.items()},
        "kappa": None if np.isnan(kappa) else kappa,
    }


def _masks(
    one: np.ndarray, other: np.ndarray, named: Mapping[str, int]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: (one == value, other == value) for name, value in named.items()}


def _classes(label: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Return the place of each pixel among `values`, from 1, or 0; without values, 1 for any."""
    if not values:
        return (label > 0).astype(np.int64)
    classes = np.zeros(label.shape, np.int64)
    for index, value in enumerate(values, 1):
        classes[label == value] = index
    return classes


def _size(label: np.ndarray) -> str:
    return " x ".join(map(str, label.shape[::-1]))
