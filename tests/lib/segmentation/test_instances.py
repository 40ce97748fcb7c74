"""Touching objects come apart, and the foreground stays exactly what it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lib.data.targets import distance, foreground
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation.instances import _tops, foreground_mask, largest, separate
from lib.segmentation.metrics import average_precision, matched_counts
from lib.tasks.image_spec import OutputSpec, TargetSpec

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


BY_DISTANCE = OutputSpec(instances=True, separation="distance", depth=0.1)
COMPONENTS = OutputSpec(instances=True, separation="components")
SEPARATIONS = pytest.mark.parametrize(
    "spec", [SPEC, BY_DISTANCE, COMPONENTS], ids=lambda spec: spec.separation
)


def _agreement(labels: np.ndarray, truth: np.ndarray) -> float:
    return float(average_precision(matched_counts(labels, truth))["ap"])


def _pair_of_balls(shape: tuple[int, ...]) -> np.ndarray:
    """Return two touching balls of different size, numbered."""
    middle = [side / 2 for side in shape[:-1]]
    grid = np.indices(shape)
    away = [
        np.sqrt(sum((g - m) ** 2 for g, m in zip(grid, [*middle, at], strict=True)))
        for at in (14, 29)
    ]
    return np.where(away[0] < 10, 1, np.where(away[1] < 7, 2, 0)).astype(np.int32)


@pytest.mark.parametrize("shape", [(28, 44), (24, 26, 44)])
def test_touching_balls_come_apart_by_their_distance_map(shape):
    truth = _pair_of_balls(shape)
    labels = separate(truth > 0, BY_DISTANCE, distance(truth, TargetSpec()))
    assert labels.dtype == np.int32
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, truth > 0)
    assert _agreement(labels, truth) > 0.9


def test_touching_balls_in_a_volume_come_apart_by_their_shape():
    truth = _pair_of_balls((24, 26, 44))
    labels = separate(truth > 0, SPEC)
    assert labels.max() == 2
    assert _agreement(labels, truth) > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_nuclei_come_apart_by_their_true_distance_map(seed):
    truth = nuclei_phantom(seed, rows=128, columns=128, nuclei=40)[1].astype(np.int32)
    labels = separate(truth > 0, BY_DISTANCE, distance(truth, TargetSpec()))
    assert _agreement(labels, truth) > 0.8


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_any_distance_map_keeps_the_foreground_and_numbers_without_gaps(seed, smoothing):
    rng = np.random.default_rng(seed)
    mask = nuclei_phantom(seed, rows=96, columns=96, nuclei=25)[1] > 0
    spec = replace(BY_DISTANCE, smoothing=smoothing)
    for height in (rng.random(mask.shape), np.zeros(mask.shape), np.ones(mask.shape)):
        labels = separate(mask, spec, height.astype(np.float32))
        np.testing.assert_array_equal(labels > 0, mask)
        assert np.unique(labels[mask]).tolist() == list(range(1, labels.max() + 1))


def test_a_component_without_a_seed_stays_one_object():
    mask = _disc(24, 14) | _disc(24, 46)
    height = np.where(_disc(24, 14), 0.9, 0.29).astype(np.float32)
    height[24, 40] = height[24, 52] = 0.295  # two tops, both too low
    labels = separate(mask, replace(BY_DISTANCE, smoothing=0.0), height)
    assert labels.max() == 2
    assert len(np.unique(labels[_disc(24, 46)])) == 1


def test_a_seed_counts_from_its_threshold_on_and_only_if_it_rises_by_the_depth():
    mask = np.ones((9, 40), bool)
    height = np.full(mask.shape, 0.2, np.float32)
    height[4, 10], height[4, 30] = 0.9, 0.5
    spec = replace(BY_DISTANCE, smoothing=0.0)
    assert separate(mask, spec, height).max() == 2
    assert separate(mask, replace(spec, seed_threshold=0.6), height).max() == 1
    assert separate(mask, replace(spec, depth=0.35), height).max() == 1


def test_separation_by_distance_without_its_map_is_refused():
    with pytest.raises(ValueError, match="needs the answered distance map"):
        separate(np.ones((9, 9), bool), BY_DISTANCE)


@SEPARATIONS
@pytest.mark.parametrize("shape", [(9, 9), (5, 9, 9)])
def test_nothing_gives_nothing_however_it_is_separated(spec, shape):
    empty = np.zeros(shape, bool)
    for gap in (0, 1):
        labels = separate(empty, replace(spec, gap=gap), empty.astype(np.float32))
        assert labels.shape == shape
        assert labels.dtype == np.int32
        assert not labels.any()
    full = separate(~empty, spec, np.ones(shape, np.float32))
    assert (full == 1).all()


@SEPARATIONS
@pytest.mark.parametrize("gap", [0, 1])
def test_thousands_of_objects_are_separated_in_seconds(spec, gap, timed):
    block = _disc(10, 8, 8, (20, 32)) | _disc(10, 22, 8, (20, 32))
    mask = np.tile(block, (50, 20))  # 1000 pairs
    height = ndimage.distance_transform_edt(mask).astype(np.float32) / 8
    with timed(2):
        labels = separate(mask, replace(spec, gap=gap), height)
    assert labels.max() == (1000 if spec is COMPONENTS else 2000)


def test_components_are_what_is_connected_diagonals_included():
    mask = np.eye(6, dtype=bool)
    mask[0, 4:] = True
    assert separate(mask, COMPONENTS).max() == 2


@pytest.mark.parametrize("gap", [1, 2, 3])
@pytest.mark.parametrize("shape", [(28, 44), (24, 26, 44)])
def test_the_gap_between_balls_that_were_eroded_apart_is_filled_again(shape, gap):
    truth = _pair_of_balls(shape)
    eroded = foreground(truth, TargetSpec(gap=gap))
    assert separate(eroded, COMPONENTS).max() == 2
    labels = separate(eroded, replace(COMPONENTS, gap=gap))
    assert labels.max() == 2
    missing = (truth > 0) & ~eroded
    assert (labels[missing] > 0).mean() > 0.95
    gained = (truth == 0) & (labels > 0)
    near = [ndimage.binary_dilation(truth == value, None, 2 * gap + 1) for value in (1, 2)]
    assert not (gained & ~(near[0] & near[1])).any(), "other borders stay"
    assert _agreement(labels, truth) > 0.9


@pytest.mark.parametrize("gap", [1, 2])
def test_a_straight_border_grows_back_exactly(gap):
    truth = np.zeros((30, 40), np.int32)
    truth[5:25, 4:20], truth[5:25, 20:36] = 1, 2
    eroded = foreground(truth, TargetSpec(gap=gap))
    labels = separate(eroded, replace(COMPONENTS, gap=gap))
    np.testing.assert_array_equal(labels[5 + gap : 25 - gap], truth[5 + gap : 25 - gap])
    assert not labels[truth == 0].any()


@pytest.mark.parametrize("seed", range(4))
def test_eroding_and_growing_back_returns_nuclei(seed):
    truth = nuclei_phantom(seed, rows=128, columns=128, nuclei=40)[1].astype(np.int32)
    eroded = foreground(truth, TargetSpec(gap=1))
    labels = separate(eroded, replace(COMPONENTS, gap=1))
    missing = (truth > 0) & ~eroded
    assert missing.any()
    assert (labels[missing] > 0).mean() > 0.75
    assert (labels[eroded] > 0).all()
    assert _agreement(labels, truth) > 0.9


def test_objects_far_from_each_other_do_not_grow():
    mask = _disc(24, 14, 8) | _disc(24, 46, 8)
    for spec in (COMPONENTS, SPEC):
        np.testing.assert_array_equal(separate(mask, replace(spec, gap=2)) > 0, mask)


def test_shape_and_distance_grow_back_too():
    truth = _pair_of_balls((28, 44))
    eroded = foreground(truth, TargetSpec(gap=1))
    depth = distance(truth, TargetSpec())
    for spec in (SPEC, BY_DISTANCE):
        labels = separate(eroded, replace(spec, gap=1), depth)
        assert (labels > 0).sum() > eroded.sum()
        assert _agreement(labels, truth) > 0.9


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
def test_the_largest_object_is_kept_whole_and_no_other(shape):
    mask, wanted = np.zeros(shape, bool), np.zeros(shape, bool)
    wanted[..., 2:8, 2:9] = True
    mask[..., 12:15, 20:29] = mask[..., 18, 1] = True
    found = largest(mask | wanted)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(largest(wanted), wanted)


def test_objects_whose_corners_touch_are_one():
    mask = np.eye(6, dtype=bool)
    mask[0, 3:6] = mask[1, 5] = True  # four pixels apart from the six of the diagonal
    np.testing.assert_array_equal(largest(mask), np.eye(6, dtype=bool))


def test_of_nothing_the_largest_is_nothing_and_of_all_it_is_all():
    for mask in (np.zeros((6, 7), bool), np.ones((6, 7), bool)):
        np.testing.assert_array_equal(largest(mask), mask)


def test_of_two_equally_large_objects_one_is_kept():
    mask = np.zeros((9, 9), bool)
    mask[1:3, 1:3] = mask[6:8, 6:8] = True
    assert largest(mask).sum() == 4


@pytest.mark.parametrize(("keep", "kept"), [("all", 4 + 25), ("largest", 25)])
def test_objects_are_kept_as_the_spec_says(keep, kept):
    probability = np.zeros((20, 20))
    probability[1:3, 1:3], probability[10:15, 10:15] = 0.99, 0.6
    assert foreground_mask(probability, OutputSpec(keep=keep)).sum() == kept


def test_the_largest_object_goes_too_where_it_is_below_the_smallest_area():
    probability = np.zeros((20, 20))
    probability[10:15, 10:15] = 0.6
    assert foreground_mask(probability, OutputSpec(keep="largest", min_area=25)).sum() == 25
    assert not foreground_mask(probability, OutputSpec(keep="largest", min_area=26)).any()


@pytest.mark.parametrize("shape", [(30, 40), (7, 30, 40)])
def test_blurred_probabilities_lose_their_specks_and_holes_and_keep_their_place(shape):
    truth = np.zeros(shape, bool)
    truth[..., 8:22, 10:30] = True
    probability = np.where(truth, 0.9, 0.1)
    probability[..., 15, 20], probability[..., 3, 3] = 0.0, 1.0
    before = probability.copy()
    sharp = foreground_mask(probability, OutputSpec())
    smooth = foreground_mask(probability, OutputSpec(blur=1.5))
    assert sharp[..., 3, 3].all() and not sharp[..., 15, 20].any()
    assert smooth[..., 15, 20].all() and not smooth[..., 3, 3].any()
    assert (smooth != truth).mean() < 0.01  # the corners are rounded
    np.testing.assert_array_equal(probability, before, "the answer itself stays")


def test_presence_gates_each_frame_from_its_threshold_on():
    probability = np.full((4, 6, 6), 0.9)
    presence = np.broadcast_to(np.array([0.2, 0.5, 0.49, 1.0]).reshape(4, 1, 1), (4, 6, 6))
    spec = OutputSpec(presence_threshold=0.5)
    assert foreground_mask(probability, spec, presence).any((1, 2)).tolist() == [0, 1, 0, 1]
    assert foreground_mask(probability, spec).all(), "without an answer nothing is gated"
    assert foreground_mask(probability, OutputSpec(), presence).all(), "0 is off"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (17, 23), (5, 6, 7)])
def test_tops_are_the_maxima_of_each_object_by_itself(shape):
    random = np.random.default_rng(0)
    height = random.integers(1, 9, shape).astype(np.float32)
    labels, count = ndimage.label(random.random(shape) < 0.7)
    height[labels == 0] = 0
    expected = np.zeros(shape, bool)
    for number in range(1, count + 1):
        inside = np.where(labels == number, height, 0)
        expected |= (inside == ndimage.maximum_filter(inside, size=3)) & (labels == number)
    np.testing.assert_array_equal(_tops(height, labels, 0.0), expected)
    np.testing.assert_array_equal(_tops(height, labels, 5.0), expected & (height >= 5))
