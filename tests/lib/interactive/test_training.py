"""The simulated user of training: clicks on nuclei that the network does not find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lib.interactive.predictor import ClickPredictor
from lib.interactive.training import corrected
from lib.kinds import kind_of
from lib.networks import build_network
from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks.registry import TASKS

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
