"""The image with the outlines of what was found in it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as PillowImage
from skimage.segmentation import find_boundaries

from lib.exports.answer import Answer
from lib.exports.outlines import COLOURS

_DARKEST, _BRIGHTEST = 0.5, 99.8  # percent of the values, shown as black and white


def overlay_png(answer: Answer) -> bytes:
    """Return a PNG of the image's size: in grey or colour, with outlines of one pixel.

    Outlines lie inside their objects. Neighbouring numbers have other colours; where objects are
    parts of structures, each structure has its own. Of a volume or loop it is the slice in which
    most is found, or the middle one. Grey is stretched between the 0.5th and 99.8th percentile.
    """
    index = chosen_slice(answer)
    picture, objects = displayed(answer, index), answer.objects
    plane = objects if objects.ndim == 2 else objects[index]
    return png(outlined(picture, plane, colours_of(answer)))


def chosen_slice(answer: Answer) -> int:
    """Return the index of the slice or frame with most pixels of objects, else the middle one."""
    if answer.objects.ndim == 2:
        return 0
    sizes = np.count_nonzero(answer.objects, axis=(1, 2))
    return int(sizes.argmax()) if sizes.any() else len(sizes) // 2


def displayed(answer: Answer, index: int = 0) -> np.ndarray:
    """Return the image, or a slice of it, as a picture, uint8 `(rows, columns, 3)`."""
    pixels = answer.image.pixels
    plane = pixels if answer.image.spatial_dims == 2 else pixels[index]
    if answer.image.colour and plane.dtype == np.uint8:
        return np.array(plane[..., :3])
    step = max(1, round((plane.size / 1e6) ** 0.5))
    low, high = np.percentile(plane[::step, ::step], (_DARKEST, _BRIGHTEST)).tolist()
    scaled = (plane.astype(np.float32) - low) / (high - low or 1)
    grey = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey if answer.image.colour else np.repeat(grey[..., np.newaxis], 3, axis=-1)


def colours_of(answer: Answer) -> np.ndarray:
    """Return a colour for each number of an object, uint8 `(numbers, 3)`."""
    if answer.separated:
        numbers = np.arange(len(answer.structures)) - 1
    else:
        order = {name: n for n, name in enumerate(answer.labels)}
        numbers = np.array([order.get(name, 0) for name in answer.structures])
    return np.array(COLOURS, np.uint8)[numbers % len(COLOURS)]


def outlined(picture: np.ndarray, plane: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return `picture`, uint8 `(rows, columns, 3)`, with the inner edges of objects in colour.

    Objects at the border of the image are closed there.
    """
    edges = find_boundaries(np.pad(plane, 1), mode="inner")[1:-1, 1:-1]
    picture[edges] = colours[plane[edges]]
    return picture


def png(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 `(rows, columns, 3)`, as PNG."""
    file = io.BytesIO()
    PillowImage.fromarray(picture).save(file, "PNG", compress_level=3)
    return file.getvalue()
