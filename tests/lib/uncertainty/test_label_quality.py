"""Labels that a model doubts: shifted, emptied, with an object missing, of a wrong class."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lib.data.ignore import IGNORE
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.registry import get_task
from lib.uncertainty.label_quality import class_qualities, mask_quality, softmin

NUCLEI = get_task("nuclei_vhllrhe")
NERVE = get_task("nerve_vhllrhe")


def _sure(label: np.ndarray, rng: np.random.Generator, maps: int = 1) -> np.ndarray:
    """Return what a good model answers: the truth, blurred at outlines, never quite sure."""
    blurred = ndimage.gaussian_filter((label > 0).astype(float), 1.0)
    answer = 0.05 + 0.9 * blurred + rng.normal(0, 0.01, label.shape)
    return np.stack([answer.clip(0, 1)] * maps)


def _quality(task, truth: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> float:
    return mask_quality(task, _sure(truth, rng, len(task.target.answered)), truth, label).quality


def test_shifted_emptied_and_incomplete_labels_rank_before_all_right_ones(rng):
    truths = [nuclei_phantom(seed, rows=96, columns=96, nuclei=8)[1] for seed in range(20)]
    labels = [truth.copy() for truth in truths]
    labels[3] = np.roll(truths[3], 8, axis=0)
    labels[8][:] = 0
    labels[15][truths[15] == 1] = 0
    qualities = [_quality(NUCLEI, *pair, rng) for pair in zip(truths, labels, strict=True)]
    assert set(np.argsort(qualities)[:3]) == {3, 8, 15}
    assert sorted(qualities)[2] < 0.5 < 0.6 < sorted(qualities)[3]


def test_a_missing_object_is_told_where_it_is_and_a_drawn_one_that_is_not_there(rng):
    truth = np.zeros((64, 64), dtype=np.int32)
    truth[5:15, 5:15], truth[40:50, 30:45] = 1, 2
    label = truth.copy()
    label[truth == 2] = 0
    found = mask_quality(NUCLEI, _sure(truth, rng), truth, label)
    assert [(one.source, one.box) for one in found.doubted] == [("seen", ((40, 50), (30, 45)))]
    label = truth.copy()
    label[20:26, 50:56] = 3
    found = mask_quality(NUCLEI, _sure(truth, rng), truth, label)
    assert [(one.source, one.box) for one in found.doubted] == [("drawn", ((20, 26), (50, 56)))]
    assert found.objects == 5


def test_a_label_of_half_a_structure_is_doubted_more_than_a_whole_one(rng):
    truth = np.zeros((64, 64), dtype=np.int32)
    truth[20:40, 10:50] = 1
    half = truth.copy()
    half[:, 30:] = 0
    assert _quality(NERVE, truth, half, rng) < 0.6 < 0.8 < _quality(NERVE, truth, truth, rng)


@pytest.mark.parametrize("task", [NUCLEI, NERVE])
def test_empty_labels_of_empty_images_are_as_good_as_the_model_is_sure(task, rng):
    empty = np.zeros((32, 32), dtype=np.int32)
    drawn = empty.copy()
    drawn[10:20, 10:20] = 1
    assert _quality(task, empty, empty, rng) == pytest.approx(0.95, abs=0.01)
    assert _quality(task, empty, drawn, rng) < 0.1
    assert _quality(task, drawn, empty, rng) < 0.2


def test_of_several_structures_the_probability_of_the_labelled_one_counts():
    from lib.tasks.registry import TASKS
    from lib.uncertainty.label_quality import label_probabilities

    several = next(task for task in TASKS.values() if len(task.target.structures) > 1)
    value = list(several.target.structures.values())[1]
    name = list(several.target.structures)[1]
    label = np.full((4, 4), value)
    maps = np.full((len(several.target.answered), 4, 4), 0.9)
    maps[several.target.answered.index(name)] = 0.2
    assert (label_probabilities(several, maps, label) == 0.2).all()


def test_the_softmin_lies_near_the_least_and_is_it_where_all_are_equal():
    assert softmin(np.array([0.9] * 30 + [0.05])) == pytest.approx(0.06, abs=0.02)
    assert softmin(np.array([0.7, 0.7])) == pytest.approx(0.7)


def test_classes_are_suggested_by_how_sure_the_model_usually_is_of_them():
    answers = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.55, 0.45], [0.95, 0.05]])
    rated = class_qualities([0, 0, 1, 1, 1], answers)
    assert [one.suggested for one in rated] == [None, None, None, None, 0]
    assert [one.quality for one in rated] == pytest.approx([0.9, 0.8, 0.4, 0.45, 0.05])
    assert min(range(5), key=lambda place: rated[place].quality) == 4


def test_what_nobody_labelled_is_not_doubted(rng):
    truth = np.zeros((64, 64), dtype=np.int32)
    truth[5:15, 5:15], truth[40:50, 35:50] = 1, 2
    sure = _sure(truth, rng)
    label = truth.copy()
    label[:, 32:] = IGNORE
    found = mask_quality(NUCLEI, sure, truth, label)
    left = mask_quality(NUCLEI, sure[..., :32], truth[:, :32], truth[:, :32])
    assert (found.quality, found.objects, found.doubted) == (left.quality, 2, ())
    label[:, :32] = 0
    sure[0, :, 32:] = 1  # where nobody can know
    nothing = mask_quality(NUCLEI, sure, np.where(label == IGNORE, truth, 0), label)
    assert nothing.objects == 0
    assert nothing.quality == pytest.approx(1 - sure[0, :, :32].mean())
