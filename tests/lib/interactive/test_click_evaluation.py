"""What is wrong of an object that was not found, and what a click on it does."""

from __future__ import annotations

import numpy as np
import pytest

from lib.interactive.click_evaluation import object_error
from lib.interactive.splitting import split_at_neck


def _disc(row: int, column: int, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:64, :96]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


ONE, OTHER = _disc(32, 30, 11), _disc(32, 50, 11)
TRUTH = np.where(ONE, 1, np.where(OTHER, 2, 0)).astype(np.int32)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (np.zeros_like(TRUTH), "missed"),
        (OTHER.astype(np.int32), "missed"),
        ((ONE | OTHER).astype(np.int32), "merged"),
        (_disc(32, 30, 20).astype(np.int32), "outline"),
        (np.where(ONE, 1 + (np.arange(96) > 30), 0).astype(np.int32), "outline"),
    ],
)
def test_the_kind_of_an_error_is_told(answer, kind):
    assert object_error(answer, TRUTH, TRUTH == 1) == kind


def test_a_click_parts_what_has_a_neck():
    merged = (ONE | OTHER).astype(np.int32)
    parted = split_at_neck(merged.copy(), merged.astype(np.float32), (32, 30))
    assert parted[32, 30] == 2
    assert parted[32, 50] == 1
    np.testing.assert_array_equal(parted > 0, merged > 0)
    assert abs(int((parted == 2).sum()) - int(ONE.sum())) < 0.1 * ONE.sum()


@pytest.mark.parametrize("point", [(32, 30), (26, 25), (32, 40)])
def test_a_click_in_what_has_no_neck_changes_nothing(point):
    disc = ONE.astype(np.int32)
    parted = split_at_neck(disc.copy(), disc.astype(np.float32), point)
    assert len(np.unique(parted[parted > 0])) == 1


def test_a_click_on_the_background_parts_nothing():
    merged = (ONE | OTHER).astype(np.int32)
    parted = split_at_neck(merged.copy(), merged.astype(np.float32), (2, 2))
    np.testing.assert_array_equal(parted, merged)
