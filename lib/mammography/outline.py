"""The outline of the breast in a mammogram, found on a small copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage
from skimage.morphology import convex_hull_image

from lib.errors import InputError
from lib.mammography.views import Laterality
from lib.segmentation.instances import largest

WORKING = 384  # longest side of the small copy, pixels
SURE = 0.52  # least score at which a chest wall in the image overrules the laterality
RAGGED = 0.7  # solidity below which no breast has that shape
Side = Literal["left", "right"]


@dataclass(frozen=True, kw_only=True)
class Breast:
    """The location of the breast in an image.

    Attributes:
        mask: boolean `(rows, columns)` of the small copy, whose sides are at most `WORKING`.
        box: top, left, bottom and right in the full image, pixels; bottom and right are exclusive.
        chest_wall: the side of the image on which the chest wall is.
        rim: the 5th percentile of the breast's grey divided by its median, both minus the
            background. It is near 0 if the breast fades towards the skin (film), and up to 1 if the
            device compensated for the thinner rim (most images For Presentation).
        doubts: why it may not be a breast, one sentence each.
    """

    mask: np.ndarray
    box: tuple[int, int, int, int]
    chest_wall: Side
    rim: float
    doubts: tuple[str, ...] = ()


def find_breast(
    pixels: np.ndarray, name: str = "image", laterality: Laterality | None = None
) -> Breast:
    """Return the location of the breast.

    A threshold just above the level and noise of the background separates the image from it.
    Morphological opening removes thin things (film edges, letters, scratches). The largest
    component that remains is the breast.

    Args:
        pixels: float32 `(rows, columns)`, 0..1, larger is brighter.
        name: of the file, for errors.
        laterality: decides the side of the chest wall (R means right) if the image does not.

    Raises:
        InputError: the image is blank, or nothing in it looks like a breast.
    """
    small = _reduced(pixels)
    smooth = ndimage.gaussian_filter(small, 1.0)
    bright = smooth > _threshold(smooth)
    mask = _largest(bright)
    if mask.any() and _solidity(mask) < RAGGED:  # fat may be as dark as the background
        mask = max(mask, _largest(_filled(bright)), key=_solidity)
    share = float(mask.mean())
    if share < 0.02:
        raise InputError(
            f"{name}: no breast found, {share:.1%} of the image is brighter than its background; "
            f"expected a mammogram; export it with its own window"
        )
    chest_wall, doubts = _shape(name, mask, smooth, laterality)
    background = float(np.median(small[~mask]))
    faint, half = (float(v) - background for v in np.percentile(small[mask], (5, 50)))
    widths = mask.sum(1)  # rows of a fold of the belly or the arm are narrow; leave them out
    mask = mask & (widths >= 0.1 * widths.max())[:, None]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    down, across = pixels.shape[0] / mask.shape[0], pixels.shape[1] / mask.shape[1]
    box = (
        int(rows[0] * down),
        int(columns[0] * across),
        min(int(np.ceil((rows[-1] + 1) * down)), pixels.shape[0]),
        min(int(np.ceil((columns[-1] + 1) * across)), pixels.shape[1]),
    )
    return Breast(
        mask=mask, box=box, chest_wall=chest_wall, rim=faint / max(half, 1e-6), doubts=doubts
    )


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """Return a small copy, averaged, with sides of at most `WORKING` pixels."""
    rows, columns = pixels.shape
    factor = max(rows, columns) / WORKING
    if factor <= 1:
        return pixels.astype(np.float32)
    size = max(round(columns / factor), 1), max(round(rows / factor), 1)
    return np.asarray(PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BOX))


def _threshold(smooth: np.ndarray) -> float:
    """Return the grey level above which pixels belong to the breast.

    The level of the background is the main peak in the darker half of the histogram: grey and noisy
    on film, 0 from a detector. Its noise is measured on the pixels below that level.
    """
    top = float(np.percentile(smooth, 99))
    counts, edges = np.histogram(smooth, bins=128, range=(0.0, max(top, 1e-6)))
    counts = ndimage.gaussian_filter1d(counts.astype(float), 1.0)
    dark = counts[: 128 // 2]
    peak = int(np.argmax(dark))
    level = float(edges[peak] + edges[1] / 2)
    below = smooth[smooth <= level]
    noise = 1.4826 * float(np.median(level - below)) if below.size else 0.0
    return level + max(5 * noise, 0.06 * (top - level))


def _largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest part of `mask` after an opening, with its holes filled."""
    reach = max(2.0, 0.012 * max(mask.shape))
    inside = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    core = largest(inside > reach, corners=False)
    if not core.any():
        return core
    grown = mask & (ndimage.distance_transform_edt(~core) <= reach + 1)
    return ndimage.binary_fill_holes(grown)


def _solidity(mask: np.ndarray) -> float:
    """Return the share of a mask, not empty, in its convex hull."""
    return float(mask.sum() / convex_hull_image(mask).sum())


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return `mask` with its holes filled, and those that open at the left or the right edge only.

    The chest wall is at one of these edges.
    """
    filled = ndimage.binary_fill_holes(mask)
    for edge in ((1, 0), (0, 1)):
        closed = np.pad(filled, ((0, 0), edge), constant_values=True)
        inner = slice(edge[0], closed.shape[1] - edge[1])
        filled = ndimage.binary_fill_holes(closed)[:, inner]
    return filled


def _shape(
    name: str, mask: np.ndarray, smooth: np.ndarray, side: str | None
) -> tuple[Side, tuple[str, ...]]:
    """Return the chest wall of a mask, and doubts whether its shape is that of a breast.

    The limits hold for 194 films and 20 digital views.

    Raises:
        InputError: no breast has this shape.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share, aspect = float(mask.mean()), inner.shape[1] / inner.shape[0]
    solidity = _solidity(inner)
    score = _chest_wall_score(mask, smooth)
    problems = (
        (share > 0.95, f"{share:.0%} of the image is as bright as tissue, without background"),
        (solidity < RAGGED, f"its outline is ragged (solidity {solidity:.2f})"),
        (not 0.15 < aspect < 1.8, f"it is {aspect:.2f} times as wide as high"),
    )
    for present, problem in problems:
        if present:
            raise InputError(
                f"{name}: no breast found: {problem}; expected a mammogram with its background, "
                f"head up; give the whole view"
            )
    doubts = (
        (share > 0.88, f"{share:.0%} of the image is tissue: cropped, magnified or no mammogram"),
        (solidity < 0.82, f"the outline is ragged for a breast (solidity {solidity:.2f})"),
        (aspect > 1.25, f"{aspect:.2f} times as wide as high, wide for a breast: rotated?"),
        (abs(score) < 0.3, "neither side looks like the chest wall: it may be no mammogram"),
    )
    right = side == "R" if abs(score) < SURE and side is not None else score > 0
    return "right" if right else "left", tuple(doubt for present, doubt in doubts if present)


def _chest_wall_score(mask: np.ndarray, smooth: np.ndarray) -> float:
    """Return how certain it is that the chest wall is at the right (above 0) or left (below 0).

    In digital images the breast touches the edge of the image at the chest wall. On film it ends
    there in a straight line and at full brightness, while it fades towards the skin.
    """
    present = np.flatnonzero(mask.any(1))
    brightness, straight, touching = [], [], []
    columns = np.flatnonzero(mask.any(0))
    width = columns[-1] - columns[0] + 1
    reference = max(float(np.median(smooth[mask])), 1e-6)
    for flip in (1, -1):
        inside, grey = mask[present][:, ::flip], smooth[present][:, ::flip]
        first = inside.argmax(1)
        depth = np.minimum(first[:, None] + np.arange(2, 8), mask.shape[1] - 1)
        brightness.append(float(np.take_along_axis(grey, depth, 1).mean()) / reference)
        straight.append(float((first <= first.min() + max(2, 0.04 * width)).mean()))
        touching.append(float((first <= 2).mean()))
    contact = touching[1] - touching[0]
    if abs(contact) > 0.3:
        return 2 * contact
    return float(np.clip(brightness[1] - brightness[0], -1, 1)) + (straight[1] - straight[0]) / 2
