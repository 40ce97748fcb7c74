"""Augmented patches repeat, and image and target stay aligned."""

from __future__ import annotations

import numpy as np
import pytest
from drawing_samples import draw_patch

from lib.tasks.image_spec import AugmentSpec

PLAIN = AugmentSpec(flips=False)
FULL = AugmentSpec(rotate90=True, zoom=(0.8, 1.25), gamma=1.4, noise=0.04)


def _pair(rows: int = 48, columns: int = 64) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros((1, rows, columns), np.uint8)
    target[0, 5:21, 8:30] = 1
    target[0, rows // 2 :, columns // 2 :] = 1
    return target.astype(np.float32), target


@pytest.mark.parametrize("spec", [PLAIN, FULL])
def test_patches_have_the_asked_size_and_repeat_with_the_seed(spec):
    image, target = _pair()
    one, again, other = (
        draw_patch(image, target, 32, spec, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    for patch in one:
        assert patch.shape == (1, 32, 32)
        assert patch.dtype == np.float32
        assert patch.flags.c_contiguous
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(flips=True),
        AugmentSpec(flips=False, rotate90=True),
        AugmentSpec(flips=False, zoom=(0.5, 2.0)),
        AugmentSpec(rotate90=True, zoom=(0.8, 1.25)),
    ],
    ids=["flips", "turns", "zoom", "all"],
)
def test_image_and_target_stay_aligned(spec):
    image, target = _pair()
    for seed in range(20):
        patch, truth = draw_patch(image, target, 32, spec, np.random.default_rng(seed))
        assert set(np.unique(truth)) <= {0, 1}
        assert (np.abs(patch - truth) <= 0.5).all(), "the image is the target itself"


def test_flips_and_turns_reach_all_eight_orientations():
    image = np.arange(64 * 64, dtype=np.float32).reshape(1, 64, 64) / 4096
    spec = AugmentSpec(rotate90=True)
    target = np.zeros((1, 64, 64), np.uint8)
    found = {
        draw_patch(image, target, 64, spec, np.random.default_rng(seed))[0].tobytes()
        for seed in range(100)
    }
    assert len(found) == 8


def test_images_smaller_than_the_patch_are_mirrored():
    image = np.arange(20, dtype=np.float32).reshape(1, 4, 5) / 20
    patch, _ = draw_patch(image, np.zeros((1, 4, 5), np.uint8), 16, PLAIN, np.random.default_rng(0))
    np.testing.assert_array_equal(patch[0, :7, :9], np.pad(image[0], ((0, 3), (0, 4)), "reflect"))
    assert set(np.unique(patch)) == set(np.unique(image))


def test_gamma_and_noise_change_intensities_within_0_to_1_and_not_the_target():
    image, target = np.full((1, 40, 40), 0.5, np.float32), np.ones((1, 40, 40), np.uint8)
    spec = AugmentSpec(flips=False, gamma=2.0, noise=0.2)
    for seed in range(10):
        patch, truth = draw_patch(image, target, 32, spec, np.random.default_rng(seed))
        assert 0 <= patch.min() < patch.max() <= 1
        assert 0.2 < np.median(patch) < 0.75
        assert (truth == 1).all()


def test_stains_change_by_themselves():
    image, target = np.full((3, 40, 40), 0.5, np.float32), np.ones((1, 40, 40), np.uint8)
    spec, differences = AugmentSpec(flips=False, stain=1.5), []
    for seed in range(20):
        patch, _ = draw_patch(image, target, 32, spec, np.random.default_rng(seed))
        greys = patch.reshape(3, -1)
        assert np.ptp(greys, axis=1).max() < 1e-6
        assert ((0.5**1.5 <= greys) & (greys <= 0.5 ** (1 / 1.5))).all()
        differences.append(np.ptp(greys[:, 0]))
    assert np.median(differences) > 0.05
