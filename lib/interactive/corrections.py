"""Training with clicks: a simulated user corrects the network's present answers."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from lib.data.case import Batch
from lib.interactive.clicks import Clicks, click_maps
from lib.interactive.predictor import ClickPredictor
from lib.interactive.simulated_user import next_click, object_clicks
from lib.segmentation.instances import separate


def corrected(predictor: ClickPredictor, batch: Batch) -> Batch:
    """Return a batch whose click maps include corrections of the network's present answers.

    Args:
        batch: images and targets `(N, channels, *spatial)`, click maps `(N, 2, *spatial)`, and int
            `(N, 2)`: the number of correction rounds, and the seed of their random points.

    Returns:
        Images, targets and click maps.
    """
    images, targets, guidance, plans = batch
    rounds = plans[:, 0]
    levels = predictor.encode(images) if rounds.any() else []
    users = [
        _User(predictor, target.numpy(), int(seed))
        for target, seed in zip(targets, plans[:, 1], strict=True)
    ]
    for done in range(int(rounds.max())):
        rows = torch.nonzero(rounds > done)[:, 0]
        chosen = [level[rows.to(level.device)] for level in levels]
        answers = predictor.decode(chosen, guidance[rows]).cpu().numpy()
        for row, answer in zip(rows.tolist(), answers, strict=True):
            maps = click_maps(
                users[row].clicks(answer), answer.shape[1:], predictor.task.click_rules.radius
            )
            guidance[row] = torch.maximum(guidance[row], torch.from_numpy(maps))
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
        return separate(self.target[0] >= 0.5, self.predictor.task.output, depth)
