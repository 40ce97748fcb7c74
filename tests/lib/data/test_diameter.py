"""The diameter of objects that a user tells: what is read as one, and which images take it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.data.diameter import read_diameter, require_sized, told_magnification
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.tasks.registry import get_task

NUCLEI = get_task("nuclei")  # known sizes are 10 to 60, the middle 24.5 pixels


def _image(*shape: int, **about) -> Image:
    return Image(np.zeros(shape, np.uint8), Geometry.flat(*shape), Path("a.png"), **about)


@pytest.mark.parametrize(
    ("value", "diameter"),
    [(66, 66), (66.5, 66.5), ("66", 66), (" 1e2 ", 100), (1, 1), (np.float64(7), 7)]
    + [(none, 0) for none in (None, "", "  ", 0, 0.0, "0", "-0.0")],
)
def test_a_number_of_pixels_is_read_and_nothing_is_an_estimate(value, diameter):
    assert read_diameter(value) == diameter


@pytest.mark.parametrize(
    "value",
    [-1, 0.5, float("nan"), float("inf"), -float("inf"), 10**400, "nan", "1e999", "wide", "6 6"]
    + [True, False, [66], {"a": 1}, b"66", 5j, "9" * 5000, "\x00"],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_diameter_is_refused(value):
    with pytest.raises(InputError, match="--diameter: expected the typical diameter.*found"):
        read_diameter(value, "--diameter")


def test_a_task_that_resamples_nothing_takes_no_diameter():
    require_sized(NUCLEI)
    for name in ("nuclei_vhllrhe", "nuclei_click", "fetal_head", "density_birads"):
        with pytest.raises(InputError, match=f"diameter: '{name}' resamples no images for it"):
            require_sized(get_task(name))


@pytest.mark.parametrize(
    ("diameter", "factor"), [(66, 24.4949 / 66), (98, 0.25), (500, 0.25), (5, 4), (30, 1), (60, 1)]
)
def test_the_image_is_resampled_as_for_an_estimate(diameter, factor):
    found = told_magnification(_image(800, 1000), NUCLEI, diameter)
    assert found == pytest.approx(factor, abs=0.001)


@pytest.mark.parametrize(
    ("shape", "diameter", "words"),
    [
        ((90, 100), 101, "101 pixels is more than the image, which has 100 x 90 pixels"),
        ((3000, 3000), 5, "would make its 3000 x 3000 pixels 12000 x 12000, expected at most"),
        ((16, 300), 80, "would make its 300 x 16 pixels 92 x 5, expected at least 8 rows"),
        ((5, 40, 40), 30, "is for single images; this one has 40 x 40 x 5 voxels"),
    ],
)
def test_an_image_that_cannot_be_resampled_so_is_refused_by_name(shape, diameter, words):
    with pytest.raises(InputError, match=f"a.png: diameter.*{words}") as refused:
        told_magnification(_image(*shape), NUCLEI, diameter)
    assert "leave it away" in str(refused.value) or "0 to estimate it" in str(refused.value)


def test_the_limits_are_those_of_the_task():
    narrow = replace(NUCLEI, input=replace(NUCLEI.input, max_pixels=100 * 100 * 4 * 4 - 1))
    with pytest.raises(InputError, match="would make its 100 x 100 pixels 400 x 400"):
        told_magnification(_image(100, 100), narrow, 5)
    wide = replace(NUCLEI, input=replace(NUCLEI.input, max_pixels=100 * 100 * 4 * 4))
    assert told_magnification(_image(100, 100), wide, 5) == 4
