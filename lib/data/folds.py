"""k-fold cross-validation with folds that do not change as images arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib.data.studies import Item, in_validation
from lib.errors import InputError

Split = tuple[list[Item], list[Item]]


def k_folds(
    items: Sequence[Item], k: int, key: Callable[[Item], str] = lambda item: item.key
) -> list[Split]:
    """Split `items` `k` times; each item is a validation case exactly once.

    The fold of an item depends on its key and `k` alone, see `lib.data.studies.in_validation`. So
    it does not change as images arrive.

    Args:
        key: returns what keeps items together; items of equal keys (of one patient, say) share a
            fold.

    Returns:
        For each fold its training and its validation items, in the order of `items`.

    Raises:
        InputError: fewer than two folds, or a fold with no item.
    """
    if k < 2:
        raise InputError(f"folds must be at least 2, found {k}; 5 is usual")
    folds = [sum(not in_validation(key(item), n / k) for n in range(1, k)) for item in items]
    empty = sorted(set(range(k)) - set(folds))
    if empty:
        raise InputError(
            f"no image falls into fold {empty[0]} of 0..{k - 1}: {len(items)} labelled images are "
            f"too few for {k} folds; ask for fewer folds or label more images"
        )
    return [
        (
            [item for item, its_fold in zip(items, folds, strict=True) if its_fold != fold],
            [item for item, its_fold in zip(items, folds, strict=True) if its_fold == fold],
        )
        for fold in range(k)
    ]
