"""Preparation of the breast in a mammogram: cropped, mirrored to one side, resized, normalised.

Labels, tape, film edges and background become zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage

from lib.errors import InputError
from lib.mammography.greys import Mammogram
from lib.mammography.outline import Breast, find_breast
from lib.mammography.pectoral_muscle import find_muscle
from lib.tasks.image_spec import InputSpec

_RESAMPLE = PillowImage.Resampling


@dataclass(frozen=True, kw_only=True)
class PreparedBreast:
    """A breast as the networks see it: chest wall at the right edge, head up.

    Attributes:
        pixels: float32 `(rows, columns)`, 0..1 inside the breast, 0 outside.
        breast: boolean, of the same shape: the pixels of the breast.
        box: top, left, bottom and right of the crop in the full image, pixels.
        inner_box: the same for the resized crop in `pixels`; the rest is padding.
        mirrored: whether the crop was mirrored left to right.
        full_shape: rows and columns of the full image.
        window: the greys of the full image, 0..1, that became 0 and 1 in `pixels`.
        rim: see `lib.mammography.outline.Breast`.
        spacing: millimetres between rows and between columns of `pixels`; None if the file has
            none.
        mammogram: the image as read, without its pixels.
        notes: what was odd, and how it was interpreted; includes the notes of reading.
        doubts: why an answer on this image should not be trusted.
    """

    pixels: np.ndarray
    breast: np.ndarray
    box: tuple[int, int, int, int]
    inner_box: tuple[int, int, int, int]
    mirrored: bool
    full_shape: tuple[int, int]
    window: tuple[float, float]
    rim: float
    spacing: tuple[float, float] | None
    mammogram: Mammogram
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def original_grey(self) -> np.ndarray:
        """Return `pixels` with the image's own greys: float32, 0..1 inside the breast, 0 outside.

        On films these greys say more about the density than normalised ones, but they depend on the
        exposure.
        """
        low, high = self.window
        return np.where(self.breast, self.pixels * (high - low) + low, 0).astype(np.float32)

    def undo(self, values: np.ndarray, smooth: bool = False) -> np.ndarray:
        """Return `values` on the grid of the full image, 0 outside the crop.

        Args:
            values: of the shape of `pixels`: a mask, labels up to 255, or float32.
            smooth: interpolate linearly, for saliency; otherwise take the nearest value.

        Raises:
            ValueError: `values` has another shape.
        """
        if values.shape != self.pixels.shape:
            raise ValueError(f"values of shape {values.shape}, expected {self.pixels.shape}")
        top, left, bottom, right = self.inner_box
        crop = values[top:bottom, left:right]
        crop = crop[:, ::-1] if self.mirrored else crop
        dtype = np.float32 if values.dtype.kind == "f" else np.uint8
        picture = PillowImage.fromarray(np.ascontiguousarray(crop, dtype))
        top, left, bottom, right = self.box
        method = _RESAMPLE.BILINEAR if smooth else _RESAMPLE.NEAREST
        full = np.zeros(self.full_shape, values.dtype)
        full[top:bottom, left:right] = picture.resize((right - left, bottom - top), method)
        return full


def network_input(prepared: PreparedBreast, spec: InputSpec) -> np.ndarray:
    """Return a prepared view as network input, float32 `(channels, rows, columns)` in 0..1."""
    greys = {"normalised": prepared.pixels, "original": prepared.original_grey()}
    return np.stack([greys[name] for name in spec.channels])


def prepare_breast(mammogram: Mammogram, size: int | tuple[int, int]) -> PreparedBreast:
    """Return the breast alone, at the size and in the orientation that networks see.

    The crop is mirrored if necessary so that the chest wall is at the right edge, as in a right
    breast. It is resized with anti-aliasing until it fills the height or the width, and keeps its
    aspect ratio. Then it is padded at the left, and equally above and below. Inside the breast, the
    0.5th percentile of the greys becomes 0 and the 99.5th becomes 1.

    Args:
        size: rows and columns of the result; one number for a square.

    Raises:
        InputError: the size is too small, or no breast is found.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 16:
        raise InputError(f"size {height} x {width} is too small, expected at least 16 x 16 pixels")
    pixels, view = mammogram.pixels, mammogram.view
    found = find_breast(pixels, mammogram.path.name, view.laterality)
    top, left, bottom, right = found.box
    rows, columns = bottom - top, right - left
    scale = min(height / rows, width / columns)
    inner = max(min(round(rows * scale), height), 1), max(min(round(columns * scale), width), 1)
    breast = _resized(found.mask.astype(np.float32), pixels.shape, found.box, inner) > 0.5
    crop = _resized(pixels, pixels.shape, found.box, inner)
    mirrored = found.chest_wall == "left"
    if mirrored:
        breast, crop = breast[:, ::-1], crop[:, ::-1]
    down = (height - inner[0]) // 2
    inner_box = (down, width - inner[1], down + inner[0], width)
    filled = (slice(down, down + inner[0]), slice(width - inner[1], width))
    low, high = (float(v) for v in np.percentile(crop[breast], (0.5, 99.5)))
    result = np.zeros((height, width), np.float32)
    whole = np.zeros((height, width), bool)
    whole[filled] = breast
    scaled = np.clip((crop - low) / max(high - low, 1e-6), 0, 1)
    result[filled] = np.where(breast, scaled, 0)
    notes, doubts = _checked(mammogram, found, result, whole)
    spacing = mammogram.spacing
    if spacing:
        spacing = (spacing[0] * rows / inner[0], spacing[1] * columns / inner[1])
    return PreparedBreast(
        pixels=result,
        breast=whole,
        box=found.box,
        inner_box=inner_box,
        mirrored=mirrored,
        full_shape=(pixels.shape[0], pixels.shape[1]),
        window=(low, high),
        rim=found.rim,
        spacing=spacing,
        mammogram=replace(mammogram, pixels=np.empty((0, 0), np.float32)),
        notes=(*mammogram.notes, *notes),
        doubts=(*mammogram.doubts, *found.doubts, *doubts),
    )


def _resized(
    pixels: np.ndarray,
    full: tuple[int, ...],
    box: tuple[int, int, int, int],
    size: tuple[int, int],
) -> np.ndarray:
    """Return a box of an image, resized.

    Args:
        pixels: the image, or a small copy of it.
        full: rows and columns of the image.
        box: top, left, bottom and right in the image.
        size: rows and columns of the result.
    """
    down, across = pixels.shape[0] / full[0], pixels.shape[1] / full[1]
    source = (box[1] * across, box[0] * down, box[3] * across, box[2] * down)
    picture = PillowImage.fromarray(pixels)
    return np.asarray(picture.resize((size[1], size[0]), _RESAMPLE.BILINEAR, box=source))


def _checked(
    mammogram: Mammogram, found: Breast, pixels: np.ndarray, breast: np.ndarray
) -> tuple[list[str], list[str]]:
    """Return notes and doubts about the orientation of a prepared breast, from tags and shape."""
    notes, doubts = [], []
    view, orientation = mammogram.view, mammogram.orientation
    usual = {"R": "right", "L": "left", None: found.chest_wall}[view.laterality]
    if found.chest_wall != usual:
        notes.append(
            f"{view.name} with the chest wall at the {found.chest_wall}, usual is the {usual}: "
            f"the image, or the name of its side, is mirrored"
        )
    if orientation and orientation[0][:1] in ("A", "P"):
        tagged = "right" if orientation[0].startswith("P") else "left"
        if tagged != found.chest_wall:
            notes.append(f"PatientOrientation has the chest wall at the {tagged}; the image counts")
    oblique = view.projection in ("MLO", "ML", "LM", "LMO")
    if oblique and orientation and orientation[1].startswith("H"):
        doubts.append("PatientOrientation says it is upside down")
    elif oblique or view.projection is None:
        widths = breast[breast.any(1)].sum(1).astype(float)
        smooth = ndimage.uniform_filter1d(widths, max(len(widths) // 40, 1))
        widest = float(np.argmax(smooth)) / len(widths)
        upright = find_muscle(pixels, breast)[1]
        turned = find_muscle(pixels[::-1], breast[::-1])[1]
        if turned > upright:
            doubts.append("the pectoral muscle seems to lie below: it may be upside down")
        elif widest < (0.43 if oblique else 0.36) and upright == 0:
            doubts.append(
                f"it is widest at {widest:.0%} of its height, expected below the middle: it may be "
                f"upside down"
            )
    return notes, doubts
