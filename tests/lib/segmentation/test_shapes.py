"""Figures of outlines: distances and circumferences that a hand can check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.image import Geometry, Image
from lib.segmentation.ellipse import circumference, filled_ellipse
from lib.segmentation.instances import foreground_mask
from lib.segmentation.metrics import dice
from lib.segmentation.shapes import hausdorff, pool_shapes, shape_figures, shape_lines
from lib.tasks.image_spec import OutputSpec
from lib.tasks.registry import TASKS

HEAD, NERVE = TASKS["fetal_head"], TASKS["nerve"]


def _ellipse(shape, centre, half_axes) -> np.ndarray:
    rows, columns = np.indices(shape)
    parts = [
        (place - middle) / half
        for place, middle, half in zip((rows, columns), centre, half_axes, strict=True)
    ]
    return parts[0] ** 2 + parts[1] ** 2 <= 1


def _image(shape, pixel_mm: float) -> Image:
    flat = Geometry.flat(*shape)
    pixels = np.zeros(shape, np.uint8)
    return Image(pixels, replace(flat, spacing=(pixel_mm,) * 2), Path("frame.png"))


@pytest.mark.parametrize("spacing", [1.0, 0.25])
def test_circumference_of_a_circle_and_of_an_ellipse(spacing):
    circle = _ellipse((200, 220), (100, 110), (80, 80))
    assert circumference(circle, (spacing,) * 2) == pytest.approx(160 * np.pi * spacing, rel=2e-3)
    # Ramanujan's second approximation, which is right to 1e-5 at this ratio
    a, b = 90.0, 60.0
    h = ((a - b) / (a + b)) ** 2
    expected = np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    found = circumference(_ellipse((200, 220), (100, 110), (60, 90)), (spacing,) * 2)
    assert found == pytest.approx(expected * spacing, rel=2e-3)
    assert circumference(np.zeros((4, 4), bool)) == circumference(np.eye(1, 5, dtype=bool)) == 0


def test_hausdorff_distance_is_that_of_the_farthest_point_of_either_outline():
    found, expected = np.zeros((2, 40, 50), bool)
    found[10:20, 10:20] = expected[10:20, 10:20] = True
    assert hausdorff(found, expected, (1.0, 1.0)) == (0, 0)
    found[10:20, 20:27] = True  # seven columns too many
    assert hausdorff(found, expected, (1.0, 1.0)) == hausdorff(expected, found, (1.0, 1.0))
    assert hausdorff(found, expected, (1.0, 1.0))[0] == 7
    assert hausdorff(found, expected, (2.0, 0.5))[0] == 3.5
    expected[10:20, 10:20] = False
    expected[12:22, 10:27] = True
    assert hausdorff(found, expected, (3.0, 1.0))[0] == 6


def test_figures_are_in_millimetres_where_the_file_tells_the_size_of_a_pixel():
    shape, all_of_it = (120, 140), np.ones((120, 140), bool)
    truth, found = (_ellipse(shape, (60, 70), (r, 1.3 * r)).astype(int) for r in (40, 44))
    row = shape_figures(found, truth, HEAD, _image(shape, 0.5), all_of_it)["head"]
    assert row["unit"] == "mm" and row["shown"]
    assert row["dice"] == pytest.approx(2 * truth.sum() / (truth.sum() + found.sum()))
    assert row["hausdorff"] == pytest.approx(0.5 * 1.3 * 4, abs=0.5)
    grown = row["circumference"] / row["expected_circumference"]
    assert grown == pytest.approx(1.1, abs=0.01)
    assert shape_figures(found, truth, HEAD, _image(shape, 1.0), all_of_it)["head"]["unit"] == (
        "pixels"
    )
    missed = shape_figures(0 * found, truth, HEAD, _image(shape, 0.5), all_of_it)["head"]
    assert missed == {"dice": 0, "shown": True}


def test_each_structure_has_its_own_figures():
    truth = np.zeros((30, 30), int)
    truth[5:10, 5:10], truth[20:25, 20:25] = 1, 2
    found = np.where(truth == 1, 1, 0)
    rows = shape_figures(found, truth, NERVE, _image((30, 30), 1.0), np.ones((30, 30), bool))
    assert rows["nerve"]["dice"] == 1 and rows["nerve"]["hausdorff"] == 0
    assert rows["vessel"] == {"dice": 0, "shown": True}
    assert "circumference" not in rows["nerve"]


def test_means_are_over_the_images_that_show_a_structure_and_intervals_over_groups():
    def row(dice, group, shown=True):
        return {"group": group, "structures": {"nerve": {"dice": dice, "shown": shown}}}

    rows = [row(1.0, "a"), row(1.0, "a"), row(0.0, "b"), row(0.0, "c", shown=False)]
    pooled = pool_shapes(rows, seed=0)["nerve"]
    assert pooled["images"] == 3 and pooled["dice"] == pytest.approx(2 / 3)
    assert pooled["intervals"]["dice"] == (0.0, 1.0), "two groups are all there is to draw"
    assert shape_lines({"nerve": pooled}) == ["nerve in 3 images: Dice 0.6667 (0..1)"]
    assert pool_shapes([row(0.0, "a", shown=False)], seed=0) == {}


def test_circumferences_are_compared_with_their_sign():
    def row(found, expected):
        part = {"dice": 0.9, "shown": True, "unit": "mm", "hausdorff": 2.0, "hausdorff95": 1.0}
        part |= {"circumference": found, "expected_circumference": expected}
        return {"group": str(found), "structures": {"head": part}}

    pooled = pool_shapes([row(101.0, 100.0), row(97.0, 100.0)], seed=0)["head"]
    assert pooled["circumference_absolute_error"] == 2 and pooled["circumference_error"] == -1
    assert pooled["measured"] == 2 and pooled["hausdorff"] == 2
    assert "circumference off by 2 (1..3) mm" in shape_lines({"head": pooled})[0]


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.2, 2.5])
def test_a_head_with_a_ragged_outline_becomes_its_ellipse(turn):
    down, across = np.mgrid[:120, :160].astype(float)
    down, across = down - 61.3, across - 78.6
    along = (down * np.cos(turn) + across * np.sin(turn)) / 50
    beside = (down * np.sin(turn) - across * np.cos(turn)) / 31
    truth = along**2 + beside**2 <= 1
    ragged = truth & (np.random.default_rng(3).random(truth.shape) < 0.9)
    ragged[np.abs(along - 0.9) < 0.05] = False  # a notch
    found = filled_ellipse(ragged)
    assert dice(found, truth) > 0.975 > dice(ragged, truth)


def test_what_is_no_ellipse_stays_as_it_is():
    for mask in (np.zeros((20, 20), bool), np.eye(20, dtype=bool)):
        assert filled_ellipse(mask) is mask
    corner = np.zeros((60, 60), bool)
    corner[5:55, 5:15] = corner[45:55, 5:55] = True
    assert filled_ellipse(corner) is corner
    dot = np.zeros((9, 9), bool)
    dot[4, 4] = True
    assert filled_ellipse(dot) is dot


def test_the_answer_of_a_task_of_ellipses_is_one_and_that_of_others_is_not():
    probability = np.zeros((64, 64), np.float32)
    probability[12:52, 20:44] = 1
    square = OutputSpec(keep="largest")
    assert foreground_mask(probability, square).sum() == 40 * 24
    filled = foreground_mask(probability, replace(square, shape="ellipse"))
    assert filled[32, 32] and filled[10, 32] and not filled[12, 20]
