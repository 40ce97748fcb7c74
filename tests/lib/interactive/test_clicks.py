"""Clicks as maps, and on other grids."""

from __future__ import annotations

import numpy as np
import pytest

from lib.interactive.clicks import Clicks, click_maps


def _disc(centre: tuple[int, int], radius: float, side: int = 64) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def test_a_click_is_a_disc_of_its_sign():
    clicks = Clicks().with_one((10, 20), True).with_one((40, 50), False)
    positive, negative = click_maps(clicks, (64, 64), 3)
    assert positive[10, 20] == positive[10, 22] == 1
    assert positive[10, 23] == 0.5
    assert positive[10, 24] == 0
    assert negative[40, 50] == 1
    assert positive[40, 50] == negative[10, 20] == 0
    np.testing.assert_array_equal(positive >= 0.5, _disc((10, 20), 3.01))


@pytest.mark.parametrize("point", [(0, 0), (63, 0), (0, 63), (63, 63)])
def test_a_click_in_a_corner_keeps_its_place(point):
    positive = click_maps(Clicks().with_one(point, True), (64, 64), 3)[0]
    assert positive[point] == 1
    assert 0 < positive.sum() < 15


def test_a_click_in_a_volume_is_a_ball():
    clicks = Clicks().with_one((4, 8, 12), True)
    positive = click_maps(clicks, (16, 16, 24), 2)[0]
    assert positive[2, 8, 12] == positive[4, 10, 12] == positive[4, 8, 10] == 0.5
    assert positive[1, 8, 12] == 0


def test_clicks_move_with_the_grid():
    clicks = Clicks().with_one((10, 30), True).with_one((99, 5), False)
    moved = clicks.scaled((8, 0), (0.5, 0.25), (40, 16))
    np.testing.assert_array_equal(moved.positive, [[1, 7]])
    np.testing.assert_array_equal(moved.negative, [[39, 1]])


def test_clicks_of_a_frame_are_flat():
    clicks = Clicks().with_one((2, 10, 11), True).with_one((3, 4, 5), True)
    own = clicks.of_frame(3)
    np.testing.assert_array_equal(own.positive, [[4, 5]])
    assert len(own) == 1
