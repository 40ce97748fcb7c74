"""Breast phantoms, and copies of them as data sets hold them."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage

from lib.phantoms.ultrasound.studies import breast_frame

SIDE = (96, 128)


def image(seed: int) -> np.ndarray:
    return breast_frame(seed, SIDE).image


def marked(image: np.ndarray) -> np.ndarray:
    """A copy with callipers and letters burned in, cropped and brightened as by another export."""
    copy = np.clip(image * 1.2, 0, 255).astype(np.uint8)
    copy[30:33, 40:80], copy[80:88, 10:50:2] = 255, 255
    return np.asarray(PillowImage.fromarray(copy[:, 4:]).resize((140, 100)))
