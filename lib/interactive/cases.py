"""Cases for interactive segmentation: patches with clicks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.data.case import Case
from lib.interactive.clicks import Clicks, click_maps
from lib.interactive.simulated_user import first_clicks
from lib.segmentation.cases import SEGMENTATION_CASES, draw_training_patch
from lib.tasks.spec import TaskSpec


def draw_clicked(case: Case, task: TaskSpec, rng: np.random.Generator) -> Case:
    """Draw a patch with its first clicks.

    Returns:
        Image and target `(maps, *patch)`, click maps `(2, *patch)`, and int `(2)`: the rounds of
        corrections and their seed, see `lib.interactive.corrections`.
    """
    image, target = draw_training_patch(case, task, rng)
    spec, clicks = task.click_rules, Clicks()
    if rng.random() >= spec.automatic:
        clicks = first_clicks(target, spec, rng)
    rounds = min(spec.corrections, int(rng.geometric(0.5)) - 1)
    plan = np.array([rounds, rng.integers(2**31)])
    return image, target, click_maps(clicks, target.shape[1:], spec.radius), plan


CLICK_CASES = replace(SEGMENTATION_CASES, draw=draw_clicked)
