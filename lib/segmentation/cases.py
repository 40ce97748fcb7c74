"""Cases for segmentation: images with label images, drawn as patches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.data.case import Case, CaseFunctions
from lib.data.grid import network_grid
from lib.data.studies import Item, list_items, volumes_only
from lib.data.targets import make_target
from lib.data.transforms import draw_patch, prepare_image
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.tasks.spec import TaskSpec


def _list_images(studies: Path, task: TaskSpec, labelled: bool) -> list[Item]:
    return volumes_only(list_items(studies, labelled), task.image_dims)


def _load_image(item: Item, task: TaskSpec) -> Case:
    """Return image float16 `(channels, *spatial)` in 0..1 and `lib.data.targets.make_target`."""
    if item.label is None:
        raise InputError(f"'{item.id}' has no label; save one before training on it")
    image = read_image(item.image, task.input.max_pixels, task.image_dims)
    label = read_label(item.label, image.shape)
    label = network_grid(image, task.input).apply_label(label)
    return (
        prepare_image(image, task.input).astype(np.float16),
        make_target(label, task.target),
    )


def _fitting_patch(task: TaskSpec, largest: tuple[int, ...]) -> TaskSpec:
    """Return `task` with its patch cut to the largest case, in sizes that the network takes."""
    network, recipe = task.encoder_decoder, task.training
    if network.padding != "same" or not largest:
        return task
    patch = tuple(
        min(side, network.input_size(length))
        for side, length in zip(recipe.patch_sides(network.spatial_dims), largest, strict=True)
    )
    return replace(task, training=replace(recipe, patch_size=patch))


def draw_training_patch(case: Case, task: TaskSpec, rng: np.random.Generator) -> Case:
    """Return an augmented patch of a prepared image and of its target."""
    recipe = task.training
    return draw_patch(
        case[0],
        case[1],
        recipe.patch_sides(task.network.spatial_dims),
        task.augment,
        rng,
        task.target.maps,
        recipe.foreground_share,
    )


def check_patch_size(task: TaskSpec) -> None:
    """Raise `InputError` if the network cannot take patches of the recipe's size."""
    network, axes = task.encoder_decoder, task.network.spatial_dims
    for side in (sides := task.training.patch_sides(axes)):
        if len(sides) != axes or network.output_size(side) is None:
            least = network.input_size(1)
            expected = f"a multiple of {network.divisor}"
            if least > network.divisor:
                expected += f" from {least} on"
            if network.padding == "valid":
                expected = f"a size such as {network.input_size(max(1, side // 2))}"
            raise InputError(
                f"patch_size must be {expected} for '{task.name}', one for all {axes} axes or one "
                f"each, found {task.training.patch_size}"
            )


SEGMENTATION_CASES = CaseFunctions(
    list=_list_images,
    load=_load_image,
    fitted=_fitting_patch,
    check_size=check_patch_size,
    draw=draw_training_patch,
    order=lambda cases, rng: rng.permutation(len(cases)),
    batches=lambda items, task: -(-len(items) // task.training.batch_size),
)
