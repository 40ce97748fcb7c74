"""Clicks in large images: a coarser grid finds what the full one finds, and work is bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive import watershed
from lib.interactive.watershed import regions_around


def box_in_noise(shape: tuple[int, ...]) -> tuple[Image, np.ndarray]:
    """Return an image with a bright box in noise, and the mask of the box."""
    inside = np.zeros(shape, bool)
    inside[tuple(slice(side // 4, 3 * side // 4) for side in shape)] = True
    noise = np.random.default_rng(0).normal(50, 10, shape)
    pixels = (noise + 100 * inside).clip(0, 255).astype(np.uint8)
    return Image(pixels, Geometry.flat(*shape), Path("a")), inside


def mark(shape: tuple[int, ...], *points: tuple[int, ...]) -> np.ndarray:
    marks = np.zeros(shape, bool)
    marks[tuple(np.transpose(points))] = True
    return marks


@pytest.mark.parametrize("shape", [(160, 200), (31, 60, 71)])
@pytest.mark.parametrize("largest", [2**21, 30_000, 8000])
def test_a_coarser_grid_finds_the_same_structure(monkeypatch, shape, largest):
    monkeypatch.setattr(watershed, "LARGEST_BOX", largest)
    image, inside = box_in_noise(shape)
    middle = tuple(side // 2 for side in shape)
    found = regions_around(image, mark(shape, middle), np.zeros(shape, bool))
    overlap = 2 * (found & inside).sum() / (found.sum() + inside.sum())
    assert found[middle] and overlap > (0.97 if largest == 2**21 else 0.8)


def test_no_window_is_flooded_with_more_pixels_than_are_looked_at(monkeypatch):
    looked_at = []
    stands_out = watershed._stands_out

    def spy(part, *arguments):
        looked_at.append(part.pixels.size)
        return stands_out(part, *arguments)

    monkeypatch.setattr(watershed, "_stands_out", spy)
    monkeypatch.setattr(watershed, "LARGEST_BOX", 20_000)
    image, _ = box_in_noise((40, 80, 90))
    regions_around(image, mark((40, 80, 90), (20, 40, 45)), np.zeros((40, 80, 90), bool))
    assert max(looked_at) <= 1.2 * 20_000 and len(looked_at) > 5


def test_marks_beyond_the_work_that_is_done_are_refused(monkeypatch):
    monkeypatch.setattr(watershed, "MOST_FLOODED", 100_000)
    shape = (160, 200)
    pixels = np.random.default_rng(0).normal(50, 5, shape)
    middles = [(20 + 30 * n, 30 + 40 * m) for n in range(5) for m in range(4)]
    for row, column in middles:
        pixels[row - 8 : row + 8, column - 8 : column + 8] += 100
    image = Image(pixels.astype(np.uint8), Geometry.flat(*shape), Path("a"))
    marks = mark(shape, *middles)
    with pytest.raises(InputError, match=r"^20 separate marks are too many for .* 200 x 160"):
        regions_around(image, marks, np.zeros(shape, bool))


def test_marks_in_one_structure_cost_no_more_than_one(monkeypatch):
    monkeypatch.setattr(watershed, "MOST_FLOODED", 200_000)
    shape = (160, 200)
    image, inside = box_in_noise(shape)
    marks = mark(shape, *((80, 60 + 6 * n) for n in range(14)))
    found = regions_around(image, marks, np.zeros(shape, bool))
    assert (found & inside).sum() > 0.95 * inside.sum()
