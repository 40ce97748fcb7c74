"""Training with clicks: a simulated user corrects what the network answers at that time."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from lib.data.case import Batch
from lib.interactive.clicks import Clicks, click_maps, next_click, object_clicks
from lib.interactive.predictor import ClickPredictor
from lib.segmentation.instances import separate


def corrected(predictor: ClickPredictor, batch: Batch) -> Batch:
    """Return a batch whose clicks include corrections of the network's present answers.

    Args:
        batch: images and targets `(N, channels, *spatial)`, click maps, and int `(N, 2)`: rounds of
            corrections, and a seed for their places.

    Returns:
        Images, targets, click maps.
    """
    images, targets, guidance, plans = batch
    rounds = plans[:, 0]
    levels = predictor.encode(images) if rounds.any() else []
    users = [
        _User(predictor, target.numpy(), int(seed))
        for target, seed in zip(targets, plans[:, 1], strict=True)
    ]
    for done in range(int(rounds.max())):
        places = torch.nonzero(rounds > done)[:, 0]
        own = [level[places.to(level.device)] for level in levels]
        answers = predictor.decode(own, guidance[places]).cpu().numpy()
        for place, answer in zip(places.tolist(), answers, strict=True):
            drawn = click_maps(
                users[place].clicks(answer), answer.shape[1:], predictor.task.click_rules.radius
            )
            guidance[place] = torch.maximum(guidance[place], torch.from_numpy(drawn))
    return images, targets, guidance


class _User:
    """Corrects the answers to one patch.

    Where objects are told apart by their answered depth, first those that no answered one matches;
    else, and where all are found, where the answer is most wrong.
    """

    def __init__(self, predictor: ClickPredictor, target: np.ndarray, seed: int) -> None:
        self.predictor, self.target = predictor, target
        self.answered = predictor.task.target.answered
        self._random = np.random.default_rng(seed)

    def clicks(self, answer: np.ndarray) -> Clicks:
        """Return the clicks of a round on an answer `(maps, *spatial)`; none if it is right."""
        task = self.predictor.task
        if task.output.separation == "distance":
            depth = self.target[self.answered.index("distance")]
            _, objects, _ = self.predictor.objects(answer)
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
