"""Losses are what their names say, averaged so that processes can share a batch."""

from __future__ import annotations

import math

import pytest
import torch

from lib.errors import NotFoundError
from lib.losses import LOSSES, bce, bce_dice, dice, get_loss


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = (torch.rand(4, 1, 8, 8) > torch.tensor([0.1, 0.5, 0.8, 0.95]).view(4, 1, 1, 1)).float()
    return torch.randn(4, 1, 8, 8), target


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_half_batches_is_the_loss_of_the_whole(name):
    logits, target = _batch()
    loss = get_loss(name)
    halves = (loss(logits[:2], target[:2]) + loss(logits[2:], target[2:])) / 2
    torch.testing.assert_close(halves, loss(logits, target))


@pytest.mark.parametrize("name", LOSSES)
def test_a_right_answer_costs_nothing_and_a_wrong_one_much(name):
    _, target = _batch()
    loss, sure = get_loss(name), 40 * (2 * target - 1)
    assert loss(sure, target) < 1e-4
    assert loss(-sure, target) > 0.9


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_also_for_empty_targets(name):
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    get_loss(name)(logits, torch.zeros(2, 1, 8, 8)).backward()
    assert torch.isfinite(logits.grad).all()


def test_cross_entropy_of_an_undecided_network_is_ln_2():
    _, target = _batch()
    assert float(bce(torch.zeros_like(target), target)) == pytest.approx(math.log(2))


def test_dice_equals_the_hand_computation():
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    # p = 1/2: 2 * sum(p g) / (sum(p^2) + sum(g^2)) = 2 * 1 / (1 + 2)
    assert float(dice(torch.zeros(1, 1, 2, 2), target)) == pytest.approx(1 - 2 / 3, abs=1e-4)


def test_the_sum_has_equal_weights():
    logits, target = _batch()
    torch.testing.assert_close(bce_dice(logits, target), bce(logits, target) + dice(logits, target))


def test_an_unknown_loss_is_refused_with_the_nearest_name():
    with pytest.raises(NotFoundError, match="unknown loss 'dise': did you mean 'dice'"):
        get_loss("dise")
