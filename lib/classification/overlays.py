"""Maps in colour: over a view in grey as one picture, or as a layer that a viewer lays over it."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

OPACITY = 0.75  # of the colour at which the map is 1
LONGEST = 1536  # pixels of a picture's longer side


def grey_picture(pixels: np.ndarray) -> np.ndarray:
    """Return a view, 0..1, as a grey picture, uint8, with sides of at most `LONGEST` pixels."""
    grey = _reduced(pixels)
    low, high = (float(value) for value in np.percentile(grey[::2, ::2], (0.5, 99.8)))
    return np.rint(np.clip((grey - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def overlay(picture: np.ndarray, values: np.ndarray, title: str) -> PillowImage.Image:
    """Return a grey picture with `values` in colour over it; higher values are more opaque.

    The colour map is magma, whose lightness rises evenly (van der Walt and Smith 2015).

    Args:
        picture: made by `grey_picture`.
        values: float32 `(rows, columns)`, 0..1, on the grid of the picture's image.
        title: one line of text, written beside the breast.
    """
    from matplotlib import colormaps

    step = np.rint(_reduced(values) * 255).astype(np.uint8)
    if step.shape != picture.shape:
        raise ValueError(f"a map of shape {values.shape} on a picture of {picture.shape}")
    steps = np.linspace(0, 1, 256)
    colours = colormaps["magma"](steps)[:, :3] * (OPACITY * steps)[:, None]
    kept = (1 - OPACITY * steps).astype(np.float32)[step] * picture
    blended = np.empty((*picture.shape, 3), np.uint8)
    for channel, colour in enumerate((255 * colours).astype(np.float32).T):
        blended[..., channel] = np.rint(kept + colour[step])
    result = PillowImage.fromarray(blended)
    half = picture.shape[1] // 2
    _write_title(result, title, at_right=picture[:, :half].mean() > picture[:, -half:].mean())
    return result


def layer(values: np.ndarray) -> PillowImage.Image:
    """Return `values` in colour as a layer to be laid over their image.

    Index n of its palette stands for the value n / 255: its colour in magma, as opaque as the value
    is high. So 0 shows nothing.

    Args:
        values: float32 `(rows, columns)`, 0..1.
    """
    from matplotlib import colormaps

    picture = PillowImage.fromarray(np.rint(values * 255).astype(np.uint8), "P")
    colours = np.rint(255 * colormaps["magma"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    picture.putpalette(colours.tobytes())
    picture.info["transparency"] = bytes(range(256))
    return picture


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` with sides of at most `LONGEST` pixels."""
    share = min(1.0, LONGEST / max(pixels.shape))
    if share == 1:
        return pixels
    size = max(round(pixels.shape[1] * share), 1), max(round(pixels.shape[0] * share), 1)
    reduced = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BILINEAR)
    return np.asarray(reduced).clip(0, 1)


def _write_title(picture: PillowImage.Image, title: str, at_right: bool) -> None:
    """Write `title` into a lower corner, in smaller letters if it would not fit."""
    draw = ImageDraw.Draw(picture)
    margin = max(picture.height // 100, 1)
    size = max(picture.height / 36, 9.0)
    wide = draw.textlength(title, ImageFont.load_default(size))
    size = max(min(size, size * (picture.width - 2 * margin) / max(wide, 1)), 6.0)
    across = picture.width - margin if at_right else margin
    draw.text(
        (across, picture.height - margin),
        title,
        fill=(255, 255, 255),
        font=ImageFont.load_default(size),
        anchor="rd" if at_right else "ld",
        stroke_width=max(round(size / 12), 1),
        stroke_fill=(0, 0, 0),
    )
