"""The images of a study, split into training, validation and test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.reproduction.study import Study
from lib.data.folds import k_folds
from lib.data.studies import Item, fingerprint_of, split_items
from lib.errors import InputError
from lib.io.labels import read_label
from lib.segmentation.metrics import image_scores, pixel_scores


@dataclass(frozen=True, kw_only=True)
class Split:
    """The items of a study, split once for all its runs.

    Attributes:
        training: trained on, but for the validation items among them.
        validation_ids: choose the step and draw the curves.
        test: never seen in training.
        panel: ids of test items whose masks are kept for the page.
    """

    training: list[Item]
    validation_ids: frozenset[str]
    test: list[Item]
    training_fingerprint: str
    test_fingerprint: str
    panel: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return sizes and fingerprints, for the report."""
        groups, tested = ({item.key for item in part} for part in (self.training, self.test))
        return {
            "images": len(self.training) + len(self.test),
            "groups": len(groups | tested),
            "test_groups": len(tested),
            "test": len(self.test),
            "validation": len(self.validation_ids),
            "training": len(self.training) - len(self.validation_ids),
            "training_fingerprint": self.training_fingerprint,
            "test_fingerprint": self.test_fingerprint,
        }


def hash_split(items: Sequence[Item], study: Study) -> Split:
    """Split into test, validation and training by the hash of the group, or of the id.

    The validation items are the next `study.val_share` of what the test set leaves. (The hash is
    the same, so below the test share itself there would be none.)

    Raises:
        InputError: one of the three is empty.
    """
    share, val_share = study.test_share, study.val_share
    try:
        rest, test = split_items(items, share)
        _, held = split_items(rest, share + (1 - share) * val_share)
    except InputError:
        keys = len({item.key for item in items})
        raise InputError(
            f"{len(items)} labelled images in {keys} groups leave none for the test, validation or "
            f"training set ({share:.0%} are tested on, {val_share:.0%} of the others choose the "
            f"step); label more images, of at least 3 groups"
        ) from None
    return _split(rest, held, test)


def fold_split(items: Sequence[Item], study: Study, fold: tuple[int, int]) -> Split:
    """Return the split of one fold: what it holds out is tested on.

    The validation items are `study.val_share` of the others, by a hash of their own.

    Args:
        fold: its number from 0, and how many there are.

    Raises:
        InputError: a fold without an image, or too few others.
    """
    number, folds = fold
    rest, test = k_folds(items, folds)[number]
    _, held = split_items(rest, study.val_share, salt=f"fold {number} of {folds}: ")
    return _split(rest, held, test)


def _split(rest: list[Item], held: Sequence[Item], test: list[Item]) -> Split:
    return Split(
        training=rest,
        validation_ids=frozenset(item.id for item in held),
        test=test,
        training_fingerprint=fingerprint_of(rest),
        test_fingerprint=fingerprint_of(test),
    )


def always_empty(test: Sequence[Item]) -> dict[str, float]:
    """Return the figures of the mask that is always empty; its presence score says nothing."""
    truths = [read_label(item.label) > 0 for item in test if item.label]
    marked = np.array([truth.sum() for truth in truths], dtype=float)
    none = np.zeros_like(marked)
    rest = np.array([truth.size for truth in truths], dtype=float) - marked
    counts = {"tp": none, "fp": none, "fn": marked, "tn": rest}
    pooled = pixel_scores({name: column.sum() for name, column in counts.items()})
    figures = {**pooled, **image_scores(counts, none)}
    return {name: float(value) for name, value in figures.items()}
