"""Images are mirrored along the axes along which the training images look alike mirrored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_samples import fit_options, with_recipe

from lib.data.mirrored import unlike_axes
from lib.data.studies import Item
from lib.kinds import kind_of
from lib.networks import build_network
from lib.phantoms.ultrasound.studies import gland_volume
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import AugmentSpec
from lib.tasks.registry import TASKS
from lib.training.loop import fit
from lib.weights.checkpoint import Checkpoint, load_checkpoint

PLACES = [(0, 1, 2), (1, 0, 2), (0, 2, 1)]  # slices, rows and columns, of which one is depth


@pytest.fixture(scope="module")
def volumes() -> list[np.ndarray]:
    """Ten phantoms whose second axis is depth below the transducer, `(1, *spatial)`."""
    return [
        gland_volume(seed, (24, 32, 28), (2.0, 2.0, 2.0)).image[np.newaxis].astype(np.float32)
        for seed in range(10)
    ]


@pytest.mark.parametrize("places", PLACES)
def test_depth_is_found_along_any_axis(volumes, places):
    moved = [one.transpose(0, *(1 + axis for axis in places)) for one in volumes]
    assert unlike_axes(moved, 3) == (places.index(1),)


def test_depth_is_found_in_slices_and_in_single_images(volumes):
    assert unlike_axes(volumes, 2) == (0,)
    assert unlike_axes([one.transpose(0, 1, 3, 2) for one in volumes], 2) == (1,)
    assert unlike_axes([one[:, 12] for one in volumes], 2) == (0,)


def test_images_that_look_alike_mirrored_keep_all_axes():
    rng = np.random.default_rng(0)
    halves = [rng.random((1, 8, 16, 20), dtype=np.float32) for _ in range(6)]
    both = [np.concatenate((one, one[:, :, :, ::-1]), 3) for one in halves]
    assert unlike_axes(both, 3) == ()


def test_what_cannot_be_compared_is_not_mirrored(volumes):
    flat = np.full((1, 20, 20, 20), 9, np.float32)
    assert unlike_axes([], 3) == (0, 1, 2)
    assert unlike_axes(volumes[:1], 3) == (0, 1, 2)
    assert unlike_axes([volumes[0], flat], 3) == (0, 1, 2)
    assert unlike_axes([*volumes, flat], 3) == (1,)


def test_a_small_difference_between_two_sides_counts_where_all_images_show_it():
    rng = np.random.default_rng(0)
    common = rng.random((12, 12, 12))
    common += common[:, :, ::-1]
    side = np.linspace(-0.25, 0.25, 12)
    some = [common + 0.4 * rng.random(common.shape) for _ in range(20)]
    assert 2 not in unlike_axes([one[np.newaxis] for one in some], 3)
    assert 2 in unlike_axes([(one + side)[np.newaxis] for one in some], 3)


def test_sizes_may_differ(volumes):
    assert unlike_axes([one[:, :, 2 * (i % 2) :] for i, one in enumerate(volumes)], 3) == (1,)


@pytest.mark.filterwarnings("error")
def test_of_two_images_each_is_as_unlike_as_the_other(volumes):
    assert 1 in unlike_axes(volumes[:2], 3)


def test_axes_that_the_network_does_not_have_are_refused_by_name():
    row = TASKS["ultrasound3d_vnet"]
    for axes in ((-1,), (3,), (0, 7)):
        with pytest.raises(ValueError, match=r"never_flipped: expected axes .* 0 to 2, found \["):
            replace(row, augment=replace(row.augment, never_flipped=axes))


def test_the_axes_that_are_mirrored():
    assert AugmentSpec().flipped_axes(3) == (0, 1, 2)
    assert AugmentSpec(flip_depth=False).flipped_axes(3) == (0, 2)
    assert AugmentSpec(flip_depth=False).flipped_axes(2) == (1,)
    assert AugmentSpec(never_flipped=(2,)).flipped_axes(3) == (0, 1)
    assert AugmentSpec(flips=False).flipped_axes(2) == ()


def _write(folder: Path, places: tuple[int, ...]) -> list[Item]:
    items = []
    for seed in range(8):
        phantom = gland_volume(seed, (16, 24, 24), (3.0, 2.4, 2.4))
        image, label = folder / f"v{seed}.nrrd", folder / f"l{seed}.nrrd"
        for path, array in ((image, phantom.image), (label, phantom.label > 0)):
            sitk.WriteImage(sitk.GetImageFromArray(array.transpose(places).astype(np.uint8)), path)
        items.append(Item(id=f"v{seed}", image=image, label=label))
    return items


@pytest.mark.parametrize("places", PLACES)
def test_training_leaves_depth_as_it_is_and_the_weights_tell(tmp_path, places):
    row = TASKS["ultrasound3d_vnet"]
    network = replace(row.network, channels=(4, 8), convolutions=(1, 1))
    row = replace(row, network=network)
    task = with_recipe(row, steps=1, val_interval=1, patch_size=16, val_split=0.3)
    result = fit(task, _write(tmp_path, places), fit_options(tmp_path / "run"))
    checkpoint, depth = load_checkpoint(result.weights), places.index(1)
    assert tuple(checkpoint.spec["augment"]["never_flipped"]) == (depth,)
    predictor = Predictor.from_checkpoint(row, checkpoint, "cpu", "fp32")
    mirrored = predictor.mirrorings(4)
    assert len(mirrored) == 4
    assert all(1 + depth not in axes for axes in mirrored)


def test_weights_from_before_are_asked_for_the_copies_that_they_learned():
    row = TASKS["ultrasound3d_vnet"]
    before = replace(row, augment=replace(row.augment, flip_depth=False, flip_alike=False))
    assert len(_predictor(before).mirrorings(4)) == 4
    assert all(2 not in axes for axes in _predictor(before).mirrorings(4))


@pytest.mark.parametrize("augment", [None, 3, {"never_flipped": 7}, {"never_flipped": ["a", [1]]}])
def test_a_foreign_record_of_axes_stops_no_answer(augment):
    predictor = _predictor(TASKS["ultrasound3d_vnet"], augment=augment)
    assert len(predictor.mirrorings(4)) == 8


def _predictor(trained, **changes) -> Predictor:
    """Return a predictor of the row with weights of `trained`, whose record has `changes`."""
    row, network = (
        replace(task, network=replace(task.network, channels=(4, 8), convolutions=(1, 1)))
        for task in (TASKS["ultrasound3d_vnet"], trained)
    )
    torch.manual_seed(0)
    weights = build_network(network.network).state_dict()
    checkpoint = Checkpoint(task=row.name, spec={**network.as_dict(), **changes}, weights=weights)
    return kind_of(row).predictor.from_checkpoint(row, checkpoint, "cpu", "fp32")
