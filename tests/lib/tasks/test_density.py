"""The density rows: what the slides print, our own recipe, and fields that came later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.tasks.image_spec import AugmentSpec, InputSpec
from lib.tasks.registry import TASKS
from lib.tasks.training_spec import TrainingSpec

DENSITY = [name for name in TASKS if name.startswith("density_")]
SLIDES = [name for name in DENSITY if name.endswith("_slides")]
VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")
PROJECTIONS = ("CC", "MLO")


def test_the_tasks_of_the_slides_are_there_with_their_rules_and_sizes():
    found = {
        name: (TASKS[name].input.size, TASKS[name].exam.rule, TASKS[name].exam.names)
        for name in ("density_a_vs_d", "density_dense", "density_birads")
    }
    assert found == {
        "density_a_vs_d": (224, "mean", ("A", "D")),
        "density_dense": (650, "mean", ("non-dense", "dense")),
        "density_birads": (650, "denser_breast", ("A", "B", "C", "D")),
    }


@pytest.mark.parametrize("name", DENSITY)
def test_every_row_turns_by_up_to_20_degrees_and_mirrors_nothing(name):
    row = TASKS[name]
    turned = 0.0 if name.endswith("_greys") else 20.0  # whose measures a turn would not change
    assert (row.augment.rotate, row.augment.flips) == (turned, False)
    views = VIEWS if name.endswith("_slides") else PROJECTIONS
    assert row.network.views == (() if name.endswith(("_shared", "_lite")) else views)
    assert row.network.out_channels == len(row.exam.classes) == len(row.labels)


@pytest.mark.parametrize("name", SLIDES)
def test_the_slides_recipe_is_theirs(name):
    row, ours = TASKS[name], TASKS[name.removesuffix("_slides")]
    recipe = row.training
    assert (recipe.optimizer, recipe.learning_rate, recipe.loss) == (
        *("plain_sgd", 0.1),
        "cross_entropy",
    )
    assert (recipe.schedule, recipe.plateau_factor, recipe.plateau_patience) == ("plateau", 0.1, 15)
    assert (recipe.epochs, recipe.batch_size, recipe.val_interval) == (100, 8, 0)
    assert (recipe.class_weights, recipe.label_smoothing, recipe.averaging) == ("none", 0, 0)
    assert row.augment == AugmentSpec(flips=False, rotate=20.0)
    assert row.input.channels == ("normalised",)
    assert (row.network.channels, row.network.depths) == (
        ours.network.channels,
        ours.network.depths,
    )
    assert row.exam == ours.exam


def test_the_shared_network_differs_in_nothing_else():
    row, shared = TASKS["density_birads"], TASKS["density_birads_shared"]
    again = replace(shared, name=row.name, description=row.description, network=row.network)
    assert again == row


def test_fields_that_came_later_do_not_make_other_runs_of_segmentation():
    row = TASKS["nuclei_vhllrhe"]
    trained = row.as_trained()
    assert "exam" not in trained
    assert not {"epochs", "label_smoothing", "class_weights"} & set(trained["training"])
    assert not {"size", "channels"} & set(trained["input"])
    used = replace(row, training=replace(row.training, class_weights="balanced"))
    assert used.as_trained()["training"]["class_weights"] == "balanced"
    assert row.as_dict()["training"]["epochs"] == 0, "reports tell all of them"


def test_the_input_has_one_side_or_two():
    assert InputSpec(size=64).sides == (64, 64)
    assert InputSpec(size=(64, 48)).sides == (64, 48)
    assert TrainingSpec().val_interval == 250
