"""What nobody labelled: neither structure nor background, in targets and in drawn patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawing_samples import draw_patch

from lib.data.ignore import IGNORE, UNKNOWN, labelled_objects, split_ignored
from lib.data.targets import as_instances, make_target
from lib.errors import InputError
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.image_spec import AugmentSpec, TargetSpec

EVERY_MAP = TargetSpec(maps=("foreground", "border", "distance", "label_1", "presence"), gap=1)


def _label(seed: int = 0) -> np.ndarray:
    return nuclei_phantom(seed, rows=64, columns=64, nuclei=9)[1].astype(np.int32)


def _right_ignored(label: np.ndarray) -> np.ndarray:
    partly = label.copy()
    partly[..., label.shape[-1] // 2 :] = IGNORE
    return partly


def test_what_is_ignored_becomes_background_and_the_rest_is_told():
    label, labelled = split_ignored(np.array([[0, 1, IGNORE], [2, IGNORE, 0]]))
    np.testing.assert_array_equal(label, [[0, 1, 0], [2, 0, 0]])
    np.testing.assert_array_equal(labelled, [[1, 1, 0], [1, 0, 1]])


def test_a_label_that_says_nothing_is_refused():
    with pytest.raises(InputError, match=r"a\.png: everything is marked 'ignore', expected some"):
        split_ignored(np.full((3, 3), IGNORE), "a.png")


def test_objects_mostly_within_what_is_ignored_leave_and_others_are_cut():
    objects = np.array([[1, 1, 1, 0, 2, 2, 2, 3]])
    labelled = np.array([[1, 1, 0, 0, 0, 0, 1, 0]], bool)
    np.testing.assert_array_equal(labelled_objects(objects, labelled), [[1, 1, 0, 0, 0, 0, 0, 0]])
    assert labelled_objects(objects, np.ones_like(labelled)) is objects


def test_ignore_is_no_object_and_a_mask_beside_it_is_still_a_mask():
    mask = np.zeros((6, 12), np.int32)
    mask[1:3, 1:3], mask[4:, 4:6], mask[:, 8:] = 255, 255, IGNORE
    assert set(np.unique(as_instances(mask))) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(6))
def test_what_a_target_knows_is_the_same_whatever_is_hidden(seed):
    label = _label(seed)
    found = make_target(_right_ignored(label), EVERY_MAP)
    assert (found[:, :, 32:] == UNKNOWN).all()
    rest = label.copy()
    rest[:, 32:] = _label(seed + 10)[:, 32:] * 100
    for truth in (make_target(label, EVERY_MAP), make_target(rest, EVERY_MAP)):
        known = found != UNKNOWN
        np.testing.assert_array_equal(found[known], truth[known])
        assert known[:, :, :28].mean() > 0.9


def test_maps_that_weight_the_loss_are_numbers_everywhere():
    target = make_target(_right_ignored(_label()), TargetSpec(("foreground", "border_weight")))
    assert (target[1] >= 1).all()
    assert (target[0, :, 32:] == UNKNOWN).all()


def test_binary_targets_stay_small():
    assert make_target(_right_ignored(_label()), TargetSpec()).dtype == np.int8
    assert make_target(_label(), TargetSpec()).dtype == np.uint8


def test_presence_is_unknown_where_nothing_was_found_and_something_is_hidden():
    spec = TargetSpec(("foreground", "presence"))
    nothing = np.zeros((8, 8), np.int32)
    assert (make_target(nothing, spec)[1] == 0).all()
    assert (make_target(_right_ignored(nothing), spec)[1] == UNKNOWN).all()
    nothing[2, 2] = 1
    assert (make_target(_right_ignored(nothing), spec)[1, :, :4] == 1).all()


BENT = AugmentSpec(rotate90=True, rotate=30, zoom=(0.7, 1.4), elastic=2)


@pytest.mark.parametrize("shape", [(64, 64), (12, 40, 40)])
@pytest.mark.parametrize("seed", range(8))
def test_a_drawn_patch_moves_what_is_unknown_with_the_image(shape, seed):
    """The image shows what is ignored: so the patch shows where it should be unknown."""
    label = np.zeros(shape, np.int32)
    label[..., 5:25, 10:30] = 1
    label[..., 10:20, 20:45] = IGNORE
    image = (label == IGNORE)[np.newaxis].astype(np.float32)
    target, maps = make_target(label, TargetSpec(("foreground", "distance"))), ("foreground",)
    patch, truth = draw_patch(image, target, 16, BENT, np.random.default_rng(seed), maps)
    np.testing.assert_array_equal(truth[0] == UNKNOWN, patch[0] > 0.5)
    assert set(np.unique(truth[0])) <= {UNKNOWN, 0, 1}
    assert ((truth[1] == UNKNOWN) | ((truth[1] >= 0) & (truth[1] <= 1))).all()


@pytest.mark.parametrize("seed", range(8))
def test_what_a_patch_knows_is_what_the_whole_label_says(seed):
    label, image = _label(seed), np.zeros((1, 64, 64), np.float32)
    striped = np.where(np.arange(64) % 32 < 16, label, IGNORE)
    both = np.concatenate([make_target(each, TargetSpec()) for each in (striped, label)])
    spec, rng = replace(BENT, dilate=0.5), np.random.default_rng(seed)
    partly, whole = draw_patch(image, both, 64, spec, rng, ("foreground", "label_1"))[1]
    known = partly != UNKNOWN
    assert 0.3 < known.mean() < 0.8
    assert (partly == whole)[known].mean() > 0.99  # linear and nearest differ beside the stripes


def test_patches_of_a_partly_labelled_image_show_what_was_labelled():
    label = np.full((200, 200), IGNORE, np.int32)
    label[90:110, 20:40] = 0
    target, rng = make_target(label, TargetSpec()), np.random.default_rng(0)
    for _ in range(20):
        _, truth = draw_patch(np.zeros((1, 200, 200), np.float32), target, 32, AugmentSpec(), rng)
        assert (truth == 0).any()


def test_the_presence_of_a_patch_is_told_only_where_it_is_known():
    maps, label = ("foreground", "presence"), np.zeros((64, 64), np.int32)
    label[:, 40:] = IGNORE
    label[20:24, 4:8] = 1
    target, image = make_target(label, TargetSpec(maps)), np.zeros((1, 64, 64), np.float32)
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        _, truth = draw_patch(image, target, 16, AugmentSpec(flips=False), rng, maps)
        known = truth[1][truth[0] != UNKNOWN]
        expected = 1 if (truth[0] == 1).any() else UNKNOWN if (truth[0] == UNKNOWN).any() else 0
        assert (known == expected).all()
        assert (truth[1][truth[0] == UNKNOWN] == UNKNOWN).all()
        seen.add(expected)
    assert seen == {UNKNOWN, 0, 1}
