"""Bent, turned and magnified patches of images and volumes stay aligned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawing_samples import draw_patch
from scipy import ndimage

from lib.data.targets import make_target
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.image_spec import AugmentSpec, TargetSpec

PLAIN = AugmentSpec(flips=False)
BENT = AugmentSpec(rotate90=True, rotate=30.0, zoom=(0.8, 1.25), elastic=3.0)
ALL = replace(BENT, dilate=0.5, blur=1.0, gamma=1.4, noise=0.04)
SHAPES = pytest.mark.parametrize(
    ("shape", "size"), [((48, 64), (32, 32)), ((48, 64), (24, 40)), ((10, 30, 36), (8, 16, 24))]
)


def _places(*shape: int) -> np.ndarray:
    """Return an image whose channels are the coordinates of its own pixels."""
    return np.indices(shape).astype(np.float32)


def _cut(image: np.ndarray, size, spec: AugmentSpec, seed: int = 0, **more) -> np.ndarray:
    target = np.zeros((1, *image.shape[1:]), np.uint8)
    return draw_patch(image, target, size, spec, np.random.default_rng(seed), **more)[0]


def _central(image: np.ndarray, size, spec: AugmentSpec, seed: int = 0) -> np.ndarray:
    """Cut a patch about the middle of the image."""
    target = np.zeros((1, *image.shape[1:]), np.uint8)
    target[(0, *(side // 2 for side in image.shape[1:]))] = 1
    return draw_patch(image, target, size, spec, np.random.default_rng(seed), foreground_share=1.0)[
        0
    ]


@SHAPES
@pytest.mark.parametrize("spec", [PLAIN, AugmentSpec(), BENT, ALL])
def test_patches_of_images_and_volumes_have_their_size_and_repeat(shape, size, spec):
    image = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    target = (image > 0.5).astype(np.uint8)
    before = image.copy(), target.copy()
    one, again, other = (
        draw_patch(image, target, size, spec, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    for patch in one:
        assert patch.shape == (1, *size)
        assert patch.dtype == np.float32
        assert patch.flags.c_contiguous
    assert set(np.unique(one[1])) <= {0, 1}
    assert 0 <= one[0].min() <= one[0].max() <= 1 + 1e-6
    for part, same, different in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(part, same)
        assert not np.array_equal(part, different)
    np.testing.assert_array_equal(image, before[0], "the cached case is not changed")
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize(
    ("shape", "size"), [((20, 30), (16, 16)), ((20, 30), (4, 6)), ((9, 12, 14), (4, 8, 6))]
)
def test_without_augmentation_a_patch_is_a_piece_of_the_image(shape, size):
    places = _places(*shape)
    starts = set()
    for seed in range(60):
        patch = _cut(places, size, PLAIN, seed)
        start = tuple(int(channel.min()) for channel in patch)
        starts.add(start)
        index = tuple(slice(at, at + side) for at, side in zip(start, size, strict=True))
        np.testing.assert_array_equal(patch, places[(slice(None), *index)])
    for axis in range(len(shape)):
        assert len({start[axis] for start in starts}) > 3


def test_a_patch_as_large_as_the_image_is_the_image():
    places = _places(6, 16, 20)
    np.testing.assert_array_equal(_cut(places, (6, 16, 20), PLAIN), places)


@SHAPES
@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(rotate=30.0),
        AugmentSpec(elastic=3.0),
        AugmentSpec(dilate=1.0),
        BENT,
        replace(BENT, dilate=0.5),
    ],
    ids=["rotate", "elastic", "dilate", "geometry", "all"],
)
def test_bent_images_and_masks_stay_aligned(shape, size, spec):
    target = np.zeros((1, *shape), np.uint8)
    target[..., 5:21, 8:30] = 1
    target[..., shape[-2] // 2 :, shape[-1] // 2 :] = 1
    image = target.astype(np.float32)
    seen = []
    for seed in range(10):
        patch, truth = draw_patch(image, target, size, spec, np.random.default_rng(seed))
        assert set(np.unique(truth)) <= {0, 1}
        assert (np.abs(patch - truth) <= 0.5 + 1e-6).all(), "the image is the target itself"
        seen.append(truth.mean())
    assert 0 < np.mean(seen) < 1


def test_an_image_coloured_by_its_labels_stays_aligned_with_all_maps():
    label = nuclei_phantom(4, rows=96, columns=96, nuclei=12)[1].astype(np.int32)
    spec = TargetSpec(maps=("foreground", "border", "distance", "border_weight"))
    target = make_target(label, spec)
    colours = np.stack((label > 0, target[2], target[3])).astype(np.float32)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        patch, truth = draw_patch(colours, target, 64, BENT, rng, spec.maps)
        assert truth.shape == (4, 64, 64)
        assert set(np.unique(truth[:2])) <= {0, 1}, "binary maps stay binary"
        np.testing.assert_array_equal(patch[0] >= 0.5, truth[0] > 0)
        np.testing.assert_allclose(patch[1:], truth[2:], atol=1e-5)
        assert len(np.unique(truth[2])) > 100, "the distance is interpolated"


@pytest.mark.parametrize("shape", [(60, 70), (20, 24, 30)])
def test_patches_centred_on_foreground_hold_it_in_their_middle(shape):
    size = (8,) * len(shape)
    rng = np.random.default_rng(0)
    for _ in range(20):
        target = np.zeros((1, *shape), np.uint8)
        pixel = tuple(int(rng.integers(side)) for side in shape)
        target[(0, *pixel)] = 1
        _, truth = draw_patch(
            target.astype(np.float32), target, size, PLAIN, rng, foreground_share=1.0
        )
        (found,) = np.argwhere(truth[0])
        for place, middle, side in zip(found, pixel, shape, strict=True):
            if 4 <= middle <= side - 4:
                assert place == 4
            else:
                assert 0 <= place < 8, "at the border the patch stays in the image"


def test_the_foreground_share_is_a_share_of_the_patches():
    target = np.zeros((1, 300, 300), np.uint8)
    target[0, 150, 150] = 1
    rng, image = np.random.default_rng(0), target.astype(np.float32)
    drawn = [
        draw_patch(image, target, 16, AugmentSpec(), rng, foreground_share=0.5)[1].any()
        for _ in range(300)
    ]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.1)


def test_without_foreground_the_patch_lies_anywhere():
    places = _places(40, 40)
    starts = {_cut(places, 8, PLAIN, seed, foreground_share=1.0).min() for seed in range(20)}
    assert len(starts) > 5


@pytest.mark.parametrize("size", [(64, 64), (16, 96), (4, 48, 48)])
def test_turns_are_rigid_about_the_middle_and_within_their_range(size):
    places = _places(*(8,) * (len(size) - 2), 180, 180)
    angles = []
    for seed in range(20):
        patch = _central(places, size, AugmentSpec(flips=False, rotate=40.0), seed)[-2:]
        corners = [
            patch[(slice(None), *(0,) * (len(size) - 2), y, x)] for y in (0, -1) for x in (0, -1)
        ]
        across, down = corners[1] - corners[0], corners[2] - corners[0]
        np.testing.assert_allclose(corners[3] - corners[1], down, atol=1e-2)
        assert np.hypot(*across) == pytest.approx(size[-1] - 1, abs=1e-2), "nothing is mirrored in"
        assert np.hypot(*down) == pytest.approx(size[-2] - 1, abs=1e-2)
        angles.append(np.degrees(np.arctan2(across[0], across[1])))
    assert -40 <= min(angles) < -15 < 15 < max(angles) <= 40


def test_zooming_magnifies_within_its_range():
    places = _places(200, 200)
    steps = [
        float(np.diff(_central(places, 48, AugmentSpec(flips=False, zoom=(0.5, 2.0)), s)[1]).mean())
        for s in range(30)
    ]
    assert 0.5 - 0.02 <= min(steps) < 0.7
    assert 1.4 < max(steps) <= 2 + 0.02


@pytest.mark.parametrize(("size", "sides"), [((64, 64), (160, 160)), ((24, 32, 32), (50, 60, 60))])
def test_elastic_displacements_have_their_spread_and_are_smooth(size, sides):
    places = _places(*sides)
    straight = _central(places, size, PLAIN)
    bends = np.stack(
        [
            _central(places, size, AugmentSpec(flips=False, elastic=3.0), seed) - straight
            for seed in range(12)
        ]
    )
    assert 1.0 < bends.std() < 3.5
    assert abs(bends.mean()) < 1.0
    inner = bends[(..., *(slice(8, -8),) * len(size))]  # large ones are mirrored at the rim
    for axis in range(2, bends.ndim):
        assert np.abs(np.diff(inner, 2, axis)).max() < 2, "no jumps"


def test_a_dilated_patch_is_its_own_dilation_and_other_maps_stay():
    rng = np.random.default_rng(0)
    image = rng.random((1, 24, 24), dtype=np.float32)
    target = np.concatenate((image > 0.8, rng.random((1, 24, 24))), dtype=np.float32)
    names = ("foreground", "distance")
    patch, truth = draw_patch(
        image, target, 24, AugmentSpec(flips=False, dilate=1.0), np.random.default_rng(0), names
    )
    np.testing.assert_array_equal(patch[0], ndimage.grey_dilation(image[0], (3, 3)))
    np.testing.assert_array_equal(truth[0], ndimage.grey_dilation(target[0], (3, 3)))
    np.testing.assert_array_equal(truth[1], target[1])


def test_blur_smooths_the_image_and_not_the_target():
    rng = np.random.default_rng(0)
    image = rng.random((1, 40, 40), dtype=np.float32)
    target = (image > 0.5).astype(np.uint8)
    spreads = []
    for seed in range(10):
        patch, truth = draw_patch(
            image, target, 40, AugmentSpec(flips=False, blur=2.0), np.random.default_rng(seed)
        )
        np.testing.assert_array_equal(truth, target)
        assert patch.mean() == pytest.approx(image.mean(), abs=0.02)
        spreads.append(patch.std() / image.std())
    assert min(spreads) < 0.4 < max(spreads) <= 1
