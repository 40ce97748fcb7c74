"""The simulated user of training: clicks on nuclei that the network does not find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.data.targets import distance
from lib.interactive.corrections import corrected
from lib.interactive.predictor import ClickPredictor
from lib.interactive.simulated_user import inner_click, object_clicks
from lib.interactive.splitting import split_around_point
from lib.kinds import kind_of
from lib.networks import build_network
from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks.image_spec import TargetSpec
from lib.tasks.registry import TASKS

TASK = replace(
    TASKS["nuclei_click"],
    network=replace(TASKS["nuclei_click"].encoder_decoder, channels=(4, 6, 8, 8, 8)),
)


def _discs(*places: tuple[int, int, int], side: int = 64) -> np.ndarray:
    """Return discs `(row, column, radius)`, numbered from 1."""
    rows, columns = np.ogrid[:side, :side]
    label = np.zeros((side, side), dtype=np.int32)
    for number, (row, column, radius) in enumerate(places, start=1):
        label[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return label


def _depth(label: np.ndarray) -> np.ndarray:
    return distance(label, TargetSpec(maps=("distance",)))


@pytest.mark.parametrize("seed", range(5))
def test_clicks_fall_on_objects_that_were_not_found_and_on_no_other(seed):
    truth = _discs((12, 12, 8), (12, 45, 8), (45, 12, 8), (45, 45, 8))
    answer = np.where(np.isin(truth, (1, 4)), truth, 0)
    clicks = object_clicks(answer, truth, _depth(truth), 6, np.random.default_rng(seed))
    numbers = truth[tuple(clicks.T)].tolist()
    assert set(numbers) <= {2, 3}
    assert 1 <= len(numbers) == len(set(numbers))
    assert (_depth(truth)[tuple(clicks.T)] >= 0.5).all()


def test_two_in_one_are_not_found_either_but_for_the_larger():
    truth = _discs((30, 15, 11), (30, 34, 8))
    merged = (truth > 0).astype(np.int32)
    rng = np.random.default_rng(0)
    found = {
        int(truth[tuple(p)])
        for _ in range(20)
        for p in object_clicks(merged, truth, _depth(truth), 3, rng)
    }
    assert found == {2}  # the larger one fills more than half of what was answered


def test_where_all_is_found_there_is_no_click():
    truth = _discs((12, 12, 8), (40, 40, 9))
    assert object_clicks(truth, truth, _depth(truth), 3, np.random.default_rng(0)).shape == (0, 2)


def test_a_user_clicks_anywhere_but_near_the_outline():
    disc = _discs((32, 32, 20)) > 0
    depth = _depth(disc.astype(np.int32))
    rng = np.random.default_rng(0)
    points = np.array([inner_click(depth, rng) for _ in range(200)])
    away = np.hypot(*(points - 32).T)
    assert away.max() <= 11
    assert away.max() > 8  # not the middle only


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


def test_what_is_around_a_point_is_parted_where_it_is_off_the_middle():
    objects = (_discs((32, 14, 9), (32, 38, 15)) > 0).astype(np.int32)
    small = _discs((32, 14, 9)) > 0
    parted = split_around_point(objects.copy(), (32, 14), 0.6)
    own = parted == parted[32, 14]
    assert parted.max() == 2
    assert (own & small).sum() / (own | small).sum() > 0.85
    assert ((parted > 0) == (objects > 0)).all()


def test_what_is_clicked_in_its_middle_stays_whole():
    objects = (_discs((32, 32, 12)) > 0).astype(np.int32)
    assert (split_around_point(objects.copy(), (33, 31), 0.6) == objects).all()
    assert not split_around_point(np.zeros((8, 8), np.int32), (4, 4), 0.6).any()


def test_a_ball_in_a_volume_is_parted_as_a_disc_is():
    z, y, x = np.ogrid[:24, :24, :48]
    small = (z - 12) ** 2 + (y - 12) ** 2 + (x - 10) ** 2 <= 36
    large = (z - 12) ** 2 + (y - 12) ** 2 + (x - 26) ** 2 <= 110
    objects = (small | large).astype(np.int32)
    own = split_around_point(objects, (12, 12, 10), 0.6)
    assert own[12, 12, 10] != own[12, 12, 30]
