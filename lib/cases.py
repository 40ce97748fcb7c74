"""What a case is, by kind of task: how it is listed, read, drawn for a batch, and ordered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lib import exam_cases
from lib.clicks import Clicks, click_maps, first_clicks
from lib.datasets.studies import Item, list_items, volumes_only
from lib.errors import InputError, choose
from lib.grids import network_grid
from lib.images import read_image
from lib.masks import read_label
from lib.specs import TaskSpec
from lib.targets import make_target
from lib.transforms import augment_image, draw_patch, prepare_image

Case = tuple[np.ndarray, ...]  # image, target, and what else the network is given


class Cases(Protocol):
    """Cases of one task, by number."""

    task: TaskSpec
    items: list[Item]

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class CaseKind:
    """What the cases of a kind of task are.

    Attributes:
        list: the items of a studies folder; all, or the labelled ones.
        load: one item, prepared.
        fitted: the task as it is trained on cases of these largest sides.
        draw: a case as it goes into a batch, augmented: image float32, target, more.
        order: numbers of the cases of one pass, shuffled.
        batches: how many batches one pass has.
    """

    list: Callable[[Path, TaskSpec, bool], list[Item]]
    load: Callable[[Item, TaskSpec], Case]
    fitted: Callable[[TaskSpec, tuple[int, ...]], TaskSpec]
    draw: Callable[[Case, TaskSpec, np.random.Generator], Case]
    order: Callable[[Cases, np.random.Generator], np.ndarray]
    batches: Callable[[Sequence[Item], TaskSpec], int]


def case_kind(task: TaskSpec) -> CaseKind:
    """Return what the cases of `task` are."""
    return choose("kind", task.kind, CASE_KINDS)


def _list_images(studies: Path, task: TaskSpec, labelled: bool) -> list[Item]:
    return volumes_only(list_items(studies, labelled), task.image_dims)


def _load_image(item: Item, task: TaskSpec) -> Case:
    """Return image float16 `(channels, *spatial)` in 0..1 and `lib.targets.make_target`."""
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
    """Return `task` with a patch without what is beyond the largest case, of sizes that pass."""
    network, recipe = task.encoder_decoder, task.training
    if network.padding != "same" or not largest:
        return task
    patch = tuple(
        min(side, network.input_size(length))
        for side, length in zip(recipe.patch_sides(network.spatial_dims), largest, strict=True)
    )
    return replace(task, training=replace(recipe, patch_size=patch))


def _draw_patch(case: Case, task: TaskSpec, rng: np.random.Generator) -> Case:
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


def _draw_clicked(case: Case, task: TaskSpec, rng: np.random.Generator) -> Case:
    """Draw a patch, its first clicks as maps, and for its corrections their rounds and a seed."""
    image, target = _draw_patch(case, task, rng)
    spec, clicks = task.click_rules, Clicks()
    if rng.random() >= spec.automatic:
        clicks = first_clicks(target, spec, rng)
    rounds = min(spec.corrections, int(rng.geometric(0.5)) - 1)
    plan = np.array([rounds, rng.integers(2**31)])
    return image, target, click_maps(clicks, target.shape[1:], spec.radius), plan


def _draw_view(case: Case, task: TaskSpec, rng: np.random.Generator) -> Case:
    image, *rest = case
    return augment_image(image, task.augment, rng), *rest


_SEGMENTATION = CaseKind(
    _list_images,
    _load_image,
    _fitting_patch,
    _draw_patch,
    lambda cases, rng: rng.permutation(len(cases)),
    lambda items, task: -(-len(items) // task.training.batch_size),
)
CASE_KINDS: dict[str, CaseKind] = {
    "segmentation": _SEGMENTATION,
    "interactive": replace(_SEGMENTATION, draw=_draw_clicked),
    "classification": CaseKind(
        exam_cases.list_views,
        exam_cases.load_view,
        lambda task, largest: task,
        _draw_view,
        lambda cases, rng: exam_cases.epoch_order(cases.items, cases.task, rng),
        exam_cases.epoch_batches,
    ),
}
