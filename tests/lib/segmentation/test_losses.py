"""Losses are what their names say, averaged so that processes can share a batch."""

from __future__ import annotations

import math

import pytest
import torch

from lib.errors import InputError, NotFoundError
from lib.segmentation.losses import LOSSES, bce, bce_dice, dice, get_loss

EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)
WEIGHTED = ("foreground", "border_weight")
WITH_DISTANCE = ("foreground", "distance")


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = (torch.rand(4, 1, 8, 8) > torch.tensor([0.1, 0.5, 0.8, 0.95]).view(4, 1, 1, 1)).float()
    return torch.randn(4, 1, 8, 8), target


def _ready(name: str, target: torch.Tensor):
    """Return the loss called `name`, and the target with the maps that it needs."""
    if name != "border_weighted_bce":
        return get_loss(name), target
    weight = 1 + 10 * torch.rand(target.shape, generator=torch.Generator().manual_seed(1))
    return get_loss(name, WEIGHTED), torch.cat((target, weight), dim=1)


@EVERY_LOSS
def test_the_mean_over_half_batches_is_the_loss_of_the_whole(name):
    logits, target = _batch()
    loss, target = _ready(name, target)
    halves = (loss(logits[:2], target[:2]) + loss(logits[2:], target[2:])) / 2
    torch.testing.assert_close(halves, loss(logits, target))


@EVERY_LOSS
def test_a_right_answer_costs_nothing_and_a_wrong_one_much(name):
    _, binary = _batch()
    sure = 40 * (2 * binary - 1)
    loss, target = _ready(name, binary)
    assert loss(sure, target) < 1e-4
    assert loss(-sure, target) > 0.9


@EVERY_LOSS
def test_gradients_are_finite_also_for_empty_targets(name):
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    loss, target = _ready(name, torch.zeros(2, 1, 8, 8))
    loss(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


@EVERY_LOSS
@pytest.mark.parametrize(
    ("shape", "answered"), [((10, 14), (4, 8)), ((9, 9), (5, 9)), ((6, 8, 8), (2, 4, 8))]
)
def test_an_answer_without_padding_is_compared_with_the_middle_of_the_target(name, shape, answered):
    torch.manual_seed(0)
    loss, target = _ready(name, (torch.rand(2, 1, *shape) > 0.5).float())
    logits = torch.randn(2, 1, *answered)
    index = [slice((n - m) // 2, (n + m) // 2) for n, m in zip(shape, answered, strict=True)]
    middle = target[(slice(None), slice(None), *index)]
    torch.testing.assert_close(loss(logits, target), loss(logits, middle), rtol=0, atol=0)
    assert loss(logits, target) != loss(logits, target.flip(tuple(range(2, target.ndim))))


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


def test_cross_entropy_of_several_maps_is_their_sum():
    logits, target = _batch()
    both = bce(torch.cat((logits, -logits), 1), torch.cat((target, target), 1))
    torch.testing.assert_close(both, bce(logits, target) + bce(-logits, target))


def test_cross_entropy_of_a_map_of_fractions_is_least_at_equality():
    fraction = torch.tensor([0.1, 0.3, 0.7, 0.95]).view(1, 1, 2, 2)
    least = bce(torch.logit(fraction), fraction)
    for change in (-0.5, -0.1, 0.1, 0.5):
        assert bce(torch.logit(fraction) + change, fraction) > least


def test_dice_ignores_maps_that_are_not_binary():
    logits, target = _batch()
    torch.manual_seed(1)
    two = torch.cat((logits, torch.randn_like(logits)), 1)
    truth = torch.cat((target, torch.rand_like(target)), 1)
    found = get_loss("dice", WITH_DISTANCE)(two, truth)
    torch.testing.assert_close(found, dice(logits, target))
    summed = get_loss("bce_dice", WITH_DISTANCE)(two, truth)
    torch.testing.assert_close(summed, bce(two, truth) + found)


def test_dice_of_two_binary_maps_is_their_mean():
    logits, target = _batch()
    two, truth = torch.cat((logits, -logits), 1), torch.cat((target, target), 1)
    found = get_loss("dice", ("foreground", "border"))(two, truth)
    torch.testing.assert_close(found, (dice(logits, target) + dice(-logits, target)) / 2)


def test_border_weighted_cross_entropy_equals_the_hand_computation():
    logits = torch.tensor([0.0, 2.0, -1.0, 3.0]).view(1, 1, 2, 2)
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    weight = torch.tensor([1.0, 1.0, 11.0, 4.0]).view(1, 1, 2, 2)
    terms = (math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), 3.048587)
    wanted = (terms[0] + terms[1] + 11 * terms[2] + 4 * terms[3]) / 4
    found = get_loss("border_weighted_bce", WEIGHTED)(logits, torch.cat((target, weight), 1))
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_with_equal_weights_it_is_plain_cross_entropy_and_the_map_is_found_by_its_name():
    logits, target = _batch()
    two, truth = torch.cat((logits, -logits), 1), torch.cat((target, target), 1)
    loss = get_loss("border_weighted_bce", ("foreground", "border", "border_weight"))
    ones = torch.ones_like(target)
    torch.testing.assert_close(loss(two, torch.cat((truth, ones), 1)), bce(two, truth))
    torch.testing.assert_close(loss(two, torch.cat((truth, 3 * ones), 1)), 3 * bce(two, truth))


@EVERY_LOSS
def test_losses_that_need_no_weight_ignore_it(name):
    logits, target = _batch()
    if name != "border_weighted_bce":
        weighted = torch.cat((target, 9 * torch.ones_like(target)), 1)
        torch.testing.assert_close(
            get_loss(name, WEIGHTED)(logits, weighted), get_loss(name)(logits, target)
        )


def test_a_loss_without_its_map_is_refused():
    with pytest.raises(InputError, match="needs the target map border_weight, found foreground, d"):
        get_loss("border_weighted_bce", WITH_DISTANCE)


def test_an_unknown_loss_is_refused_with_the_nearest_name():
    with pytest.raises(NotFoundError, match="unknown loss 'dise': did you mean 'dice'"):
        get_loss("dise")


def test_dice_of_structures_counts_each_and_not_their_presence():
    logits, target = _batch()
    four = torch.cat((logits, -logits, 2 * logits, torch.full_like(logits, 3.0)), 1)
    truth = torch.cat((target, target, 1 - target, torch.ones_like(target)), 1)
    found = get_loss("dice", ("foreground", "label_1", "label_2", "presence"))(four, truth)
    parts = [dice(four[:, n : n + 1], truth[:, n : n + 1]) for n in range(3)]
    torch.testing.assert_close(found, sum(parts) / 3)


def test_presence_is_weighed_as_one_map_in_cross_entropy():
    logits, target = _batch()
    sure = torch.full_like(logits, 2.0)
    both = torch.cat((logits, sure), 1), torch.cat((target, torch.ones_like(target)), 1)
    found = get_loss("bce_dice", ("foreground", "presence"))(*both)
    alone = get_loss("bce_dice")(logits, target)
    assert float(found - alone) == pytest.approx(math.log1p(math.exp(-2)), rel=1e-4)
