"""How tests draw a patch of one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lib.data.case import HeldCase
from lib.data.draw import draw_images, draw_patches
from lib.tasks.image_spec import AugmentSpec

CPU = torch.device("cpu")


def draw_patch(
    image: np.ndarray,
    target: np.ndarray,
    size: int | Sequence[int],
    spec: AugmentSpec,
    rng: np.random.Generator,
    maps: tuple[str, ...] = ("foreground",),
    foreground_share: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a patch of an image `(channels, *spatial)` and of its target, as arrays."""
    case = HeldCase.of((image, target), CPU)
    sides = size if isinstance(size, int) else tuple(size)
    patches = draw_patches([case], sides, spec, [rng], maps, foreground_share)
    images, targets = (part.numpy() for part in patches)
    return images[0], targets[0]


def augment_image(image: np.ndarray, spec: AugmentSpec, rng: np.random.Generator) -> np.ndarray:
    """Draw a whole mammogram `(channels, rows, columns)`, as an array."""
    case = HeldCase.of((image, np.array(0)), CPU)
    return draw_images([case], spec, [rng]).numpy()[0]
