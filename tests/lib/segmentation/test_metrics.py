"""Figures equal what a hand computes."""

from __future__ import annotations

import numpy as np
import pytest

from lib.segmentation.metrics import (
    AP_THRESHOLDS,
    average_precision,
    image_scores,
    matched_counts,
    pixel_counts,
    pixel_scores,
)

TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
GUESS = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


def test_pixels_are_counted_by_outcome():
    assert pixel_counts(GUESS, TRUTH) == {"tp": 3, "fp": 1, "fn": 1, "tn": 7}


def test_figures_equal_the_hand_computation():
    scores = pixel_scores(pixel_counts(GUESS, TRUTH))
    wanted = {
        "fg_iou": 3 / 5,
        "bg_iou": 7 / 9,
        "mean_iou": (3 / 5 + 7 / 9) / 2,
        "fg_dice": 6 / 8,
        "accuracy": 10 / 12,
        "precision": 3 / 4,
        "recall": 3 / 4,
    }
    assert {name: float(value) for name, value in scores.items()} == pytest.approx(wanted)


def test_the_thesis_figures_follow_from_its_accuracy_precision_and_recall():
    """VHLLRHe, Tab. 3 gives Tab. 2: "mean IoU" is the mean over the two classes."""
    accuracy, precision, recall = 0.981960, 0.940450, 0.903635
    tp = 1.0
    fp, fn = tp / precision - tp, tp / recall - tp
    tn = (accuracy * (tp + fp + fn) - tp) / (1 - accuracy)
    scale = 1e9  # counts are whole pixels
    scores = pixel_scores({"tp": tp * scale, "fp": fp * scale, "fn": fn * scale, "tn": tn * scale})
    assert scores["fg_iou"] == pytest.approx(0.8547, abs=5e-5)
    assert scores["bg_iou"] == pytest.approx(0.9798, abs=5e-5)
    assert scores["mean_iou"] == pytest.approx(0.9173, abs=1e-4)
    assert scores["accuracy"] == pytest.approx(accuracy)


def test_an_empty_mask_where_nothing_should_be_is_right():
    empty = np.zeros((4, 4))
    assert {float(value) for value in pixel_scores(pixel_counts(empty, empty)).values()} == {1.0}
    objects = matched_counts(empty.astype(int), empty.astype(int))
    assert average_precision(objects) == {"ap50": 1.0, "ap": 1.0}


def test_an_empty_mask_where_something_should_be_is_half_right():
    truth = np.zeros((10, 10))
    truth[0, 0] = 1
    scores = pixel_scores(pixel_counts(np.zeros((10, 10)), truth))
    assert scores["fg_iou"] == 0
    assert scores["bg_iou"] == 0.99
    assert scores["recall"] == 0
    assert scores["precision"] == 1, "nothing was claimed"


def test_counts_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes differ: \(2, 2\) predicted, \(3, 3\) expected"):
        pixel_counts(np.zeros((2, 2)), np.zeros((3, 3)))


def test_scores_of_arrays_of_counts_are_the_scores_of_each():
    many = {
        name: np.array([value, 2 * value]) for name, value in pixel_counts(GUESS, TRUTH).items()
    }
    assert pixel_scores(many)["fg_iou"].tolist() == [0.6, 0.6]


def _objects() -> tuple[np.ndarray, np.ndarray]:
    """Three objects: one found exactly, one at IoU 0.6, one at exactly 0.5; and a false one."""
    truth, guess = np.zeros((4, 20), int), np.zeros((4, 20), int)
    truth[0, 0:5], guess[0, 0:5] = 1, 4
    truth[1, 0:8], guess[1, 2:10] = 2, 3
    truth[2, 0:4], guess[2, 0:2] = 3, 2
    guess[3, 10:14] = 1
    return guess, truth


def test_objects_match_above_iou_half_only():
    guess, truth = _objects()
    counts = matched_counts(guess, truth)
    assert counts["tp"].tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]  # 6/10 is still met at 0.6
    assert (counts["tp"] + counts["fp"]).tolist() == [4] * 10
    assert (counts["tp"] + counts["fn"]).tolist() == [3] * 10
    scores = average_precision(counts)
    assert scores["ap50"] == pytest.approx(2 / 5)
    assert scores["ap"] == pytest.approx((3 * 2 / 5 + 7 * 1 / 6) / 10)
    assert AP_THRESHOLDS[2] == 0.6


def test_one_guess_over_two_objects_counts_once_at_most():
    truth = np.array([[1, 1, 1, 2, 2, 2]])
    counts = matched_counts(np.ones((1, 6), int), truth)
    assert (counts["tp"][0], counts["fp"][0], counts["fn"][0]) == (0, 1, 2)


def test_a_perfect_answer_scores_one_under_any_numbering():
    truth = np.random.default_rng(0).integers(0, 6, (8, 8))
    renumbered = np.array([0, 50, 30, 9, 300, 2])[truth]
    assert average_precision(matched_counts(renumbered, truth)) == {"ap50": 1.0, "ap": 1.0}


def test_volumes_are_counted_like_images():
    rng = np.random.default_rng(0)
    guess, truth = rng.integers(0, 4, (2, 3, 8, 8))
    flat = matched_counts(guess.reshape(24, 8), truth.reshape(24, 8))
    for name, counts in matched_counts(guess, truth).items():
        np.testing.assert_array_equal(counts, flat[name])
    assert pixel_counts(guess, truth) == pixel_counts(guess.reshape(24, 8), truth.reshape(24, 8))


def test_a_target_in_half_precision_is_a_mask_as_any():
    assert pixel_counts(GUESS > 0, TRUTH.astype(np.float16)) == pixel_counts(GUESS, TRUTH)


# found in part, absent and left out, absent and claimed, missed
FOUR = {"tp": np.array([3, 0, 0, 0]), "fp": np.array([1, 0, 5, 0]), "fn": np.array([1, 0, 0, 4])}
SURE = np.array([0.9, 0.2, 0.5, 0.5])


def test_figures_of_often_absent_structures_equal_the_hand_computation():
    scores = {name: float(value) for name, value in image_scores(FOUR, SURE).items()}
    assert scores == {
        "dice_kaggle": (6 / 8 + 1 + 0 + 0) / 4,
        "dice_positive": (6 / 8 + 0) / 2,
        "found": 1 / 2,
        "presence_auc": (1 + 1 + 1 + 1 / 2) / 4,  # of pairs of one with and one without; a tie
    }


def test_without_a_score_of_presence_there_is_no_auc():
    assert set(image_scores(FOUR)) == {"dice_kaggle", "dice_positive", "found"}


@pytest.mark.parametrize(
    ("case", "kaggle", "found"),
    [
        ((0, 0, 0), 1, 1),
        ((0, 1, 0), 0, 1),
        ((0, 0, 1), 0, 0),
        ((0, 9, 1), 0, 1),
        ((5, 0, 0), 1, 1),
        ((1, 1, 1), 0.5, 1),
    ],
)
def test_an_image_alone_is_scored_by_the_convention_of_kaggle(case, kaggle, found):
    counts = {name: np.array([value]) for name, value in zip(("tp", "fp", "fn"), case, strict=True)}
    scores = image_scores(counts)
    assert scores["dice_kaggle"] == kaggle
    assert scores["found"] == found
    assert scores["dice_positive"] == (kaggle if case[0] + case[2] else 1)


def test_the_mask_that_is_always_empty_scores_the_share_of_images_without():
    rng = np.random.default_rng(0)
    size = rng.integers(1, 99, 40) * (rng.random(40) < 0.3)
    scores = image_scores({"tp": 0 * size, "fp": 0 * size, "fn": size})
    assert scores["dice_kaggle"] == (size == 0).mean()
    assert scores["dice_positive"] == scores["found"] == 0


def test_the_presence_auc_of_one_kind_alone_is_one_half():
    absent, present = np.array([0, 0]), np.array([1, 1])
    for counts in ((absent, absent, absent), (absent, absent, present)):
        scores = image_scores(dict(zip(("tp", "fp", "fn"), counts, strict=True)), SURE[:2])
        assert scores["presence_auc"] == 0.5


def test_an_image_of_weight_two_counts_as_two_images():
    weights, drawn = np.array([[1, 1, 1, 1], [2, 0, 1, 1]]), [0, 0, 2, 3]
    scores = image_scores(FOUR, SURE, weights)
    once = image_scores(FOUR, SURE)
    twice = image_scores({name: count[drawn] for name, count in FOUR.items()}, SURE[drawn])
    for name, values in scores.items():
        assert values == pytest.approx([float(once[name]), float(twice[name])])
