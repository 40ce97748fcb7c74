"""Shapes between drawn slices: spheres, holes, movement, several structures, keys untouched."""

from __future__ import annotations

import numpy as np
import pytest

from lib.errors import InputError
from lib.interactive.interpolation import drawn_slices, fill_between

SHAPE = 33, 48, 64


def ball(radius: float, centre: tuple[float, float, float] = (16, 24, 30)) -> np.ndarray:
    """Return booleans of `SHAPE`, true in a ball."""
    away = [np.arange(side) - middle for side, middle in zip(SHAPE, centre, strict=True)]
    squares = sum(part**2 for part in np.meshgrid(*away, indexing="ij"))
    return np.asarray(squares <= radius**2)


def disc(radius: float, row: float, column: float) -> np.ndarray:
    """Return booleans of one slice, true in a disc."""
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def drawn_at(truth: np.ndarray, *slices: int) -> np.ndarray:
    """Return a label that has the truth in some slices alone."""
    label = np.zeros(truth.shape, np.uint8)
    label[list(slices)] = truth[list(slices)]
    return label


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("radius", [6, 10, 15])
def test_a_ball_drawn_in_three_slices_comes_back_whole(radius):
    truth = ball(radius)
    label = drawn_at(truth, 16 - radius + 1, 16, 16 + radius - 1)
    filled = fill_between(label)
    assert dice(filled > 0, truth) >= 0.97
    assert filled.dtype == label.dtype and set(np.unique(filled)) == {0, 1}


def test_keys_stay_bit_by_bit_and_nothing_is_drawn_beyond_them():
    label = drawn_at(ball(12) & (np.random.default_rng(0).random(SHAPE) > 0.3), 8, 15, 24)
    before = label.copy()
    filled = fill_between(label)
    assert np.array_equal(label, before)
    assert np.array_equal(filled[[8, 15, 24]], label[[8, 15, 24]])
    assert not filled[:8].any() and not filled[25:].any()
    assert all(filled[index].any() for index in range(8, 25))


def test_a_hole_stays_a_hole():
    truth = ball(14) & ~ball(6)
    filled = fill_between(drawn_at(truth, 11, 16, 21))
    assert not filled[11:22, 24, 30].any()
    assert dice(filled[11:22] > 0, truth[11:22]) >= 0.95


def test_a_shape_that_moves_is_carried_along():
    frames = np.zeros(SHAPE, np.uint8)
    for frame in (0, 10, 20):
        frames[frame] = disc(5, 24, 10 + 2 * frame)
    filled = fill_between(frames)
    for frame in range(21):
        assert dice(filled[frame] > 0, disc(5, 24, 10 + 2 * frame)) >= 0.95


def test_a_thin_line_that_moves_by_parts_of_a_pixel_does_not_vanish():
    frames = np.zeros(SHAPE, np.uint8)
    frames[0, 20, 10:40] = frames[7, 23, 10:40] = 1
    filled = fill_between(frames)
    assert all(filled[frame, :, 25].sum() in (1, 2) for frame in range(8))


def test_of_two_shapes_of_which_one_ends_the_other_stays_in_its_place():
    frames = np.zeros(SHAPE, np.uint8)
    frames[0] = disc(6, 24, 14) | disc(6, 24, 48)
    frames[8] = disc(6, 24, 14)
    filled = fill_between(frames)
    for frame in range(9):
        assert dice(filled[frame, :, :30] > 0, disc(6, 24, 14)[:, :30]) >= 0.95


def test_several_structures_touch_without_overlap_and_leave_what_is_drawn():
    truth = ball(13).astype(np.uint8)
    truth[:, :, 30:] *= 2
    label = drawn_at(truth, 6, 16, 26)
    label[12, 20:24, 30:34] = 7  # of another structure, in a slice between
    filled = fill_between(label)
    assert (filled[12, 20:24, 30:34] == 7).all()
    assert (filled == 7).sum() == 16
    for value in (1, 2):
        assert dice((filled == value)[7:26], (truth == value)[7:26]) >= 0.93
    only = fill_between(label, [2])
    assert drawn_slices(only, 1) == [6, 16, 26]
    assert drawn_slices(only, 2) == list(range(6, 27))


def test_what_was_filled_is_made_anew_from_the_keys():
    truth = ball(12)
    once = fill_between(drawn_at(truth, 6, 26))
    corrected = once.copy()
    corrected[16] = truth[16]
    again = fill_between(corrected, [1], [6, 16, 26])
    assert np.array_equal(again, fill_between(drawn_at(truth, 6, 16, 26)))
    assert not np.array_equal(again[11], once[11])


def test_a_structure_that_fills_the_image_or_leaves_it_keeps_doing_so():
    frames = np.zeros(SHAPE, np.uint8)
    frames[[0, 6]] = 1
    assert fill_between(frames)[:7].all()
    frames = np.zeros(SHAPE, np.uint8)
    frames[0, :, :20] = frames[6, :, :32] = 1
    filled = fill_between(frames)
    for frame in range(7):
        widths = filled[frame].sum(axis=1)
        assert (widths == widths[0]).all() and abs(int(widths[0]) - (20 + 2 * frame)) <= 3


@pytest.mark.parametrize(
    ("label", "values", "keys", "reason"),
    [
        (np.zeros(SHAPE, np.uint8), [], [], "no structure"),
        (drawn_at(ball(5), 16), [], [], "value 1 in 16; draw it in one more"),
        (drawn_at(ball(5), 14, 18), [1, 2], [], "value 2 in none"),
        (drawn_at(ball(5), 14, 18), [1], [14, 15], "slice 15 is none"),
        (np.zeros((4, 4), np.uint8), [], [], "2 axes"),
    ],
)
def test_what_cannot_be_filled_is_refused_with_what_to_do(label, values, keys, reason):
    with pytest.raises(InputError, match=reason):
        fill_between(label, values, keys)
