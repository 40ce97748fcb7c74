"""Frames for viewers: the stored values where they fit, else values that lead back to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.errors import InputError
from lib.io.shown_frames import shown_frames

RANDOM = np.random.default_rng(4)


def _volume(folder: Path, values: np.ndarray) -> Path:
    file = folder / "image.mha"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(file))
    return file


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_values_of_up_to_16_bits_stay_as_they_are(tmp_path, dtype):
    values = RANDOM.integers(0, 200, (3, 5, 7)).astype(dtype)
    found = shown_frames(_volume(tmp_path, values))
    assert found.pixels.dtype == dtype and np.array_equal(found.pixels, values)
    assert (found.slope, found.intercept, found.volume) == (1, 0, True)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_real_values_are_told_by_slope_and_intercept(tmp_path, scale):
    values = (RANDOM.normal(size=(3, 5, 7)) * scale).astype(np.float32)
    found = shown_frames(_volume(tmp_path, values))
    assert found.pixels.dtype == np.uint16
    again = found.slope * found.pixels + found.intercept
    assert np.abs(again - values).max() <= found.slope * 0.51


def test_large_whole_numbers_are_kept_where_their_range_allows_it(tmp_path):
    few = RANDOM.integers(-500, 500, (3, 5, 7)).astype(np.int32)
    assert np.array_equal(shown_frames(_volume(tmp_path, few)).pixels, few)
    found = shown_frames(_volume(tmp_path, few * 1000))
    assert np.abs(found.slope * found.pixels + found.intercept - few * 1000.0).max() <= found.slope


def test_a_dark_picture_has_a_window_in_which_it_is_seen(tmp_path):
    values = RANDOM.integers(0, 30, (64, 64)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "dark.png")
    centre, width = shown_frames(tmp_path / "dark.png").window
    assert centre == pytest.approx(14.5, abs=1) and width == pytest.approx(29, abs=1)


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_ct_opens_in_the_window_of_tissue(tmp_path, dtype):
    values = np.where(RANDOM.random((4, 40, 40)) < 0.4, -1000, 50).astype(dtype)
    values[:, :3] = 1200
    found = shown_frames(_volume(tmp_path, values))
    assert found.window == (40, 400)
    pet = shown_frames(_volume(tmp_path, values + np.asarray(1000, dtype)))
    assert pet.window[1] > 1000, "nothing lies about -1000"


def test_a_volume_opens_without_its_brightest_voxels_but_with_the_few_that_it_has(tmp_path):
    mr = RANDOM.normal(300, 60, (4, 64, 64)).clip(1).astype(np.uint16)
    mr[0, 0, :16] = 6000
    centre, width = shown_frames(_volume(tmp_path, mr)).window
    assert 100 < centre - width / 2 < 250 and 380 < centre + width / 2 < 600
    nuclei = RANDOM.normal(100, 5, (4, 64, 64)).astype(np.uint16)
    nuclei[:, :8, :12] = 3000
    centre, width = shown_frames(_volume(tmp_path, nuclei)).window
    assert centre + width / 2 > 2500


def test_colours_of_more_bits_become_bytes_and_blank_images_have_a_window(tmp_path):
    import tifffile

    colours = RANDOM.integers(0, 4096, (6, 5, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "colours.tif", colours, photometric="rgb")
    found = shown_frames(tmp_path / "colours.tif")
    assert found.window is None and np.array_equal(found.pixels[0], colours >> 4)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "blank.png")
    assert shown_frames(tmp_path / "blank.png").window[1] > 0


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    with pytest.raises(InputError, match="broken.png"):
        shown_frames(tmp_path / "broken.png")
