"""Objects split at clicks."""

from __future__ import annotations

import numpy as np
import pytest

from lib.interactive.clicked_objects import split_around_point, split_at_neck


def _discs(*discs: tuple[int, int, int], side: int = 64) -> np.ndarray:
    """Return discs `(row, column, radius)`, numbered from 1."""
    rows, columns = np.ogrid[:side, :side]
    label = np.zeros((side, side), dtype=np.int32)
    for number, (row, column, radius) in enumerate(discs, start=1):
        label[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return label


def _disc(row: int, column: int, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:64, :96]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


ONE, OTHER = _disc(32, 30, 11), _disc(32, 50, 11)


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


def test_what_is_around_a_point_is_parted_where_it_is_off_the_middle():
    objects = (_discs((32, 14, 9), (32, 38, 15)) > 0).astype(np.int32)
    small = _discs((32, 14, 9)) > 0
    parted = split_around_point(objects.copy(), (32, 14), 0.6)
    own = parted == parted[32, 14]
    assert parted.max() == 2
    assert (own & small).sum() / (own | small).sum() > 0.85
    assert ((parted > 0) == (objects > 0)).all()


def test_what_is_clicked_in_its_middle_stays_whole():
    objects = (_discs((32, 32, 12)) > 0).astype(np.int32)
    assert (split_around_point(objects.copy(), (33, 31), 0.6) == objects).all()
    assert not split_around_point(np.zeros((8, 8), np.int32), (4, 4), 0.6).any()


def test_a_ball_in_a_volume_is_parted_as_a_disc_is():
    z, y, x = np.ogrid[:24, :24, :48]
    small = (z - 12) ** 2 + (y - 12) ** 2 + (x - 10) ** 2 <= 36
    large = (z - 12) ** 2 + (y - 12) ** 2 + (x - 26) ** 2 <= 110
    objects = (small | large).astype(np.int32)
    own = split_around_point(objects, (12, 12, 10), 0.6)
    assert own[12, 12, 10] != own[12, 12, 30]
