"""What training asks of segmentation: images with labels as patches, the loss, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from lib.data.case import Case, CaseFunctions, Cases, Figures, Scoring
from lib.data.grid import network_grid
from lib.data.ignore import UNKNOWN, split_ignored
from lib.data.labels import read_item_label
from lib.data.studies import Item, read_item
from lib.data.targets import make_target
from lib.data.transforms import draw_patch, prepare_image
from lib.distributed import over_processes, own_indices
from lib.errors import InputError
from lib.segmentation.losses import get_loss
from lib.segmentation.metrics import PIXEL_COUNTS, image_scores, pixel_counts, pixel_scores
from lib.segmentation.predictor import Predictor
from lib.segmentation.readers import list_images, list_images_of_readers
from lib.tasks.image_spec import PRESENCE, OutputSpec
from lib.tasks.spec import TaskSpec


def _load_image(item: Item, task: TaskSpec) -> Case:
    """Return image float16 `(channels, *spatial)` in 0..1 and `lib.data.targets.make_target`."""
    image = read_item(item, task)
    label = read_item_label(item, image, task)
    label = network_grid(image, task.input).apply_label(label)
    split_ignored(label, item.label_name)  # refuses a label that says nothing
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


def score_masks(predictor: Predictor, cases: Cases) -> Figures:
    """Return figures of pixels pooled over cases, and means over cases of `image_scores`.

    Both are those of `lib.segmentation.metrics`. Several processes share the work.
    """
    table = torch.zeros((len(cases), len(PIXEL_COUNTS) + 2), dtype=torch.float64)
    spec, answered = predictor.task.output, predictor.task.target.answered
    for index in own_indices(len(cases)):
        image, target = cases[index]
        maps = predictor.probabilities(image.astype(np.float32), flips=False)
        mask, sure = answered_mask(maps, answered, spec)
        labelled = target[0] != UNKNOWN
        case = pixel_counts(mask, target[0], labelled)
        row = [*(case[name] for name in PIXEL_COUNTS), sure[labelled].max(), labelled.all()]
        table[index] = torch.tensor(row, dtype=torch.float64)
    *columns, presence, whole = over_processes(table).numpy().T
    counts = dict(zip(PIXEL_COUNTS, columns, strict=True))
    pooled = pixel_scores({name: column.sum() for name, column in counts.items()})
    figures = {**pooled, **image_scores(counts, presence, whole=whole > 0)}
    return {name: float(value) for name, value in figures.items()}


def answered_mask(
    maps: np.ndarray, answered: Sequence[str], spec: OutputSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of answered maps `(maps, *spatial)`, and the probability of any structure."""
    mask, sure = maps[0] >= spec.threshold, maps[0]
    if PRESENCE in answered:
        sure = maps[answered.index(PRESENCE)]
        mask &= sure >= spec.presence_threshold
    return mask, sure


def empty_mask(task: TaskSpec, step: int, scores: Figures) -> str:
    """Return a warning of the collapse to the empty mask; it scores well on rare structures."""
    if scores["found"] > 0:
        return ""
    return (
        f"'{task.name}' answers no foreground on any validation case at step {step}: "
        f"collapsed to the empty mask; if it stays so, lower the learning rate (now "
        f"{task.training.learning_rate}) or choose loss bce_dice (now {task.training.loss})"
    )


SEGMENTATION_CASES = CaseFunctions(
    list=list_images,
    load=_load_image,
    fitted=_fitting_patch,
    check_size=check_patch_size,
    draw=draw_training_patch,
    order=lambda items, task, rng: rng.permutation(len(items)),
    batches=lambda items, task: -(-len(items) // task.training.batch_size),
    of_readers=list_images_of_readers,
)
SEGMENTATION_SCORING = Scoring(
    loss=lambda task, items: get_loss(task.training.loss, task.target.maps),
    score=score_masks,
    collapsed=empty_mask,
)
