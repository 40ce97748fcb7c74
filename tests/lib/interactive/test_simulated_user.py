"""Where a simulated user clicks."""

from __future__ import annotations

import numpy as np
import pytest

from lib.data.ignore import IGNORE, UNKNOWN
from lib.data.targets import distance, make_target
from lib.interactive.simulated_user import first_clicks, inner_click, next_click, object_clicks
from lib.tasks.click_spec import ClickSpec
from lib.tasks.image_spec import TargetSpec


def _disc(centre: tuple[int, int], radius: float, side: int = 64) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def _maps(*masks: np.ndarray) -> np.ndarray:
    return np.stack(masks).astype(np.float32)


def _discs(*discs: tuple[int, int, int], side: int = 64) -> np.ndarray:
    """Return discs `(row, column, radius)`, numbered from 1."""
    rows, columns = np.ogrid[:side, :side]
    label = np.zeros((side, side), dtype=np.int32)
    for number, (row, column, radius) in enumerate(discs, start=1):
        label[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return label


def _depth(label: np.ndarray) -> np.ndarray:
    return distance(label, TargetSpec(maps=("distance",)))


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


@pytest.mark.parametrize("seed", range(5))
def test_clicks_fall_on_objects_that_were_not_found_and_on_no_other(seed):
    truth = _discs((12, 12, 8), (12, 45, 8), (45, 12, 8), (45, 45, 8))
    answer = np.where(np.isin(truth, (1, 4)), truth, 0)
    clicks = object_clicks(answer, truth, _depth(truth), 6, np.random.default_rng(seed))
    numbers = truth[tuple(clicks.T)].tolist()
    assert set(numbers) <= {2, 3}
    assert 1 <= len(numbers) == len(set(numbers))
    assert (_depth(truth)[tuple(clicks.T)] >= 0.5).all()


def test_two_in_one_are_not_found_either_but_for_the_larger():
    truth = _discs((30, 15, 11), (30, 34, 8))
    merged = (truth > 0).astype(np.int32)
    rng = np.random.default_rng(0)
    found = {
        int(truth[tuple(p)])
        for _ in range(20)
        for p in object_clicks(merged, truth, _depth(truth), 3, rng)
    }
    assert found == {2}  # the larger one fills more than half of what was answered


def test_where_all_is_found_there_is_no_click():
    truth = _discs((12, 12, 8), (40, 40, 9))
    assert object_clicks(truth, truth, _depth(truth), 3, np.random.default_rng(0)).shape == (0, 2)


def test_a_user_clicks_anywhere_but_near_the_outline():
    disc = _discs((32, 32, 20)) > 0
    depth = _depth(disc.astype(np.int32))
    rng = np.random.default_rng(0)
    points = np.array([inner_click(depth, rng) for _ in range(200)])
    away = np.hypot(*(points - 32).T)
    assert away.max() <= 11
    assert away.max() > 8  # not the middle only


def test_nobody_clicks_where_nobody_labelled():
    label = _discs((16, 14, 9), (44, 12, 5), (30, 32, 10))
    label[:, 32:] = IGNORE
    spec = TargetSpec(maps=("foreground", "distance"))
    target = make_target(label, spec).astype(np.float32)
    for seed in range(60):
        drawn = first_clicks(target, ClickSpec(first=4), np.random.default_rng(seed))
        for points in (drawn.positive, drawn.negative):
            assert all(column < 32 for _, column in points)
    for everywhere in (0.0, 1.0):
        answer = np.full((2, 64, 64), everywhere, np.float32)
        (_, column), positive = next_click(answer, target, spec.maps)
        assert column < 32 and positive == (everywhere == 0)
    right = np.where(target == UNKNOWN, 1, target)  # wrong at most where nobody can know
    assert next_click(right, target, spec.maps) is None
    assert next_click(np.where(target == UNKNOWN, 0, target), target, spec.maps) is None


def test_a_click_on_an_object_that_is_cut_stays_on_it():
    """Its depth is unknown, so there is no middle to climb to."""
    label = _discs((30, 32, 10))
    label[:, 32:] = IGNORE
    target = make_target(label, TargetSpec(maps=("foreground", "distance"))).astype(np.float32)
    point, positive = next_click(np.zeros_like(target), target, ("foreground", "distance"))
    assert positive and label[point] == 1
