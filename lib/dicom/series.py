"""Slices of a series, each a DICOM file of its own, as the one volume that they make up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from lib.dicom.geometry import dicom_geometry, pixel_spacing
from lib.dicom.pixels import frame_count, open_dicom, tag_value
from lib.dicom.read import read_dicom
from lib.dicom.sources import Plane, in_order, plane_of
from lib.errors import InputError
from lib.image import MAX_PIXELS, MAX_VOXELS, Geometry, Image, check_pixel_count

_EVEN = 0.02  # share of their distance by which slices may lie closer or farther apart
_STRAIGHT = 0.02  # share of their distance by which a slice may lie beside the normal


def order_slices(files: Sequence[Path]) -> list[Path]:
    """Return the files of a series the way they follow each other in space."""
    return [Path(file) for file in in_order(list(files))]


def read_series(files: Sequence[Path], name: str, max_voxels: int = MAX_VOXELS) -> Image:
    """Read a series of single-frame slices as a volume.

    Values are rescaled as the modality says (CT: Hounsfield units), where it says anything.

    Args:
        files: in any order.
        name: of the series, for messages.

    Returns:
        Slices along their normal, as ITK stacks them.

    Raises:
        InputError: no volume: slices of several sizes or directions, without a place, two at
            one place, not at even distances, or shifted against each other.
    """
    ordered = order_slices(files)
    headers = [open_dicom(file, header_only=True) for file in ordered]
    geometry = _geometry(headers, name)
    check_pixel_count(name, geometry.size, max_voxels)
    slices = []
    for file, header in zip(ordered, headers, strict=True):
        pixels = read_dicom(file, MAX_PIXELS, 2)
        if pixels.colour:
            raise InputError(f"{name}: slices in colour, expected grey; no volume is made of them")
        slices.append(_rescaled(pixels.pixels, header))
    return Image(np.stack(slices), geometry, ordered[0])


def _geometry(headers: Sequence[pydicom.Dataset], name: str) -> Geometry:
    """Return the grid of slices that are in their order, after checking that they make up one."""
    sizes = {(int(data.Rows), int(data.Columns), frame_count(data)) for data in headers}
    if len(sizes) > 1 or next(iter(sizes))[2] > 1:
        shown = ", ".join(" x ".join(map(str, size)) for size in sorted(sizes)[:3])
        raise InputError(
            f"{name}: {len(headers)} images of rows x columns x frames {shown}, expected slices of "
            f"one size; store each volume as a series of its own"
        )
    planes = [plane_of(data, 0) for data in headers]
    known = [plane for plane in planes if plane is not None]
    if len(known) < len(planes) or len(known) < 2:
        raise InputError(
            f"{name}: {len(planes) - len(known)} of {len(planes)} slices tell no place in the "
            f"patient; expected ImagePositionPatient, ImageOrientationPatient and PixelSpacing"
        )
    step = _step(known, name)
    first = headers[0]
    flat = dicom_geometry(first, pixel_spacing(first), step)
    return Geometry((*flat.size[:2], len(headers)), flat.spacing, flat.origin, flat.direction)


def _step(planes: Sequence[Plane], name: str) -> float:
    """Return the distance of neighbours, mm."""
    first = planes[0]
    for plane in planes[1:]:
        if not np.allclose(plane.orientation, first.orientation, atol=1e-3) or not np.allclose(
            plane.spacing, first.spacing, rtol=1e-3
        ):
            raise InputError(
                f"{name}: slices of several directions or spacings, expected one volume; store "
                f"each as a series of its own"
            )
    places = np.array([plane.position for plane in planes])
    steps = np.diff(places, axis=0)
    along = steps @ first.normal
    step = float(np.median(along))
    if (along < 1e-3).any():
        raise InputError(
            f"{name}: two slices at one place, expected one volume; store each time or contrast "
            f"as a series of its own"
        )
    uneven = int((np.abs(along - step) > _EVEN * step).sum())
    if uneven:
        raise InputError(
            f"{name}: {uneven} of {len(along)} slices are not {step:.3g} mm from their neighbour "
            f"(up to {along.max():.3g} mm); slices may be missing, send the series again"
        )
    beside = steps - along[:, None] * first.normal
    if float(np.linalg.norm(beside, axis=1).max()) > _STRAIGHT * step:
        raise InputError(
            f"{name}: slices are shifted against each other (tilted gantry); resample the volume"
        )
    return step


def _rescaled(pixels: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return stored values as the modality means them: whole numbers where that is exact."""
    try:
        slope = float(tag_value(header, "RescaleSlope") or 1)
        intercept = float(tag_value(header, "RescaleIntercept") or 0)
    except (TypeError, ValueError):
        return pixels
    if (slope, intercept) == (1.0, 0.0) or not math.isfinite(slope + intercept):
        return pixels
    if slope.is_integer() and intercept.is_integer():
        return (pixels.astype(np.int64) * int(slope) + int(intercept)).astype(np.int32)
    return (pixels * slope + intercept).astype(np.float32)
