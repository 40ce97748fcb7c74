"""What was found in an image: mask and objects that follow from a network's probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lib.segmentation.bands import separate_in_bands
from lib.segmentation.instances import foreground_mask, largest, separate
from lib.segmentation.windows import WHOLE_PIXELS
from lib.tasks.image_spec import PRESENCE, OutputSpec, TargetSpec


def mask_and_objects(
    probabilities: np.ndarray,
    labels: Mapping[str, int],
    target: TargetSpec,
    output: OutputSpec,
    instances: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mask and the separated objects of one image or frame.

    Args:
        probabilities: `(maps, *spatial)`, 0..1, in the order of ``target.answered``.
        labels: value of each structure of the task, by its name.
        instances: whether to separate objects, for tasks that can.

    Returns:
        uint8 `(*spatial)`, the values of `labels`; and int32 `(*spatial)`, objects numbered from 1,
        None if they were not separated.
    """
    answered = dict(zip(target.answered, probabilities, strict=True))
    # with several structures, `_label_values` keeps the largest object of each
    kept = replace(output, keep="all") if target.structures else output
    mask = foreground_mask(probabilities[0], kept, answered.get(PRESENCE))
    objects = None
    if (instances and output.instances) or output.gap:
        large = mask.ndim == 2 and mask.size > WHOLE_PIXELS[2] and not output.gap
        separated = separate_in_bands if large else separate
        objects = separated(mask, output, answered.get("distance"))
        mask = objects > 0
    values = _label_values(mask, answered, labels, target, output)
    return values, objects if instances and output.instances else None


def _label_values(
    mask: np.ndarray,
    answered: Mapping[str, np.ndarray],
    labels: Mapping[str, int],
    target: TargetSpec,
    output: OutputSpec,
) -> np.ndarray:
    """Return uint8 labels: inside `mask`, each pixel has the value of its likeliest structure.

    Args:
        answered: the answered maps, `(*spatial)` each, by name.
    """
    structures = target.structures
    if not structures:
        return mask * np.uint8(next(iter(labels.values())))
    values = np.array(list(structures.values()), dtype=np.uint8)
    likeliest = values[np.stack([answered[name] for name in structures]).argmax(axis=0)]
    label = np.where(mask, likeliest, np.uint8(0))
    if output.keep == "largest":
        for value in values:
            label[(label == value) & ~largest(label == value)] = 0
    return label
