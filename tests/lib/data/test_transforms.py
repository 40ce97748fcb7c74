"""Preparation keeps what matters."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lib.data.transforms import prepare_image, with_type
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.tasks.image_spec import InputSpec


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("a.png"), colour=pixels.ndim == 3)


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


def _section(share: float) -> np.ndarray:
    """Return a section stained pink whose left `share` of columns is one purple nucleus."""
    pixels = np.random.default_rng(0).normal((225, 150, 190), 3, (48, 64, 3))
    pixels[:, : int(share * 64)] = (90, 60, 140)
    pixels[:2] = (235, 230, 235)  # glass
    return pixels.astype(np.uint8)


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_the_stain_is_bright_whatever_share_of_the_section_it_covers(share):
    edge = int(share * 64)
    found = prepare_image(_image(_section(share)), InputSpec())[0]
    assert found[4:, :edge].min() > 0.9
    assert found[4:, edge:].max() < 0.6


def test_fluorescence_in_colour_stays_bright_on_dark():
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 2] = _cells().astype(np.uint8)
    grey = prepare_image(_image(blue[..., 2]), InputSpec())
    np.testing.assert_allclose(prepare_image(_image(blue), InputSpec()), grey, atol=1e-5)


IN_COLOUR = InputSpec(channels=("red", "green", "blue"))


def test_colours_of_a_section_are_scaled_each_by_itself():
    pixels = _section(0.3)
    pixels[..., 1] = pixels[..., 1] // 2 + 20  # another strength of one stain
    found = prepare_image(_image(pixels), IN_COLOUR)
    assert found.shape == (3, 48, 64)
    for index, one in enumerate(found):
        low, high = np.percentile(pixels[..., index], (0.5, 99.8))
        wanted = 1 - np.clip((pixels[..., index] - low) / (high - low), 0, 1)
        np.testing.assert_allclose(one, wanted, atol=1e-5)
    again = prepare_image(_image(_section(0.3)), IN_COLOUR)
    np.testing.assert_allclose(found, again, atol=0.02)


@pytest.mark.parametrize("shown", ["grey", "blue on black", "bright"])
def test_other_images_show_their_luminance_three_times(shown):
    pixels = _cells().astype(np.uint8)
    if shown == "bright":
        pixels = 255 - pixels
    if shown == "blue on black":
        pixels = np.stack((0 * pixels, pixels // 8, pixels), axis=-1)
    (grey,) = prepare_image(_image(pixels), InputSpec())
    found = prepare_image(_image(pixels), IN_COLOUR)
    np.testing.assert_array_equal(found, np.stack([grey] * 3))
    halved = with_type(found, np.float16)
    np.testing.assert_array_equal(halved, found.astype(np.float16))
    assert (found.strides[0], halved.strides[0]) == (0, 0), "in the memory of one"


def test_preparation_of_a_volume_takes_little_memory_and_leaves_it_as_it_is():
    voxels = np.random.default_rng(0).random((64, 128, 128), np.float32)
    image = Image(voxels.copy(), Geometry.flat(*voxels.shape), Path("a.nrrd"))
    tracemalloc.start()
    try:
        prepare_image(image, InputSpec())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * voxels.nbytes
    np.testing.assert_array_equal(image.pixels, voxels)


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


def test_a_volume_is_prepared_like_an_image():
    volume = np.stack([_cells(seed) for seed in range(9)]).astype(np.uint8)
    image = Image(volume, Geometry.flat(*volume.shape), Path("a.nrrd"))
    found = prepare_image(image, InputSpec(dark_background=False))
    assert found.shape == (1, 9, 48, 64)
    assert (found.min(), found.max()) == (0, 1)
    with pytest.raises(InputError, match=r"a\.nrrd: 64 x 48 x 9 pixels, expected at most 999 in"):
        prepare_image(image, InputSpec(max_pixels=999))
    short = Image(volume[:2], Geometry.flat(2, 48, 64), Path("a.nrrd"))
    assert prepare_image(short, InputSpec()).shape == (1, 2, 48, 64)
    thin = Image(volume[:, :7], Geometry.flat(9, 7, 64), Path("a.nrrd"))
    with pytest.raises(InputError, match=r"64 x 7 x 9 pixels, expected at least 8 rows and colum"):
        prepare_image(thin, InputSpec())


def test_the_scale_of_a_large_volume_is_found_on_a_sample():
    rng = np.random.default_rng(0)
    volume = rng.normal(100, 10, (120, 130, 140)).astype(np.float32)
    image = Image(volume, Geometry.flat(*volume.shape), Path("a.nrrd"))
    found = prepare_image(image, InputSpec(dark_background=False))
    low, high = np.percentile(volume, (0.5, 99.8))
    np.testing.assert_allclose(found[0], np.clip((volume - low) / (high - low), 0, 1), atol=0.01)
