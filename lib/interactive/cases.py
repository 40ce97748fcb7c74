"""Cases of interactive segmentation: patches with clicks."""

from __future__ import annotations

import numpy as np

from lib.data.case import Case
from lib.interactive.clicks import Clicks, click_maps
from lib.interactive.simulated_user import first_clicks
from lib.segmentation.cases import draw_training_patch
from lib.tasks.spec import TaskSpec


def draw_clicked(case: Case, task: TaskSpec, rng: np.random.Generator) -> Case:
    """Draw a patch, its first clicks as maps, and for its corrections their rounds and a seed."""
    image, target = draw_training_patch(case, task, rng)
    spec, clicks = task.click_rules, Clicks()
    if rng.random() >= spec.automatic:
        clicks = first_clicks(target, spec, rng)
    rounds = min(spec.corrections, int(rng.geometric(0.5)) - 1)
    plan = np.array([rounds, rng.integers(2**31)])
    return image, target, click_maps(clicks, target.shape[1:], spec.radius), plan
