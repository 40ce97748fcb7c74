"""Maxima and lowered maxima are those of scikit-image, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction

from lib.segmentation import maxima
from lib.segmentation.maxima import lower_maxima, regional_maxima

SHAPES = [(23, 31), (9, 12, 11), (1, 17), (17, 1), (1, 1), (2, 3)]


def _heights(seed, shape, levels=0, smoothing=1.0):
    """Return random float32 heights, of few levels so that many are equal, else of any."""
    heights = np.random.default_rng(seed).random(shape)
    if smoothing:
        heights = ndimage.gaussian_filter(heights, smoothing)
        heights = (heights - heights.min()) / (np.ptp(heights) or 1)
    if levels:
        heights = np.round(heights * levels) / levels
    return np.where(heights > 0.3, heights, 0).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 3, 12])
def test_maxima_are_those_of_scikit_image(shape, levels):
    for seed in range(20):
        heights = _heights(seed, shape, levels, smoothing=seed % 2)
        if np.ptp(heights) > 0:  # what is level all over has no maximum there, and one here
            np.testing.assert_array_equal(regional_maxima(heights), local_maxima(heights))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 3, 12])
@pytest.mark.parametrize("depth", [0.05, 0.2, 0.75])
def test_lowered_maxima_are_the_reconstruction_of_scikit_image(shape, levels, depth):
    for seed in range(10):
        heights = _heights(seed, shape, levels)
        found, wanted = lower_maxima(heights, depth), reconstruction(heights - depth, heights)
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == np.float32


def test_what_spreads_far_is_the_same(monkeypatch):
    """A level winding path with a top at its beginning, which spreads to its end."""
    heights = np.zeros((41, 40), np.float32)
    heights[::2] = 1
    heights[1::4, -1] = heights[3::4, 0] = 1
    heights[0, 0] = 1.5
    wanted = reconstruction(heights - np.float32(0.5), heights)
    assert wanted[-1, -1] == 1, "it gets there"
    asked = []

    def counted(*arrays):
        asked.append(arrays)
        return reconstruction(*arrays)

    monkeypatch.setattr(maxima, "reconstruction", counted)
    found = lower_maxima(heights, 0.5)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.float32 and len(asked) == 1
