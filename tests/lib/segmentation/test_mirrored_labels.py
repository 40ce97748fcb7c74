"""A label on a mirrored grid trains and scores as the same label on the grid of its image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.active_learning.review import review
from lib.data.studies import Item, list_items
from lib.image import Geometry
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.kinds import kind_of
from lib.segmentation.evaluation import evaluate
from lib.segmentation.predictor import Prediction
from lib.tasks.registry import TASKS
from lib.weights.backends import Backend

ROWS, COLUMNS = 40, 56
TASK = TASKS["nuclei_vhllrhe"]
MIRRORED = Geometry(
    (COLUMNS, ROWS, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)
)
STRAIGHT = replace(
    MIRRORED, origin=(1.0 - COLUMNS, 1.0 - ROWS, 0.0), direction=Geometry.flat(1, 1, 1).direction
)


class Bright:
    """Answers the brighter half of the image."""

    task, device, dtype, flips = TASK, "cpu", "torch.float32", False
    backend = Backend()

    def __call__(self, image, instances=True, flips=None):
        mask = (image.pixels > 100).astype(np.uint8)
        return Prediction(
            probabilities=mask[np.newaxis].astype(np.float32),
            mask=mask,
            instances=mask.astype(np.int32),
            seconds={"infer": 0.1},
        )


@pytest.fixture
def twins(tmp_path) -> list[Item]:
    """One image with its label on the same grid, and with that on the mirrored one."""
    label = np.zeros((ROWS, COLUMNS), np.int32)
    label[3:20, 5:18] = 1
    found = []
    for name, pixels, grid, kind in (
        ("same", label, MIRRORED, ".nii.gz"),
        ("mirrored", label[::-1, ::-1], STRAIGHT, ".nrrd"),
    ):
        folder: Path = tmp_path / name
        (folder / "labels" / "final").mkdir(parents=True)
        write_mask(folder / "cell.nii.gz", 20 + 180 * label, MIRRORED)
        write_mask(folder / "labels" / "final" / f"cell{kind}", pixels, grid)
        found += list_items(folder)
    return found


def test_both_give_the_same_targets_for_training(twins):
    same, mirrored = (kind_of(TASK).cases.load(item, TASK) for item in twins)
    for one, other in zip(same, mirrored, strict=True):
        np.testing.assert_array_equal(one, other)
    assert same[1].any()


def test_both_give_the_same_figures(twins):
    assert (read_image(twins[0].image).pixels > 100).any()
    for item in twins:
        assert evaluate(Bright(), [item]).pooled["fg_dice"] == 1.0
        assert review("dice", kind_of(TASK).reviews, Bright(), [item])[0]["dice"] == 1.0
