"""The simulated user of training: clicks on nuclei that the network does not find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from lib.data.ignore import IGNORE
from lib.data.studies import Item
from lib.data.targets import as_instances
from lib.interactive.click_evaluation import click_on_image
from lib.interactive.predictor import ClickPredictor
from lib.interactive.training import corrected, score_clicks
from lib.io.labels import read_label
from lib.kinds import kind_of
from lib.networks import build_network
from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks.registry import TASKS
from lib.training.batches import PreparedCases

TASK = replace(
    TASKS["nuclei_click"],
    network=replace(TASKS["nuclei_click"].encoder_decoder, channels=(4, 6, 8, 8, 8)),
)


def test_training_clicks_on_nuclei_that_an_untrained_network_does_not_find(tmp_path):
    write_nuclei_studies(tmp_path, 2, 2, seed=1)
    kind = kind_of(TASK).cases
    case = kind.load(kind.list(tmp_path, TASK, True)[0], TASK)
    image, target = (part.astype(np.float32) for part in case[:2])
    torch.manual_seed(0)
    network = build_network(TASK.network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()  # answers 0.5 everywhere: one object, that no nucleus matches
    predictor = ClickPredictor(TASK, network, "cpu", "fp32")
    plans = torch.tensor([[0, 7], [2, 7]])
    images, targets = (torch.from_numpy(np.stack([part, part])) for part in (image, target))
    guidance = torch.zeros(2, 2, *image.shape[1:])
    _, _, clicked = corrected(predictor, (images, targets, guidance.clone(), plans))
    assert not clicked[0].any(), "no rounds were asked for"
    places = np.argwhere(clicked[1, 0].numpy() == 1)
    assert len(places)
    assert not clicked[1, 1].any()
    depth = target[TASK.target.answered.index("distance")]
    radius = int(TASK.click_rules.radius) + 1
    near = np.lib.stride_tricks.sliding_window_view(np.pad(depth, radius), (2 * radius + 1,) * 2)
    assert all(near[tuple(place)].max() >= 0.5 for place in places)
    _, _, again = corrected(predictor, (images, targets, guidance.clone(), plans))
    torch.testing.assert_close(again, clicked, rtol=0, atol=0)


class Watched(ClickPredictor):
    """Answers every pixel alike, `sure`, and notes the last column that a click reached."""

    sure, reached = 0.0, -1

    def decode(self, levels, guidance):
        columns = torch.nonzero(guidance.amax((0, 1, 2)))
        self.reached = max(self.reached, *columns.flatten().tolist(), -1)
        maps = (len(guidance), len(self.task.target.answered), *guidance.shape[2:])
        return torch.full(maps, self.sure)


def _partly(folder: Path) -> tuple[Item, int]:
    """Return an image whose label ignores all but the left third, and what clicks may reach."""
    write_nuclei_studies(folder, 1, 1, seed=1)
    kind = kind_of(TASK).cases
    item = kind.list(folder, TASK, True)[0]
    label = as_instances(read_label(item.label))
    edge = label.shape[1] // 3
    label[:, edge:] = IGNORE
    PillowImage.fromarray(label.astype(np.uint16)).save(item.label)
    return item, edge + int(TASK.click_rules.radius) + 1


@pytest.mark.parametrize("sure", [0.0, 1.0], ids=["nothing found", "all found"])
def test_simulated_users_leave_out_what_nobody_labelled(tmp_path, sure):
    item, limit = _partly(tmp_path)
    predictor = Watched(TASK, build_network(TASK.network), "cpu", "fp32")
    predictor.sure = sure
    case = kind_of(TASK).cases.load(item, TASK)
    image, target = (torch.from_numpy(part.astype(np.float32))[None] for part in case[:2])
    for seed in range(5):
        guidance, plan = torch.zeros(1, 2, *image.shape[2:]), torch.tensor([[2, seed]])
        _, _, clicked = corrected(predictor, (image, target, guidance, plan))
        assert clicked.any()
        assert not clicked[..., limit:].any()
    rounds = click_on_image(predictor, item, 4)
    figures = score_clicks(predictor, PreparedCases([item], TASK))
    assert len(rounds.dice) == 5 and 0 <= figures["click_dice"] <= 1
    assert 0 <= predictor.reached < limit
