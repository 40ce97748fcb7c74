"""Preparation keeps what matters; augmented patches repeat and stay aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.errors import InputError
from lib.images import Geometry, Image
from lib.targets import as_instances, make_target
from lib.tasks import AugmentSpec, InputSpec, TargetSpec
from lib.transforms import draw_patch, prepare_image

PLAIN = AugmentSpec(flips=False)
FULL = AugmentSpec(rotate90=True, zoom=(0.8, 1.25), gamma=1.4, noise=0.04)


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("a.png"), pixels.ndim == 3)


def _cells(seed: int = 0, rows: int = 48, columns: int = 64) -> np.ndarray:
    pixels = np.random.default_rng(seed).normal(20, 3, (rows, columns))
    pixels[10:20, 10:20] += 150
    return pixels.clip(0, 255)


def test_prepared_images_lie_in_0_to_1_and_use_the_range():
    found = prepare_image(_image(_cells().astype(np.uint8)), InputSpec())
    assert found.shape == (1, 48, 64)
    assert found.dtype == np.float32
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize(("scale", "offset"), [(256, 0), (100, 7000), (0.01, -3)])
def test_preparation_does_not_depend_on_the_intensity_scale(scale, offset):
    wanted = prepare_image(_image(_cells()), InputSpec())
    found = prepare_image(_image(_cells() * scale + offset), InputSpec())
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_bright_backgrounds_become_dark_and_only_when_asked():
    dark, bright = _image(_cells()), _image(255 - _cells())
    kept = prepare_image(bright, InputSpec(dark_background=False))[0]
    turned = prepare_image(bright, InputSpec())[0]
    assert kept[:8].mean() > 0.5 > turned[:8].mean()
    assert turned[12:18, 12:18].mean() > 0.8
    assert prepare_image(dark, InputSpec())[0, 12:18, 12:18].mean() > 0.8


def test_colour_becomes_luminance():
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[0, :4], colour[1, :4], colour[2, :4] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    grey = prepare_image(_image(colour), InputSpec(percentiles=(0, 100)))[0]
    np.testing.assert_allclose(grey[:3, 0] * 0.587, (0.299, 0.587, 0.114), atol=1e-5)


def test_a_constant_image_becomes_zero():
    assert not prepare_image(_image(np.full((16, 16), 200, np.uint8)), InputSpec()).any()


def test_a_few_bright_pixels_still_show():
    pixels = np.zeros((100, 100), np.uint8)
    pixels[50, 50] = 9
    assert prepare_image(_image(pixels), InputSpec())[0, 50, 50] == 1


@pytest.mark.parametrize("shape", [(7, 64), (64, 7), (1, 1)])
def test_images_below_the_smallest_side_are_refused(shape):
    with pytest.raises(InputError, match=rf"a\.png: {shape[1]} x {shape[0]} pixels, expected at l"):
        prepare_image(_image(np.zeros(shape, np.uint8)), InputSpec())


def test_images_beyond_the_pixel_limit_are_refused():
    with pytest.raises(InputError, match="expected at most 4095 in all"):
        prepare_image(_image(np.zeros((64, 64), np.uint8)), InputSpec(max_pixels=4095))


def test_a_mask_becomes_instances_and_instances_stay():
    mask = np.zeros((9, 9), np.int32)
    mask[1:3, 1:3] = mask[5:8, 5:8] = 255
    assert np.unique(as_instances(mask)).tolist() == [0, 1, 2]
    mask[5:8, 5:8] = 7
    np.testing.assert_array_equal(as_instances(mask), mask)
    assert not as_instances(np.zeros((4, 4), np.int32)).any()


def _touching() -> np.ndarray:
    label = np.zeros((20, 30), np.int32)
    label[4:14, 2:12] = 1
    label[4:14, 12:22] = 2
    label[16:19, 2:12] = 3
    return label


def test_without_a_gap_the_target_is_the_foreground():
    target = make_target(_touching(), TargetSpec())
    assert target.shape == (1, 20, 30)
    assert target.dtype == np.uint8
    np.testing.assert_array_equal(target[0], _touching() > 0)


@pytest.mark.parametrize("gap", [1, 2])
def test_a_gap_clears_only_pixels_between_touching_instances(gap):
    label = _touching()
    target = make_target(label, TargetSpec(gap=gap))[0] > 0
    cleared = (label > 0) & ~target
    rows, columns = np.nonzero(cleared)
    wanted = range(12 - gap, 12 + gap)
    assert sorted(set(columns[rows < 14])) == list(wanted)
    assert not (target & (label == 0)).any()
    apart = as_instances(target.astype(np.int32))
    assert apart.max() == 3


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_no_instance_vanishes_from_the_target(gap):
    label = _touching()
    label[4:14, 11] = 4  # one pixel wide, between two others
    target = make_target(label, TargetSpec(gap=gap))[0]
    assert set(np.unique(label[target > 0])) == {1, 2, 3, 4}


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
