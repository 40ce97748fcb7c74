"""What training asks of interactive segmentation: corrected batches, and figures of cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lib.data.case import Cases, Figures
from lib.distributed import over_processes, own_indices
from lib.interactive.clicks import Clicks
from lib.interactive.corrections import corrected
from lib.interactive.predictor import ClickPredictor
from lib.interactive.simulated_user import next_click
from lib.segmentation.metrics import dice
from lib.segmentation.scoring import SEGMENTATION_SCORING, answered_mask, score_masks


def score_clicks(predictor: ClickPredictor, cases: Cases) -> Figures:
    """Return the figures of answers without clicks, Dice after each click, and ``click_dice``.

    The last is the mean Dice of foreground over all cases and over the answers after 0, 1, ... and
    ``validated`` clicks of the spec. Where there is no foreground and none is answered Dice is 1.
    """
    rules, answered = predictor.task.click_rules, predictor.task.target.answered
    table = torch.zeros((len(cases), rules.validated + 1), dtype=torch.float64)
    for index in own_indices(len(cases)):
        image, target = cases[index]
        session, clicks = predictor.open(image.astype(np.float32)), Clicks()
        for count in range(rules.validated + 1):
            maps = session.probabilities(clicks)
            mask, _ = answered_mask(maps, answered, predictor.task.output)
            table[index, count] = dice(mask, target[0])
            click = next_click(np.concatenate((mask[np.newaxis], maps[1:])), target, answered)
            if click:
                clicks = clicks.with_one(*click)
    by_clicks = over_processes(table).numpy().mean(axis=0)
    figures = {f"dice_{n}_clicks": float(value) for n, value in enumerate(by_clicks)}
    return {**score_masks(predictor, cases), **figures, "click_dice": float(by_clicks.mean())}


CLICK_SCORING = replace(SEGMENTATION_SCORING, score=score_clicks, complete=corrected)
