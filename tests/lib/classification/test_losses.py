"""Losses of classifiers: golden values, order of classes, weights; and the plateau schedule."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.classification.losses import CLASS_LOSSES, class_weights, get_class_loss
from lib.errors import InputError
from lib.tasks.training_spec import TrainingSpec
from lib.training.optimizers import build_optimizer, build_scheduler

RECIPE = TrainingSpec(loss="cross_entropy")


def _loss(name: str, logits: list[float], truth: int, **recipe) -> float:
    loss = get_class_loss(replace(RECIPE, loss=name, **recipe), len(logits))
    return float(loss(torch.tensor([logits]), torch.tensor([truth])))


def test_cross_entropy_is_that_of_torch():
    torch.manual_seed(0)
    logits, truth = torch.randn(7, 4), torch.randint(4, (7,))
    for share in (0.0, 0.1):
        wanted = nn.functional.cross_entropy(logits, truth, label_smoothing=share)
        found = get_class_loss(replace(RECIPE, label_smoothing=share), 4)(logits, truth)
        torch.testing.assert_close(found, wanted)


def test_the_squared_distance_of_an_even_answer_has_its_value():
    # cumulated 1/4 1/2 3/4 1 against 0 1 1 1
    assert _loss("squared_emd", [0.0] * 4, 1) == pytest.approx(1 / 16 + 1 / 4 + 1 / 16)


@pytest.mark.parametrize("name", ["squared_emd", "cross_entropy_emd"])
def test_a_class_two_steps_off_costs_more_than_the_next_one(name):
    near, far = (_loss(name, [9.0 * (n == place) for n in range(4)], 0) for place in (1, 3))
    assert far > near + 1
    assert _loss(name, [30.0, 0.0, 0.0, 0.0], 0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_every_loss_leads_to_the_truth(name):
    torch.manual_seed(0)
    logits = torch.zeros(5, 4, requires_grad=True)
    truth = torch.tensor([0, 1, 2, 3, 1])
    loss = get_class_loss(replace(RECIPE, loss=name), 4)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(loss(logits, truth), logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
    assert logits.argmax(1).tolist() == truth.tolist()


def test_balanced_weights_make_the_classes_weigh_alike():
    places = [0, 0, 0, 1]
    weights = class_weights(places, 2)
    assert weights == (4 / 6, 4 / 2)
    assert sum(weights[place] for place in places) == pytest.approx(len(places))
    loss = get_class_loss(RECIPE, 2, weights)
    even = loss(torch.zeros(4, 2), torch.tensor(places))
    assert float(even) == pytest.approx(math.log(2))


def test_a_class_without_cases_leaves_the_others_their_balance():
    assert class_weights([0, 2, 2, 2], 3) == (4 / 2, 1.0, 4 / 6)


def test_impossible_losses_are_refused():
    with pytest.raises(InputError, match="unknown loss 'cross_entropi': did you mean 'cross_ent"):
        get_class_loss(replace(RECIPE, loss="cross_entropi"), 2)
    with pytest.raises(InputError, match=r"label_smoothing must lie in 0\.\.1, found 1"):
        get_class_loss(replace(RECIPE, label_smoothing=1.0), 2)


def _plateau(patience: int = 2):
    recipe = TrainingSpec(
        optimizer="plain_sgd", learning_rate=0.1, schedule="plateau", plateau_patience=patience
    )
    optimizer = build_optimizer(nn.Linear(1, 1), recipe)
    return optimizer, build_scheduler(optimizer, recipe, 100)


def _rates(optimizer, scheduler, losses) -> list[float]:
    found = []
    for loss in losses:
        optimizer.step()
        scheduler.step(loss)
        found.append(round(scheduler.get_last_lr()[0], 6))
    return found


def test_the_rate_is_a_tenth_after_the_loss_has_not_fallen_for_so_long():
    assert _rates(*_plateau(), [1.0, 0.9, 0.9, 0.95, 0.91, 0.5, 0.6, 0.6, 0.6]) == [
        *(0.1, 0.1, 0.1, 0.1),
        *(0.01, 0.01, 0.01, 0.01),
        0.001,
    ]


def test_an_interrupted_schedule_goes_on_where_it_was():
    losses = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    whole = _rates(*_plateau(), losses)
    optimizer, scheduler = _plateau()
    _rates(optimizer, scheduler, losses[:3])
    resumed, again = _plateau()
    resumed.load_state_dict(optimizer.state_dict())
    again.load_state_dict(scheduler.state_dict())
    assert _rates(resumed, again, losses[3:]) == whole[3:]


def test_the_slides_optimiser_has_no_momentum():
    optimizer, _ = _plateau()
    assert (optimizer.defaults["momentum"], optimizer.defaults["lr"]) == (0, 0.1)
