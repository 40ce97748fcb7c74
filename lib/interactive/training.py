"""What training asks of interactive segmentation: patches with clicks, corrections, and figures.

A simulated user clicks first, and then corrects the network's present answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from lib.data.case import Batch, Cases, Figures, HeldCase
from lib.data.ignore import UNKNOWN, labelled_objects
from lib.data.shade import sent
from lib.distributed import over_processes, own_indices
from lib.interactive.clicks import Clicks, click_maps
from lib.interactive.predictor import ClickPredictor
from lib.interactive.simulated_user import first_clicks, next_click, object_clicks
from lib.segmentation.instances import separate
from lib.segmentation.metrics import dice
from lib.segmentation.scoring import answered_mask, score_masks
from lib.segmentation.training import (
    SEGMENTATION_CASES,
    SEGMENTATION_SCORING,
    draw_training_patches,
    one_mask,
)
from lib.tasks.spec import TaskSpec


def draw_clicked(
    cases: Sequence[HeldCase], task: TaskSpec, rngs: Sequence[np.random.Generator]
) -> Batch:
    """Draw patches with their first clicks.

    The simulated user looks for the depth inside structures, which is found on the host: the drawn
    targets go there, once for each batch.

    Returns:
        Images and targets `(N, maps, *patch)`, click maps `(N, 2, *patch)`, and on the host int
        `(N, 2)`: the rounds of corrections and their seed, see `corrected`.
    """
    images, targets = draw_training_patches(cases, task, rngs)
    spec, maps, plans = task.click_rules, [], []
    for target, rng in zip(targets.cpu().numpy(), rngs, strict=True):
        clicks = Clicks()
        if rng.random() >= spec.automatic:
            clicks = first_clicks(target, spec, rng)
        rounds = min(spec.corrections, int(rng.geometric(0.5)) - 1)
        plans.append([rounds, int(rng.integers(2**31))])
        maps.append(click_maps(clicks, target.shape[1:], spec.radius))
    return images, targets, sent(maps, images.device), torch.tensor(plans)


def corrected(predictor: ClickPredictor, batch: Batch) -> Batch:
    """Return images, targets and click maps that include corrections of the present answers.

    Args:
        batch: images and targets `(N, channels, *spatial)`, click maps `(N, 2, *spatial)`, and on
            the host int `(N, 2)`: the number of correction rounds, and the seed of their random
            points.
    """
    images, targets, guidance, plans = batch
    rounds = plans[:, 0]
    if not rounds.any():
        return images, targets, guidance
    levels = predictor.encode(images)
    users = [
        _User(predictor, target, int(seed))
        for target, seed in zip(targets.cpu().numpy(), plans[:, 1], strict=True)
    ]
    for done in range(int(rounds.max())):
        rows = torch.nonzero(rounds > done)[:, 0]
        chosen = [level[rows.to(level.device)] for level in levels]
        answers = predictor.decode(chosen, guidance[rows.to(guidance.device)]).cpu().numpy()
        clicked = [
            click_maps(
                users[row].clicks(answer), answer.shape[1:], predictor.task.click_rules.radius
            )
            for row, answer in zip(rows.tolist(), answers, strict=True)
        ]
        for row, maps in zip(rows.tolist(), sent(clicked, guidance.device), strict=True):
            guidance[row] = torch.maximum(guidance[row], maps)
    return images, targets, guidance


class _User:
    """Corrects the answers to one patch.

    If objects are separated by an answered distance map, the user first clicks objects that no
    answered one matches. Otherwise, or when all objects are found, the user clicks where the answer
    is most wrong.
    """

    def __init__(self, predictor: ClickPredictor, target: np.ndarray, seed: int) -> None:
        self.predictor, self.target = predictor, target
        self.answered = predictor.task.target.answered
        self._random = np.random.default_rng(seed)

    def clicks(self, answer: np.ndarray) -> Clicks:
        """Return one round of clicks on an answer `(maps, *spatial)`; none if it is right."""
        task = self.predictor.task
        if task.output.separation == "distance":
            depth = self.target[self.answered.index("distance")]
            objects = self.predictor.predict(answer).instances
            assert objects is not None
            objects = labelled_objects(objects, self.target[0] != UNKNOWN)
            points = object_clicks(
                objects, self._truth, depth, task.click_rules.objects, self._random
            )
            if len(points):
                return Clicks(points)
        click = next_click(answer, self.target, self.answered)
        return Clicks().with_one(*click) if click else Clicks()

    @cached_property
    def _truth(self) -> np.ndarray:
        depth = self.target[self.answered.index("distance")]
        whole = (self.target[0] >= 0.5) & (depth != UNKNOWN)
        return separate(whole, self.predictor.task.output, np.maximum(depth, 0))


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
            table[index, count] = dice(mask, target[0], target[0] != UNKNOWN)
            click = next_click(np.concatenate((mask[np.newaxis], maps[1:])), target, answered)
            if click:
                clicks = clicks.with_one(*click)
    by_clicks = over_processes(table).numpy().mean(axis=0)
    figures = {f"dice_{n}_clicks": float(value) for n, value in enumerate(by_clicks)}
    return {**score_masks(predictor, cases), **figures, "click_dice": float(by_clicks.mean())}


def one_mask_after_clicks(task: TaskSpec, step: int, scores: Figures) -> str:
    """Return a warning of the collapse to one mask, which no click changes."""
    last = scores[f"dice_{task.click_rules.validated}_clicks"]
    return one_mask(task, step, scores) if last <= scores["dice_0_clicks"] else ""


CLICK_CASES = replace(SEGMENTATION_CASES, draw=draw_clicked)
CLICK_SCORING = replace(
    SEGMENTATION_SCORING, score=score_clicks, collapsed=one_mask_after_clicks, complete=corrected
)
