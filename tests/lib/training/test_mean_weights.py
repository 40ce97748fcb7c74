"""Weights with the same start are averaged; those of other networks are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib.data.studies import split_items
from lib.errors import InputError
from lib.networks import build_network
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.training.batches import PreparedCases
from lib.training.mean_weights import average, figures_of, measured
from lib.weights.checkpoint import Checkpoint, load_checkpoint, load_network
from lib.weights.familiarity import KEY

TASK = get_task("nuclei_vhllrhe")


def _checkpoint(seed: int, **provenance: object) -> Checkpoint:
    torch.manual_seed(seed)
    state = build_network(TASK.network).state_dict()
    return Checkpoint(
        task=TASK.name, spec=TASK.as_dict(), weights=state, provenance={"seed": seed, **provenance}
    )


def test_each_weight_is_the_weighted_mean_and_the_origin_of_each_is_kept():
    one, other = _checkpoint(1, data="a"), _checkpoint(2, data="b")
    found = average(TASK, [one, other], [1, 3])
    for name, weight in found.weights.items():
        expected = 0.25 * one.weights[name] + 0.75 * other.weights[name]
        torch.testing.assert_close(weight, expected.to(weight.dtype), msg=name)
    told = [(row["seed"], row["data"], row["share"]) for row in found.provenance["averaged"]]
    assert told == [(1, "a", 0.25), (2, "b", 0.75)]
    assert not found.metrics and found.provenance["created"]
    load_network(TASK, found)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([{"never_flipped": (0,)}, {"never_flipped": (0, 1)}], [(), (3,)]),
        ([{"flip_depth": False}, {}], [(), (1,), (3,), (1, 3)]),  # of before never_flipped
        ([{"flips": False}, {}], [()]),
    ],
)
def test_an_average_is_mirrored_as_all_of_its_trainings_were(stored, expected):
    task = get_task("ultrasound3d_vnet")
    task = replace(task, network=replace(task.network, channels=(4, 8), convolutions=(1, 1)))
    checkpoints = []
    for seed, changes in enumerate(stored):
        torch.manual_seed(seed)
        trained = replace(task, augment=replace(task.augment, **changes))
        state = build_network(task.network).state_dict()
        checkpoints.append(Checkpoint(task=task.name, spec=trained.as_dict(), weights=state))
    found = average(task, checkpoints, [1, 1])
    predictor = Predictor.from_checkpoint(task, found, "cpu", "fp32")
    assert predictor.mirrorings(4) == expected


def test_files_of_half_precision_are_averaged_in_full_and_one_with_itself_stays():
    one = _checkpoint(1)
    halved = replace(one, weights={name: one.weights[name].half() for name in one.weights})
    found = average(TASK, [halved, halved, halved], [1, 1, 1])
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight, halved.weights[name].to(weight.dtype), msg=name)
    assert next(iter(found.weights.values())).dtype == torch.float32


@pytest.mark.parametrize(
    ("count", "shares", "told"),
    [
        (1, [1.0], "two files of weights or more and a share for each, found 1 and 1"),
        (2, [1.0], "found 2 and 1"),
        (2, [1.0, 0.0], "expected numbers above 0"),
        (2, [1.0, float("nan")], "expected numbers above 0"),
        (2, [1.0, float("inf")], "expected numbers above 0"),
    ],
)
def test_what_cannot_be_averaged_is_refused(count, shares, told):
    with pytest.raises(InputError, match=told):
        average(TASK, [_checkpoint(seed) for seed in range(count)], shares)


def test_weights_of_another_network_are_refused_by_its_difference():
    wider = replace(TASK.encoder_decoder, channels=(4, 8, 16, 32, 64))
    state = build_network(wider).state_dict()
    other = Checkpoint(task="mine", spec={"network": vars(wider)}, weights=state)
    with pytest.raises(InputError, match="networks differ in .*channels"):
        average(TASK, [_checkpoint(1), other], [1, 1])


def test_the_average_is_measured_as_a_training_is(weights, items):
    trained = load_checkpoint(weights)
    parts = [PreparedCases(part, TASK) for part in split_items(items, TASK.training.val_split)]
    mean = average(TASK, [trained, trained], [1, 1])
    found = measured(TASK, mean, *parts, items)
    assert found.metrics == figures_of(TASK, trained, parts[1])
    assert set(trained.metrics) <= set(found.metrics)
    assert found.provenance["training_cases"] == len(parts[0])
    assert found.provenance["validation_cases"] == len(parts[1])
    assert (KEY in found.answer) == (KEY in trained.answer)
