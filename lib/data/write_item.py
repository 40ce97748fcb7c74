"""Images of a studies folder, written with their labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.data.studies import FINAL_LABELS
from lib.files import copy_atomically, replaced_atomically
from lib.image import Geometry
from lib.io.masks import Names, write_mask
from lib.io.read import extension, read_image
from lib.io.resolution import add_png_scale


def write_item(
    studies: Path,
    id: str,
    image: Path,
    label: np.ndarray | None = None,
    pixel_mm: float | None = None,
    names: Names = (),
) -> None:
    """Copy an image file into a studies folder, with its label in ``labels/final``.

    Args:
        label: integers `(rows, columns)`.
        names: of the label's values, which is then a NRRD that keeps them; else it is a PNG.
        pixel_mm: side of a pixel in millimetres, where the file does not tell it; the image then
            becomes a PNG that does, with the same pixels.
    """
    folder = studies / FINAL_LABELS
    folder.mkdir(parents=True, exist_ok=True)
    spacing = (pixel_mm or 1.0,) * 2
    if label is not None:
        flat = Geometry.flat(*label.shape)
        file = folder / f"{id}.{'nrrd' if names else 'png'}"
        write_mask(file, label, replace(flat, spacing=spacing), names=names)
    if pixel_mm is None:
        copy_atomically(image, studies / f"{id}{extension(image)}")
        return
    with replaced_atomically(studies / f"{id}.png") as partial:
        PillowImage.fromarray(read_image(image).pixels).save(partial, format="PNG")
        add_png_scale(partial, spacing)
