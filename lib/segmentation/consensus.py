"""One label image made of those of several readers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.measure import label as connected_components
from skimage.segmentation import watershed

from lib.data.ignore import IGNORE
from lib.segmentation.metrics import dice


def consensus(labels: Sequence[np.ndarray], one_structure: bool) -> np.ndarray:
    """Return the consensus of readers, int32 `(*spatial)`.

    Of one structure it is STAPLE (Warfield et al. 2004) of the masks, where the probability is
    above one half; of two readers that is about what both drew. Numbered objects keep the borders
    that the reader drew who agrees best with the consensus, as far as it has them.

    Of several structures it is the value that most readers gave, and `IGNORE` where two values lead
    equally. Where a reader left the image unlabelled (`IGNORE`) the consensus does so too.

    Args:
        labels: integers `(*spatial)` of one shape, 0 is background; one or more.
        one_structure: whether all values but 0 are (objects of) one structure.
    """
    first, *others = labels
    if all(np.array_equal(first, other) for other in others):
        return first.astype(np.int32)
    unlabelled = np.any([label == IGNORE for label in labels], axis=0)
    drawn = [np.where(unlabelled, 0, label) for label in labels]
    found = _one_structure(drawn) if one_structure else _most_votes(drawn)
    return np.where(unlabelled, IGNORE, found).astype(np.int32)


def _one_structure(labels: Sequence[np.ndarray]) -> np.ndarray:
    masks = [label > 0 for label in labels]
    agreed = _staple(masks)
    numbered = [label for label in labels if len(np.unique(label)) > 2]
    if not numbered:
        return agreed.astype(np.int32)
    best = max(numbered, key=lambda label: dice(label > 0, agreed))
    return _objects(agreed, best)


def _staple(masks: Sequence[np.ndarray]) -> np.ndarray:
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    if np.isnan(probability).any():  # where no reader left background, or all left nothing else
        probability = np.mean(masks, axis=0)
    return probability > 0.5


def _objects(mask: np.ndarray, numbered: np.ndarray) -> np.ndarray:
    """Return `mask` with the numbers of objects; what no numbered object reaches gets new ones."""
    markers = np.where(mask, numbered, 0).astype(np.int32)
    found = watershed(np.zeros(mask.shape, np.uint8), markers, mask=mask)
    further = connected_components(mask & (found == 0))
    return np.where(further > 0, further + found.max(initial=0), found)


def _most_votes(labels: Sequence[np.ndarray]) -> np.ndarray:
    values, indices = np.unique(np.stack(labels), return_inverse=True)
    votes = indices.reshape(len(labels), *labels[0].shape).astype(np.uint16)
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(vote) for vote in votes]
    undecided = len(values)
    winners = sitk.GetArrayFromImage(sitk.LabelVoting(images, undecided))
    return np.append(values, IGNORE)[winners]
