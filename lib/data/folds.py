"""k-fold cross-validation: folds that do not move as images arrive, and figures over the folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib.data.studies import Item, in_validation
from lib.errors import InputError

Split = tuple[list[Item], list[Item]]


def k_folds(
    items: Sequence[Item], k: int, key: Callable[[Item], str] = lambda item: item.key
) -> list[Split]:
    """Split `items` `k` times; each item is a validation case exactly once.

    The fold of an item is a function of its key and `k` alone, as its place in
    `lib.data.studies.in_validation` is: it does not move as images arrive.

    Args:
        key: what keeps items together; items of one key (a patient, say) share a fold.

    Returns:
        For each fold its training and its validation items, in the order of `items`.

    Raises:
        InputError: fewer than two folds, or a fold with no item.
    """
    if k < 2:
        raise InputError(f"folds must be at least 2, found {k}; 5 is usual")
    folds = [sum(not in_validation(key(item), part / k) for part in range(1, k)) for item in items]
    empty = sorted(set(range(k)) - set(folds))
    if empty:
        raise InputError(
            f"no image falls into fold {empty[0]} of 0..{k - 1}: {len(items)} labelled images are "
            f"too few for {k} folds; ask for fewer folds or label more images"
        )
    return [
        (
            [item for item, own in zip(items, folds, strict=True) if own != fold],
            [item for item, own in zip(items, folds, strict=True) if own == fold],
        )
        for fold in range(k)
    ]
