"""Touching objects come apart, and the foreground stays exactly what it was."""

from __future__ import annotations

import numpy as np
import pytest

from lib.datasets.phantoms import nuclei_phantom
from lib.instances import foreground_mask, separate
from lib.tasks import OutputSpec

SPEC = OutputSpec(instances=True)


def _disc(row: float, column: float, radius: float = 10, shape=(48, 64)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - row, x - column) < radius


def test_two_touching_discs_are_separated():
    mask = _disc(24, 18) | _disc(24, 36)
    labels = separate(mask, SPEC)
    assert labels.max() == 2
    assert labels[24, 18] != labels[24, 36]
    np.testing.assert_array_equal(labels > 0, mask)
    sizes = np.bincount(labels.ravel())[1:]
    assert abs(int(sizes[0]) - int(sizes[1])) <= 20


@pytest.mark.parametrize("depth", [0.3, 0.75, 3.0])
def test_one_disc_stays_one(depth):
    labels = separate(_disc(24, 30), OutputSpec(depth=depth))
    assert labels.max() == 1


def test_a_deeper_saddle_asked_for_keeps_a_peanut_whole():
    mask = _disc(24, 20) | _disc(24, 32)
    assert separate(mask, OutputSpec(depth=0.2)).max() == 2
    assert separate(mask, OutputSpec(depth=8.0)).max() == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_foreground_is_kept_and_numbers_have_no_gaps(seed):
    mask = nuclei_phantom(seed, rows=96, columns=96, nuclei=25)[1] > 0
    labels = separate(mask, SPEC)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels > 0, mask)
    assert np.unique(labels[mask]).tolist() == list(range(1, labels.max() + 1))


def test_nothing_gives_nothing_and_a_full_mask_one_object():
    assert separate(np.zeros((9, 9), bool), SPEC).max() == 0
    assert (separate(np.ones((9, 9), bool), SPEC) == 1).all()
    assert (separate(np.eye(2, dtype=bool), SPEC) > 0).sum() == 2


def test_the_threshold_itself_is_foreground():
    probability = np.array([[0.49, 0.5], [0.51, 0.0]])
    found = foreground_mask(probability, OutputSpec(threshold=0.5))
    assert found.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(("min_area", "kept"), [(0, 3), (4, 3), (5, 2), (10, 1), (400, 0)])
def test_objects_below_the_smallest_area_are_dropped(min_area, kept):
    probability = np.zeros((30, 30))
    probability[1:3, 1:3] = probability[6:9, 6:9] = probability[12:24, 12:24] = 0.9
    mask = foreground_mask(probability, OutputSpec(min_area=min_area))
    assert separate(mask, SPEC).max() == kept
