"""One label image of several readers, and how far two agree."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from lib.data.ignore import IGNORE
from lib.errors import InputError
from lib.segmentation.agreement import compare_masks
from lib.segmentation.consensus import consensus


def box(*sides: slice, value: int = 1, shape: tuple[int, ...] = (40, 40)) -> np.ndarray:
    label = np.zeros(shape, np.int32)
    label[sides] = value
    return label


ONE = box(slice(5, 25), slice(5, 25))
OTHER = box(slice(7, 29), slice(7, 29))
MIDDLE = box(slice(6, 26), slice(6, 26))
EMPTY = np.zeros((40, 40), np.int32)


def test_of_two_readers_it_is_what_both_drew_whoever_comes_first():
    both = (ONE > 0) & (OTHER > 0)
    for labels in ([ONE, OTHER], [OTHER, ONE], [ONE * 7, OTHER * 9]):
        assert np.array_equal(consensus(labels, True), both)


def test_of_three_readers_the_outlier_is_outvoted():
    assert np.array_equal(consensus([MIDDLE, EMPTY, MIDDLE], True), MIDDLE)
    found = consensus([ONE, OTHER, MIDDLE], True)
    two = ONE + OTHER + MIDDLE >= 2
    assert (found[two] == 1).mean() > 0.9 and (found[~two] == 0).mean() > 0.99


@pytest.mark.parametrize(
    "labels",
    [[EMPTY, EMPTY], [EMPTY + 1, EMPTY + 1], [ONE], [MIDDLE, MIDDLE, MIDDLE], [EMPTY, ONE]],
    ids=["all empty", "all full", "one reader", "all the same", "empty or not"],
)
def test_extremes_have_a_consensus(labels):
    found = consensus(labels, True)
    expected = labels[0] if all(np.array_equal(labels[0], label) for label in labels) else EMPTY
    assert np.array_equal(found, expected)


def test_touching_objects_stay_apart_and_numbers_need_not_match():
    one = box(slice(5, 15), slice(5, 12), value=3) + box(slice(5, 15), slice(12, 20), value=8)
    other = box(slice(5, 15), slice(5, 13), value=8) + box(slice(5, 15), slice(13, 20), value=1)
    other[30:34, 30:34] = 5
    found = consensus([one, other, one], True)
    assert len(np.unique(found)) == 3
    assert np.array_equal(found > 0, one > 0)
    left, right = found[10, 6], found[10, 18]
    assert (
        left != right and (found[5:15, 5:12] == left).all() and (found[5:15, 13:20] == right).all()
    )


def test_an_object_that_the_chosen_reader_lacks_is_one_of_its_own():
    far = box(slice(30, 36), slice(30, 36), value=4)
    two = box(slice(2, 9), slice(2, 9), value=1) + box(slice(12, 20), slice(2, 9), value=2)
    found = consensus([two, two + far, far, two + far], True)
    assert found[33, 33] not in (0, found[5, 5], found[15, 5])
    assert len(np.unique(found)) == 4


def test_of_several_structures_the_most_votes_win_and_a_tie_is_left_out():
    one, two = box(slice(0, 20)), box(slice(10, 30), value=2)
    votes = np.stack([one, two, np.where(two > 0, two, one)])
    found = consensus(list(votes), False)
    assert (found[:10] == 1).all() and (found[10:30] == 2).all() and (found[30:] == 0).all()
    tie = consensus([one, two], False)
    assert (tie[:30] == IGNORE).all() and (tie[30:] == 0).all()
    volume = consensus([np.stack([one, two]), np.stack([one, one])], False)
    assert np.array_equal(volume[0], one) and (volume[1, 12] == IGNORE).all()


def test_what_a_reader_left_unlabelled_stays_so():
    partly = MIDDLE.copy()
    partly[:8] = IGNORE
    for one_structure in (True, False):
        found = consensus([partly, MIDDLE, MIDDLE], one_structure)
        assert (found[:8] == IGNORE).all() and np.array_equal(found[8:], MIDDLE[8:])


def test_large_values_and_many_objects_are_no_trouble():
    rng = np.random.default_rng(1)
    numbers = np.kron(rng.permutation(100).reshape(10, 10) * 600 + 1, np.ones((4, 4), int))
    label = np.where(
        np.kron(np.ones((10, 10), int), np.pad(np.ones((3, 3), int), (0, 1))), numbers, 0
    )
    found = consensus([label, np.where(label > 0, label + 1, 0), label], True)
    assert np.array_equal(found, label)


def test_figures_of_two_readers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 4, (30, 30))
    other = np.where(rng.random((30, 30)) < 0.7, one, rng.integers(0, 4, (30, 30)))
    found = compare_masks(one, other, {"a": 1, "b": 2, "c": 3})
    assert found["kappa"] == pytest.approx(cohen_kappa_score(one.ravel(), other.ravel()))
    assert list(found["dice"]) == ["a", "b", "c"]
    both = ((one == 2) & (other == 2)).sum()
    assert found["dice"]["b"] == pytest.approx(2 * both / ((one == 2).sum() + (other == 2).sum()))
    assert compare_masks(one, other)["kappa"] == pytest.approx(found["kappa"])
    assert list(compare_masks(one, other)["dice"]) == ["foreground", "1", "2", "3"]
    single = compare_masks(one, other, {"nuclei": 1})
    assert list(single["dice"]) == ["nuclei"]
    assert single["kappa"] == pytest.approx(cohen_kappa_score(one.ravel() > 0, other.ravel() > 0))


def test_what_is_the_same_agrees_and_what_is_unlabelled_is_left_out():
    assert compare_masks(ONE, ONE) == {"dice": {"foreground": 1.0, "1": 1.0}, "kappa": 1.0}
    assert compare_masks(EMPTY, EMPTY) == {"dice": {"foreground": 1.0}, "kappa": None}
    partly = ONE.copy()
    partly[:20] = IGNORE
    assert compare_masks(partly, ONE)["dice"]["foreground"] == 1.0
    numbered = np.arange(1600).reshape(40, 40)
    assert list(compare_masks(numbered, numbered)["dice"]) == ["foreground"]


def test_labels_of_different_sizes_are_refused():
    with pytest.raises(InputError, match="40 x 40 and 30 x 40"):
        compare_masks(ONE, ONE[:, :30])
