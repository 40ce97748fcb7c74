"""Answers with objects of known areas and intensities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.exports.answer import Answer
from lib.image import Geometry, Image


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Return values uint8 and objects int32 `(40, 60)`: a block, a ring, two that touch, a pixel.

    1: 10 x 20 at the corner, 50 each. 2: 9 x 9 around a hole of 3 x 3, 100 each. 3 and 4: 6 x 5
    that share an edge, 10 and 20. 5: one pixel of 255.
    """
    objects = np.zeros((40, 60), np.int32)
    objects[:10, :20] = 1
    objects[20:29, 5:14] = 2
    objects[23:26, 8:11] = 0
    objects[20:26, 30:35] = 3
    objects[20:26, 35:40] = 4
    objects[38, 58] = 5
    values = np.array([0, 50, 100, 10, 20, 255], np.uint8)[objects]
    values[24, 9] = 7  # within the hole: measured by nobody
    return values, objects


@pytest.fixture
def make_answer(tmp_path: Path) -> Callable[..., Answer]:
    """Return a function that makes an answer of pixels and objects."""

    def make(
        pixels: np.ndarray | None = None,
        objects: np.ndarray | None = None,
        structures: tuple[str, ...] | None = None,
        labels: dict[str, int] | None = None,
        spacing: tuple[float, ...] | None = None,
        name: str = "cells.png",
        **more: Any,
    ) -> Answer:
        if pixels is None:
            pixels, objects = planted()
        assert objects is not None
        image_fields = {key: more.pop(key) for key in ("colour", "over_time") if key in more}
        geometry = Geometry.flat(*objects.shape)
        image = Image(pixels, geometry, tmp_path / name, physical_spacing=spacing, **image_fields)
        labels = labels or {"nuclei": 1}
        count = int(objects.max(initial=0))
        return Answer(
            image=image,
            objects=objects,
            structures=structures or ("", *["nuclei"] * count),
            labels=labels,
            label=objects,
            **{"numbered": True, "separated": True, "model": "nuclei", "version": "v1", **more},
        )

    return make
