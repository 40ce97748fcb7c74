"""Ultrasound phantoms repeat with their seed, form as ultrasound does and are no easy prey."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu

from lib.data.studies import list_items
from lib.errors import NotFoundError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.phantoms.ultrasound import gland
from lib.phantoms.ultrasound.anatomy import Frame
from lib.phantoms.ultrasound.canvas import SOFT
from lib.phantoms.ultrasound.formation import Scanner, Tissue, form_image, smooth_noise
from lib.phantoms.ultrasound.studies import (
    Phantom,
    breast_frame,
    cine,
    gland_volume,
    nerve_frame,
    write_ultrasound_studies,
)

SIDE = (128, 160)
VOLUME = (24, 40, 40)
MAKERS = pytest.mark.parametrize(
    "make",
    [
        lambda seed: nerve_frame(seed, SIDE),
        lambda seed: breast_frame(seed, SIDE),
        lambda seed: gland_volume(seed, VOLUME, (2.0, 1.5, 1.5)),
        lambda seed: cine(seed, 3, SIDE),
    ],
    ids=["nerve", "breast", "gland", "cine"],
)


@MAKERS
def test_a_seed_gives_one_phantom(make):
    one, again, other = make(7), make(7), make(8)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.label, again.label)
    assert not np.array_equal(one.image, other.image)
    assert one.image.dtype == one.label.dtype == np.uint8
    assert one.image.shape == one.label.shape
    assert len(one.spacing) == one.image.ndim


@pytest.mark.parametrize("make", [nerve_frame, breast_frame])
def test_a_frame_without_the_structure_has_an_empty_label(make):
    assert make(1, SIDE).label.any()
    absent = make(1, SIDE, present=False)
    assert not absent.label.any()
    assert absent.image.std() > 10
    assert not cine(1, 2, SIDE, present=False).label.any()


def test_frames_have_the_size_asked_for_and_are_40_mm_deep():
    phantom = nerve_frame(0)
    assert phantom.image.shape == (420, 580)
    assert phantom.spacing == pytest.approx((40 / 420, 40 / 420))


def test_a_volume_holds_one_gland_and_at_times_a_cyst_in_it():
    cysts = 0
    for seed in range(8):
        label = gland_volume(seed, VOLUME, (2.0, 1.5, 1.5)).label
        assert ndimage.label(label > 0)[1] == 1
        assert 0.01 < (label > 0).mean() < 0.35
        cysts += bool((label == 2).any())
    assert 0 < cysts < 8


@pytest.mark.parametrize("size", [(50, 60, 45), (8, 64, 64)])
def test_volumes_of_other_sizes_can_be_made(size):
    phantom = gland_volume(3, size, (1.5, 1.5, 1.5))
    assert phantom.image.shape == size
    assert (phantom.label == 1).any()


def _otsu_dice(phantom: Phantom) -> float:
    """Dice of the better side of Otsu's threshold on the smoothed image."""
    image = ndimage.gaussian_filter(phantom.image.astype(np.float32), 2)
    truth, bright = phantom.label > 0, image > threshold_otsu(image)
    return max(2 * (truth & side).sum() / (truth.sum() + side.sum()) for side in (bright, ~bright))


def _contrast(phantom: Phantom) -> float:
    """Mean grey inside less that of a ring around the structure."""
    inside = phantom.label > 0
    reach = phantom.image.shape[-2] // 12
    ring = ndimage.binary_dilation(inside, iterations=reach) & ~inside
    return float(phantom.image[inside].mean() - phantom.image[ring].mean())


@MAKERS
def test_no_threshold_segments_the_structure(make):
    assert np.mean([_otsu_dice(make(seed)) for seed in range(5)]) < 0.7


def test_the_structure_differs_from_its_surroundings():
    lesions = [_contrast(breast_frame(seed, SIDE)) for seed in range(5)]
    assert max(lesions) < -10
    assert np.mean([_contrast(nerve_frame(seed, SIDE)) for seed in range(8)]) > 4
    glands = [_contrast(gland_volume(s, VOLUME, (2.0, 1.5, 1.5))) for s in range(5)]
    assert np.mean(np.abs(glands)) > 10


def test_loops_move_smoothly_and_their_speckle_decorrelates():
    loop = cine(2, 12, SIDE)
    rank = [np.corrcoef(loop.image[0].ravel(), frame.ravel())[0, 1] for frame in loop.image]
    assert 0.4 < rank[1] < 0.99
    assert rank[6] < rank[1]
    for one, next_ in zip(loop.label[:-1], loop.label[1:], strict=True):
        assert 2 * (one & next_).sum() / (one.sum() + next_.sum()) > 0.7


def test_an_unknown_anatomy_is_refused():
    with pytest.raises(NotFoundError, match="unknown kind 'nerv': did you mean 'nerve'"):
        cine(0, 2, SIDE, kind="nerv")  # type: ignore[arg-type]


def _image(echo: np.ndarray, loss: np.ndarray, **scanner: float) -> np.ndarray:
    still = Tissue(echo, loss, np.zeros_like(echo), np.zeros(echo.shape, np.uint8))
    settings = Scanner(curve=1.0, noise=-90.0, **scanner)
    rng = np.random.default_rng(0)
    return form_image(rng, still, (0.2, 0.2), settings).astype(float)


def test_speckle_is_finer_along_the_beam_than_across_it():
    even = np.zeros((128, 128), np.float32)
    image = _image(even, np.full_like(even, 0.7))
    image -= image.mean()
    along = (image[1:] * image[:-1]).mean() / image.var()
    across = (image[:, 1:] * image[:, :-1]).mean() / image.var()
    assert along < across - 0.1


def test_grey_follows_echogenicity_in_decibels():
    echo = np.zeros((128, 128), np.float32)
    echo[:, 64:] = -10
    image = _image(echo, np.full_like(echo, 0.7), dynamic_range=50.0)
    step = image[:, 10:50].mean() - image[:, 78:118].mean()
    assert step == pytest.approx(10 / 50 * 255, abs=6)


def test_strong_attenuation_casts_a_shadow_and_fluid_brightens_what_lies_behind():
    even = np.zeros((128, 192), np.float32)
    loss = np.full_like(even, SOFT)
    loss[40:50, 20:44], loss[40:60, 140:172] = 12.0, 0.0
    image = _image(even, loss)
    behind = image[90:]
    assert behind[:, 24:40].mean() < behind[:, 80:110].mean() - 40
    assert behind[:, 146:166].mean() > behind[:, 80:110].mean() + 8


def test_smooth_noise_is_standardised():
    noise = smooth_noise(np.random.default_rng(0), (64, 80), (3, 5), slope=0.3)
    assert noise.mean() == pytest.approx(0, abs=1e-5)
    assert noise.std() == pytest.approx(1, abs=1e-5)
    assert noise.dtype == np.float32


def test_phantoms_are_made_fast():
    breast_frame(0)
    begin = time.process_time()
    breast_frame(1)
    assert time.process_time() - begin < 0.5  # 0.04 s on a core of 2026
    begin = time.process_time()
    gland_volume(0)
    assert time.process_time() - begin < 3  # 0.2 s


def test_studies_are_written_with_spacing_and_kept(tmp_path):
    words = {"nerves": 2, "breasts": 3, "volumes": 1, "loops": 0, "labelled": 1.0, "absent": 0.5}
    paths = write_ultrasound_studies(tmp_path, 3, **words)
    assert [path.name for path in paths] == [
        "nerve_000.png",
        "nerve_001.png",
        "breast_000.png",
        "breast_001.png",
        "breast_002.png",
        "gland_000.nrrd",
    ]
    assert len(list_items(tmp_path, labelled=True)) == 6
    labels = tmp_path / "labels" / "final"
    empty = [not read_label(labels / path.name).any() for path in paths[:-1]]
    assert empty.count(True) == 3
    volume = read_image(paths[-1], spatial_dims=3)
    assert volume.geometry.spacing == pytest.approx((0.6, 0.6, 1.0))
    assert volume.pixels.shape == (64, 96, 96)
    label = read_label(labels / "gland_000.nrrd", volume.shape)
    assert set(np.unique(label)) <= {0, 1, 2}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    write_ultrasound_studies(tmp_path, 4, **words)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before


def test_shapes_are_computed_in_32_bit_whatever_numbers_place_them():
    rng = np.random.default_rng(0)
    frame = Frame(rng, SIDE)
    placed = frame.ellipse(rng.uniform(0.4, 0.6, 2), np.array([0.2, 0.3]), np.float64(0.3))
    axes = tuple(np.mgrid[-1:1:8j, -1:1:9j, -1:1:10j].astype(np.float32))
    ball = gland._ball(axes, np.zeros(3), np.full(3, 0.5))
    assert placed.dtype == ball.dtype == np.float32
    assert placed.min() < 0 < placed.max() and ball.min() < 0 < ball.max()
