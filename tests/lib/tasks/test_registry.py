"""The table of tasks: unique, complete, light to load."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from lib.classification.losses import CLASS_LOSSES
from lib.errors import InputError, NotFoundError, choose
from lib.kinds import kind_of
from lib.segmentation.losses import LOSSES, get_loss
from lib.tasks.image_spec import TargetSpec
from lib.tasks.network_spec import EncoderDecoderSpec
from lib.tasks.registry import TASKS, get_task, register
from lib.tasks.training_spec import TrainingSpec
from lib.training.optimizers import OPTIMIZERS

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
    assert task.training.optimizer in OPTIMIZERS
    kind_of(task).cases.check_size(task)
    if task.kind == "classification":
        assert task.training.loss in CLASS_LOSSES
    else:
        assert task.training.loss in LOSSES
        get_loss(task.training.loss, task.target.maps)


@EVERY_ROW
def test_every_row_is_plain_data_for_reports(name):
    row = json.loads(json.dumps(TASKS[name].as_dict()))
    assert row["name"] == name
    assert row["network"]["channels"] == list(TASKS[name].network.channels)
    assert row["target"]["maps"] == list(TASKS[name].target.maps)


def test_the_originals_have_the_networks_and_losses_of_their_papers():
    unet, vnet = TASKS["nuclei_unet2015"], TASKS["ultrasound3d_vnet2016"]
    assert (unet.network.topology, unet.network.padding, unet.network.kernel_size) == (
        *("unet", "valid"),
        3,
    )
    assert unet.network.channels == (64, 128, 256, 512, 1024)
    assert (unet.training.loss, unet.target.maps[-1]) == ("border_weighted_bce", "border_weight")
    assert unet.augment.elastic == 10.0
    assert (vnet.network.topology, vnet.network.spatial_dims, vnet.network.kernel_size) == (
        *("vnet", 3),
        5,
    )
    assert (vnet.network.activation, vnet.network.downsampling) == ("prelu", "conv")
    assert (vnet.network.channels, vnet.network.decoder_width) == ((16, 32, 64, 128, 256), 2)
    assert vnet.training.loss == "dice"


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


def test_sizes_follow_the_padding():
    same = EncoderDecoderSpec()
    assert (same.output_size(48), same.output_size(50), same.input_size(50)) == (48, None, 64)
    valid = EncoderDecoderSpec(padding="valid")
    assert (valid.output_size(572), valid.output_size(570), valid.output_size(16)) == (
        388,
        *[None] * 2,
    )
    assert (valid.input_size(1), valid.input_size(388), valid.input_size(389)) == (188, 572, 588)


def test_maps_that_only_weigh_the_loss_are_not_answered():
    spec = TargetSpec(maps=("foreground", "distance", "border_weight"))
    assert spec.answered == ("foreground", "distance")
    assert TargetSpec().answered == ("foreground",)


def test_a_patch_has_one_side_for_all_axes_or_one_each():
    assert TrainingSpec(patch_size=64).patch_sides(3) == (64, 64, 64)
    assert TrainingSpec(patch_size=(8, 16, 32)).patch_sides(3) == (8, 16, 32)


@pytest.mark.parametrize(
    ("patch_size", "message"),
    [
        (30, r"patch_size must be a multiple of 16 for 'nuclei_huv', .* found 30"),
        ((32, 48, 64), r"one for all 2 axes or one each, found \(32, 48, 64\)"),
        ((32, 50), r"a multiple of 16 .* found \(32, 50\)"),
    ],
)
def test_patches_that_the_network_cannot_take_are_refused(patch_size, message):
    task = TASKS["nuclei_huv"]
    wrong = replace(task, training=replace(task.training, patch_size=patch_size))
    with pytest.raises(InputError, match=message):
        kind_of(wrong).cases.check_size(wrong)


def test_a_patch_for_a_network_without_padding_is_refused_with_one_it_takes():
    task = TASKS["nuclei_unet2015"]
    wrong = replace(task, training=replace(task.training, patch_size=256))
    with pytest.raises(InputError, match="patch_size must be a size such as 316 .* found 256"):
        kind_of(wrong).cases.check_size(wrong)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (("foreground", "border"), "number of answered target maps, .* found 1 and"),
        (("border",), "foreground first"),
        ((), "foreground first, found 1 and"),
    ],
)
def test_rows_whose_network_does_not_answer_their_maps_are_refused(maps, message):
    with pytest.raises(ValueError, match=f"task 'nuclei_huv': .*{message}"):
        replace(TASKS["nuclei_huv"], target=TargetSpec(maps=maps))


def test_separation_by_distance_needs_that_map():
    task = TASKS["nuclei_huv"]
    by_distance = replace(task.output, separation="distance")
    with pytest.raises(ValueError, match="task 'nuclei_huv': separation by distance needs that ta"):
        replace(task, output=by_distance)
    replace(
        task,
        output=by_distance,
        target=TargetSpec(maps=("foreground", "distance")),
        network=replace(task.network, out_channels=2),
    )
