"""What training asks of segmentation: images with labels as patches, the loss, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from lib.data.case import Case, CaseFunctions, Cases, Figures, HeldCase, Scoring
from lib.data.draw import draw_patches
from lib.data.grid import fits_objects, network_grid
from lib.data.ignore import UNKNOWN, split_ignored
from lib.data.labels import read_item_label
from lib.data.mirrored import unlike_axes
from lib.data.studies import Item, read_item
from lib.data.targets import as_instances, make_target, typical_diameter
from lib.data.transforms import prepare_image, with_type
from lib.errors import InputError
from lib.segmentation.losses import get_loss
from lib.segmentation.metrics import image_scores, pixel_counts, pixel_scores
from lib.segmentation.readers import list_images, list_images_of_readers
from lib.segmentation.scoring import score_masks
from lib.tasks.spec import TaskSpec
from lib.weights.versions import Trivial

COMPARED = 100  # most cases by which axes are chosen, evenly taken


def _load_image(item: Item, task: TaskSpec) -> Case:
    """Return image float16 `(channels, *spatial)` in 0..1 and `lib.data.targets.make_target`."""
    image = read_item(item, task)
    label = read_item_label(item, image, task)
    sized = fits_objects(image, task.input)
    diameter = typical_diameter(as_instances(label)) if sized else 0.0
    label = network_grid(image, task.input, diameter).apply_label(label)
    split_ignored(label, item.label_name)  # refuses a label that says nothing
    return (
        with_type(prepare_image(image, task.input, diameter), np.float16),
        make_target(label, task.target),
    )


def _fitting_patch(task: TaskSpec, largest: tuple[int, ...]) -> TaskSpec:
    """Return `task` with its patch cut to the largest case, in sizes that the network takes."""
    network, recipe = task.map_network, task.training
    if network.padding != "same" or not largest:
        return task
    patch = tuple(
        min(side, network.input_size(length))
        for side, length in zip(recipe.patch_sides(network.spatial_dims), largest, strict=True)
    )
    return replace(task, training=replace(recipe, patch_size=patch))


def _with_alike_axes(task: TaskSpec, cases: Cases) -> TaskSpec:
    """Return `task` without mirroring along axes along which its cases are not alike."""
    if not task.augment.flip_alike:
        return task
    some = range(0, len(cases), max(1, -(-len(cases) // COMPARED)))
    images = (cases[index][0] for index in some)
    unlike = unlike_axes(images, task.network.spatial_dims)
    kept = tuple(sorted({*task.augment.never_flipped, *unlike}))
    return replace(task, augment=replace(task.augment, never_flipped=kept))


def draw_training_patches(
    cases: Sequence[HeldCase], task: TaskSpec, rngs: Sequence[np.random.Generator]
) -> tuple[Tensor, Tensor]:
    """Return an augmented patch of each prepared image, and of its target."""
    recipe = task.training
    return draw_patches(
        cases,
        recipe.patch_sides(task.network.spatial_dims),
        task.augment,
        rngs,
        task.target.maps,
        recipe.foreground_share,
    )


def check_patch_size(task: TaskSpec) -> None:
    """Raise `InputError` if the network cannot take patches of the recipe's size."""
    network, axes = task.map_network, task.network.spatial_dims
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


def trivial_mask(task: TaskSpec, cases: Cases) -> Trivial | None:
    """Return the better of no foreground and nothing but foreground; None for other figures."""
    full = []  # counts of a mask of everything, for each case
    for index in range(len(cases)):
        truth = cases[index][1][0]
        full.append(pixel_counts(np.ones(truth.shape, bool), truth, truth != UNKNOWN))
    tp, fp = (np.array([case[name] for case in full]) for name in ("tp", "fp"))
    none = np.zeros_like(tp)
    answers = []
    for words, counts in (
        ("an empty mask", {"tp": none, "fp": none, "fn": tp, "tn": fp}),
        ("everything as foreground", {"tp": tp, "fp": fp, "fn": none, "tn": none}),
    ):
        pooled = pixel_scores({name: column.sum() for name, column in counts.items()})
        figures = {**pooled, **image_scores(counts)}
        figures["click_dice"] = pixel_scores(counts)["fg_dice"].mean()
        if task.key_metric not in figures:
            return None
        answers.append(Trivial(words, float(figures[task.key_metric])))
    return max(answers, key=lambda answer: answer.score)


def one_mask(task: TaskSpec, step: int, scores: Figures) -> str:
    """Return a warning of the collapse to one mask; it scores well on rare, or large structures."""
    if scores["found"] > 0 and scores.get("bg_iou", 1.0) > 0:
        return ""
    mask = "empty mask" if scores["found"] == 0 else "mask of everything"
    what = "no foreground" if scores["found"] == 0 else "no background"
    return (
        f"'{task.name}' answers {what} on any validation case at step {step}: "
        f"collapsed to the {mask}; if it stays so, lower the learning rate (now "
        f"{task.training.learning_rate}) or choose loss bce_dice (now {task.training.loss})"
    )


SEGMENTATION_CASES = CaseFunctions(
    list=list_images,
    load=_load_image,
    fitted=_fitting_patch,
    check_size=check_patch_size,
    draw=draw_training_patches,
    order=lambda items, task, rng: rng.permutation(len(items)),
    batches=lambda items, task: -(-len(items) // task.training.batch_size),
    of_readers=list_images_of_readers,
    learned=_with_alike_axes,
)
SEGMENTATION_SCORING = Scoring(
    loss=lambda task, items: get_loss(task.training.loss, task.target.maps),
    score=score_masks,
    trivial=trivial_mask,
    collapsed=one_mask,
    features=lambda predictor, case: predictor.features(case[0].astype(np.float32)),
)
