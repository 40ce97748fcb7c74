"""Clicks as maps, and where simulated users put them."""

from __future__ import annotations

import numpy as np
import pytest

from lib.interactive.clicks import Clicks, click_maps
from lib.interactive.simulated_user import first_clicks, next_click
from lib.tasks.click_spec import ClickSpec


def _disc(centre: tuple[int, int], radius: float, side: int = 64) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def _maps(*masks: np.ndarray) -> np.ndarray:
    return np.stack(masks).astype(np.float32)


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


def test_the_next_click_is_on_the_middle_of_what_is_missing():
    truth = _disc((20, 20), 9)
    click = next_click(_maps(np.zeros_like(truth)), _maps(truth))
    assert click == ((20, 20), True)


def test_the_next_click_is_on_the_deeper_error():
    truth, answer = _disc((20, 20), 4), _disc((45, 45), 9)
    assert next_click(_maps(answer), _maps(truth)) == ((45, 45), False)


def test_a_right_answer_needs_no_click():
    truth = _disc((20, 20), 9)
    assert next_click(_maps(truth), _maps(truth)) is None


def test_objects_that_run_together_are_clicked_on_their_middle():
    one, other = _disc((30, 20), 10), _disc((30, 41), 10)
    truth = one | other
    height = np.zeros((64, 64), np.float32)
    for centre in ((30, 20), (30, 41)):
        away = np.hypot(*(np.ogrid[:64, :64][axis] - centre[axis] for axis in (0, 1)))
        height = np.maximum(height, np.clip(1 - away / 10, 0, 1))
    target = np.stack((truth.astype(np.float32), height))
    merged = np.stack((truth.astype(np.float32), truth.astype(np.float32)))
    point, positive = next_click(merged, target, ("foreground", "distance"))
    assert positive
    assert point in {(30, 20), (30, 41)}


def test_first_clicks_are_on_their_side():
    target = _maps(_disc((30, 30), 12))
    drawn = [first_clicks(target, ClickSpec(first=4), np.random.default_rng(n)) for n in range(40)]
    for clicks in drawn:
        assert all(target[0][tuple(point)] == 1 for point in clicks.positive)
        assert all(target[0][tuple(point)] == 0 for point in clicks.negative)
    assert {len(clicks.positive) for clicks in drawn} == {0, 1, 2, 3, 4}
    assert max(len(clicks.negative) for clicks in drawn) == 4


def test_an_empty_image_gets_no_positive_click():
    clicks = first_clicks(_maps(np.zeros((32, 32))), ClickSpec(), np.random.default_rng(1))
    assert len(clicks.positive) == 0


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
