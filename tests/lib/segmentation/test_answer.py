"""The label image of an answer, and that its names are exactly its values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lib.data.targets import as_instances
from lib.errors import InputError
from lib.segmentation.answer import INSTANCES, MASK, MAX_NAMED, label_image, label_names
from lib.segmentation.instances import renumbered, with_gaps
from lib.segmentation.predictor import Prediction
from lib.tasks.registry import TASKS

TOUCHING = np.array(
    [
        [1, 1, 1, 2, 2, 2],
        [1, 1, 1, 2, 2, 2],
        [1, 1, 1, 3, 3, 3],
        [0, 0, 0, 3, 3, 3],
    ],
    np.int32,
)


def _prediction(objects: np.ndarray | None, mask: np.ndarray | None = None) -> Prediction:
    if mask is None:
        assert objects is not None
        mask = (objects > 0).astype(np.uint8)
    return Prediction(
        probabilities=mask[np.newaxis].astype(np.float32), mask=mask, instances=objects
    )


def _crowd(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw objects that cover the image and touch all around."""
    seeds = np.zeros(shape, np.int32)
    places = rng.choice(seeds.size, 12, replace=False)
    seeds.ravel()[places] = np.arange(1, 13)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)[1]
    return seeds[tuple(nearest)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(40, 50), (8, 24, 30)])
def test_a_mask_keeps_objects_apart_and_loses_none(seed, shape):
    objects = _crowd(np.random.default_rng(seed), shape)
    mask = label_image(_prediction(objects), MASK)
    assert np.array_equal(np.unique(mask), [0, 1])
    again = as_instances(mask)
    of_each = [np.unique(objects[again == number]) for number in range(1, again.max() + 1)]
    assert {len(numbers) for numbers in of_each} == {1}
    assert {int(numbers[0]) for numbers in of_each} == set(range(1, 13))
    assert (objects == _crowd(np.random.default_rng(seed), shape)).all(), "changed in place"


def test_a_small_object_among_others_stays_and_those_give_way():
    objects = np.full((9, 9), 2, np.int32)
    objects[4, 4] = 1
    assert as_instances(label_image(_prediction(objects), MASK)).max() == 2
    assert with_gaps(objects)[4, 4] == 1


def test_objects_of_neighbouring_frames_do_not_touch():
    loop = np.zeros((3, 8, 8), np.int32)
    for frame in range(3):
        loop[frame, 2:6, 2:6] = frame + 1
    mask = label_image(_prediction(loop), MASK, over_time=True)
    assert np.array_equal(mask > 0, loop > 0)


def test_objects_that_are_asked_for_keep_every_pixel_and_are_named_by_number():
    task, prediction = TASKS["nuclei"], _prediction(TOUCHING)
    assert label_image(prediction, INSTANCES) is TOUCHING
    names = label_names(task, prediction, INSTANCES)
    assert names == {"nuclei 1": 1, "nuclei 2": 2, "nuclei 3": 3}
    assert list(names.values()) == sorted(names.values())
    assert label_names(task, prediction, MASK) == {"nuclei": 1}
    assert label_names(task, _prediction(TOUCHING * 0), INSTANCES) == {}


def test_structures_are_named_in_the_order_of_their_values():
    task = replace(TASKS["ultrasound3d_structures"], labels={"cyst": 2, "gland": 1})
    prediction = _prediction(None, np.zeros((2, 3, 4), np.uint8))
    assert list(label_names(task, prediction, MASK).items()) == [("gland", 1), ("cyst", 2)]
    assert label_image(prediction, INSTANCES) is prediction.mask


def test_more_objects_than_can_be_named_are_refused_and_their_mask_is_not():
    crowd = np.array([[0, MAX_NAMED + 1]], np.int32)
    with pytest.raises(
        InputError, match=r"65536 objects .* at most 65535 .* ask for result 'mask'"
    ):
        label_names(TASKS["nuclei"], _prediction(crowd), INSTANCES)
    assert label_names(TASKS["nuclei"], _prediction(crowd), MASK) == {"nuclei": 1}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_viewers_show_every_value_of_every_segmentation_task(task):
    """A viewer draws the n-th label of a task as the value n."""
    if task.exam is None:
        assert sorted(task.labels.values()) == list(range(1, len(task.labels) + 1))
        assert not task.output.instances or len(task.labels) == 1


def test_numbers_that_are_missing_are_closed():
    assert renumbered(np.array([[0, 3], [7, 3]], np.int32)).tolist() == [[0, 1], [2, 1]]
    assert renumbered(np.zeros((2, 2), np.int32)).max() == 0
    assert renumbered(TOUCHING) is TOUCHING
