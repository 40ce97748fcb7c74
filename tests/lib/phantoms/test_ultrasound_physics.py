"""Speckle has the statistics of ultrasound, echoes fade with depth, and fans are fans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lib.phantoms.ultrasound.formation import (
    Scanner,
    Tissue,
    echo_intensity,
    form_image,
    scatterers,
)
from lib.phantoms.ultrasound.look import Look, draw_poor_look, form_look
from lib.phantoms.ultrasound.sector import Fan, Sector
from lib.phantoms.ultrasound.studies import fetal_frame, gland_volume, poor_volume

STEP = 0.1  # mm
SIZE = (384, 384)
VOLUME = (24, 64, 64)
ARRAY = Sector(radius=14, half_angle=40)


def _even(size: tuple[int, ...], loss: float = 0.7) -> Tissue:
    echo = np.zeros(size, np.float32)
    return Tissue(echo, np.full_like(echo, loss), echo, np.zeros(size, np.uint8))


def _speckle(looks: tuple[float, ...] = (0.0,), **scanner: float) -> np.ndarray:
    """Intensity of a homogeneous region."""
    field = scatterers(np.random.default_rng(5), SIZE, 1.0)
    return echo_intensity(field, (STEP, STEP), Scanner(looks=looks, **scanner))


def _correlation(values: np.ndarray, lag: int, axis: int) -> float:
    one = np.take(values, np.arange(values.shape[axis] - lag), axis)
    other = np.take(values, np.arange(lag, values.shape[axis]), axis)
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_envelope_of_a_homogeneous_region_is_rayleigh():
    envelope = np.sqrt(_speckle())[8:-8, 8:-8]
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.08)


def test_compounding_smooths_speckle():
    single, several = (np.sqrt(_speckle(looks)) for looks in ((0.0,), (-2.4, -1.2, 0.0, 1.2, 2.4)))
    assert several.mean() / several.std() > 1.5 * single.mean() / single.std()


@pytest.mark.parametrize(("axis", "sigma"), [(0, 0.4), (1, 0.6)], ids=["axial", "lateral"])
def test_speckle_is_as_large_as_the_point_spread_function(axis, sigma):
    """The autocorrelation of the intensity is exp(-1/2) at a standard deviation of the pulse."""
    intensity = _speckle(axial=0.4, lateral=0.6)
    focus = intensity[176:208] if axis else intensity
    expected = np.exp(-0.5)
    assert _correlation(focus, round(sigma / STEP), axis) == pytest.approx(expected, abs=0.12)
    assert abs(_correlation(focus, round(4 * sigma / STEP), axis)) < 0.15


def test_echoes_fade_with_depth_unless_the_time_gain_makes_up():
    def slope(compensated: float) -> float:
        """Grey per mm of depth."""
        scanner = Scanner(curve=1.0, noise=-120.0, compensated=compensated, white=0.001)
        image = form_image(np.random.default_rng(0), _even(SIZE), (STEP, STEP), scanner)
        rows = image.mean(1, dtype=float)
        return float((rows[300:340].mean() - rows[60:100].mean()) / (240 * STEP))

    assert slope(0.5) - slope(0.7) == pytest.approx(-0.2 / 55 * 255, rel=0.05)
    assert abs(slope(0.7)) < 0.5


def test_a_fan_is_black_outside_and_its_speckle_widens_with_depth():
    size = (256, 320)
    scanner = Scanner(looks=(0.0,), focus=0.5, curve=1.0)
    visible = Fan(ARRAY, size, (0.2, 0.2)).visible
    rng = np.random.default_rng(0)
    image, _ = form_look(rng, _even(size), (0.2, 0.2), scanner, Look(sector=ARRAY))
    assert not image[~visible].any() and (image[visible] > 0).mean() > 0.95
    assert visible[:, size[1] // 2].sum() > 0.9 * size[0]
    assert not visible[0, :4].any() and not visible[-1, :4].any()
    near, far = image[40:80, 130:190].astype(float), image[205:245, 130:190].astype(float)
    assert _correlation(far, 4, 1) > _correlation(near, 4, 1) + 0.05


def test_what_is_in_the_tissue_is_at_its_place_in_the_fan():
    fan = Fan(ARRAY, (200, 240), (0.25, 0.25))
    picture = np.zeros((200, 240), np.float32)
    picture[120:130, 80:92] = 1
    again = fan.to_picture(fan.to_beams(picture))
    assert again[122:128, 83:89].min() > 0.9 and again[:115].max() < 0.1
    assert abs(again.sum() - picture.sum()) < 0.1 * picture.sum()


def test_a_fetal_head_lies_in_its_fan_within_a_bright_skull():
    phantom = fetal_frame(3)
    again = fetal_frame(3)
    np.testing.assert_array_equal(phantom.image, again.image)
    assert phantom.image.shape == phantom.label.shape == (400, 540)
    assert phantom.spacing == pytest.approx((0.3, 0.3))
    area = phantom.label.sum() * 0.3**2
    assert 1500 < area < 6000  # mm2; of 15 to 30 weeks
    rim = phantom.label.astype(bool) & (phantom.image > 200)
    inner = phantom.label.astype(bool) & ~rim
    assert rim.sum() > 500 and np.median(phantom.image[inner]) < 110


def test_volumes_of_another_kind_are_blurred_of_low_contrast_and_partly_lost():
    usual = gland_volume(3, VOLUME).image.astype(float)
    blurred = gland_volume(3, VOLUME, look=Look(blur=2.0)).image.astype(float)
    assert _correlation(blurred, 3, 2) > _correlation(usual, 3, 2) + 0.1
    for look in (Look(), Look(sector=ARRAY)):
        seen = gland_volume(3, VOLUME, look=look)
        lost = gland_volume(3, VOLUME, look=replace(look, drop_outs=4))
        fan = seen.image > 0
        assert (lost.image[fan] < 40).mean() > (seen.image[fan] < 40).mean() + 0.02


@pytest.mark.parametrize("seed", range(3))
def test_less_contrast_makes_a_gland_less_visible(seed):
    def contrast(look: Look) -> float:
        phantom = gland_volume(seed, VOLUME, look=look)
        inside = phantom.label > 0
        return abs(float(phantom.image[inside].mean() - phantom.image[~inside].mean()))

    assert contrast(Look(contrast=0.3)) < contrast(Look())


def test_poor_volumes_differ_in_look_and_hold_a_gland():
    looks = [draw_poor_look(np.random.default_rng((seed, 6))) for seed in range(40)]
    assert 10 < sum(look.sector is not None for look in looks) < 30
    assert {look.drop_outs for look in looks} == {0, 1, 2}
    for seed in range(4):
        phantom = poor_volume(seed)
        assert phantom.image.shape == phantom.label.shape == (50, 60, 45)
        assert (phantom.label > 0).mean() > 0.02
        fan = looks[seed].sector is not None
        assert fan == bool((phantom.image[:, 0, 0] == 0).all())
    assert (poor_volume(1).image == poor_volume(1).image).all()


def test_the_label_of_a_fan_lies_in_it():
    look = Look(sector=Sector(radius=8, half_angle=35, swept=30))
    phantom = gland_volume(2, (40, 64, 64), look=look)
    assert phantom.label.any()
    assert not (phantom.label > 0)[:, 0, 0].any()
    assert (phantom.image[phantom.label > 0] > 0).mean() > 0.98
    assert not phantom.image[0, 0].any() and phantom.image[20, 4].any()
