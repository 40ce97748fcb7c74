"""Ranges of frames that hold a structure: their form, and what nobody outlined is no background."""

from __future__ import annotations

import numpy as np
import pytest

from lib.data.frame_ranges import leave_unoutlined, read_frame_ranges
from lib.data.ignore import IGNORE
from lib.errors import InputError


def test_ranges_are_sorted_and_joined_where_they_touch():
    found = read_frame_ranges({"nerve": [[7, 9], [1, 2], [3, 4]], "vessel": []}, 9)
    assert found == {"nerve": [[1, 4], [7, 9]]}


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2]],
        {"nerve": [1, 2]},
        {"nerve": "12"},
        {"nerve": [[2, 1]]},
        {"nerve": [[0, 3]]},
        {"nerve": [[1, True]]},
        {"nerve": [[1, 2.5]]},
        {"nerve": [[4, 10]]},
        {"": [[1, 2]]},
        {"n" * 65: [[1, 2]]},
    ],
)
def test_another_form_or_frames_that_there_are_not_are_refused(value):
    with pytest.raises(InputError, match="frames"):
        read_frame_ranges(value, 9)


def test_background_is_ignored_where_a_structure_is_said_to_be_and_not_outlined():
    label = np.zeros((4, 2, 3), np.uint8)
    label[1, 0] = 1  # nerve, outlined in its range
    label[2, 1] = 2  # vessel, in a frame where the nerve was not outlined
    found = leave_unoutlined(label, {"nerve": [1], "vessel": [2]}, {"nerve": [[2, 3]]})
    assert np.array_equal(found[[0, 1, 3]], label[[0, 1, 3]])
    assert (found[2, 0] == IGNORE).all() and (found[2, 1] == 2).all()
    assert not (label == IGNORE).any()
