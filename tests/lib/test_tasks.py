"""The table of tasks: unique, complete, light to load."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from lib.errors import InputError, NotFoundError, choose
from lib.losses import LOSSES
from lib.optimization import OPTIMIZERS
from lib.tasks import TASKS, EncoderDecoderSpec, get_task, register

EVERY_ROW = pytest.mark.parametrize("name", TASKS)


def test_the_thesis_rows_are_there():
    codes = ("u3clr", "u5hllr", "huv", "vcr", "vhlr", "vclr", "vhllrhe", "vdlrhe")
    assert {f"nuclei_{code}" for code in codes} <= set(TASKS)


@EVERY_ROW
def test_every_row_says_what_a_viewer_needs_and_names_parts_that_exist(name):
    task = TASKS[name]
    assert task.name == name
    assert task.description
    assert task.reference
    assert all(value > 0 for value in task.labels.values())
    assert task.training.loss in LOSSES
    assert task.training.optimizer in OPTIMIZERS
    assert task.training.patch_size % task.network.divisor == 0


@EVERY_ROW
def test_every_row_is_plain_data_for_reports(name):
    row = json.loads(json.dumps(TASKS[name].as_dict()))
    assert row["name"] == name
    assert row["network"]["channels"] == list(TASKS[name].network.channels)


@pytest.mark.parametrize(
    ("code", "knobs"),
    [
        ("u3clr", ("unet", 3, "max_pool", "relu", "xavier", "bce")),
        ("u5hllr", ("unet", 5, "max_pool", "leaky_relu", "he", "bce_dice")),
        ("huv", ("unet", 5, "conv", "relu", "xavier", "bce")),
        ("vcr", ("vnet", 5, "conv", "relu", "xavier", "bce")),
        ("vhlr", ("vnet", 5, "conv", "leaky_relu", "xavier", "bce_dice")),
        ("vclr", ("vnet", 5, "conv", "leaky_relu", "xavier", "bce")),
        ("vhllrhe", ("vnet", 5, "conv", "leaky_relu", "he", "bce_dice")),
        ("vdlrhe", ("vnet", 5, "conv", "leaky_relu", "he", "dice")),
    ],
)
def test_the_knobs_are_those_of_the_thesis(code, knobs):
    task = TASKS[f"nuclei_{code}"]
    net = task.network
    assert (
        net.topology,
        net.kernel_size,
        net.downsampling,
        net.activation,
        net.initialization,
        task.training.loss,
    ) == knobs
    assert net.channels == (8, 16, 32, 64, 128)


def test_a_taken_name_is_refused():
    with pytest.raises(InputError, match="task 'nuclei_huv' is already registered"):
        register(replace(TASKS["nuclei_huv"], description="another"))


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(NotFoundError, match="unknown task 'nuclei_vhlrhe': did you mean 'nuclei_v"):
        get_task("nuclei_vhlrhe")


def test_a_name_like_no_other_is_refused_with_what_there_is():
    with pytest.raises(NotFoundError, match=r"^unknown colour 'x': known: blue, red$"):
        choose("colour", "x", {"red": 1, "blue": 2})
    with pytest.raises(NotFoundError, match="known: none"):
        choose("colour", "x", {})


def test_rows_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        TASKS["nuclei_huv"].name = "other"


def test_the_divisor_follows_the_depth():
    assert EncoderDecoderSpec().divisor == 16
    assert EncoderDecoderSpec(channels=(8,), convolutions=(1,)).divisor == 1
