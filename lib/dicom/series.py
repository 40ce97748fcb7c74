"""A series of slices, each a DICOM file of its own, read as one volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from lib.dicom.display import inverted, rescale_factors, without_padding
from lib.dicom.geometry import dicom_geometry, pixel_spacing
from lib.dicom.header import frame_count, open_dicom, open_with_notes, photometric
from lib.dicom.pixels import Frames, decode_frames
from lib.dicom.sources import Plane, in_order, plane_of
from lib.dicom.ultrasound import interpret, is_ultrasound
from lib.errors import InputError
from lib.image import MAX_VOXELS, Geometry, Image, check_pixel_count

_EVEN = 0.02  # how far the distance of two slices may be from the median, as a share of it
_STRAIGHT = 0.02  # how far a slice may be shifted in its plane, as a share of the distance


def order_slices(files: Sequence[Path]) -> list[Path]:
    """Return the files of a series in the order of their slices in space."""
    return [Path(file) for file in in_order(list(files))]


def read_series(files: Sequence[Path], name: str, max_voxels: int = MAX_VOXELS) -> Image:
    """Read a series of single-frame slices as a volume.

    Values are rescaled where the files give slope and intercept (CT: Hounsfield units).

    Args:
        files: in any order.
        name: of the series, for messages.

    Returns:
        The volume, its slices sorted along their normal, as ITK stacks them.

    Raises:
        InputError: no volume: slices of several sizes or directions, without a position, two at
            the same position, at uneven distances, or shifted against each other.
    """
    ordered = order_slices(files)
    headers = [open_dicom(file, header_only=True) for file in ordered]
    geometry = _geometry(headers, name)
    check_pixel_count(name, geometry.size, max_voxels)
    slices = [_read_slice(file, name) for file in ordered]
    notes = tuple(dict.fromkeys(note for one in slices for note in one.notes))
    values, padding = np.stack([one.values for one in slices]), None
    if any(one.padding is not None for one in slices):
        nowhere = np.zeros(values.shape[1:], bool)
        padding = np.stack([nowhere if one.padding is None else one.padding for one in slices])
    pixels, notes = without_padding(values, padding, notes)
    return Image(pixels, geometry, ordered[0], notes=notes)


def _geometry(headers: Sequence[pydicom.Dataset], name: str) -> Geometry:
    """Return the grid of sorted slices, after checking that they make up one volume."""
    sizes = {(int(data.Rows), int(data.Columns), frame_count(data)) for data in headers}
    if len(sizes) > 1 or next(iter(sizes))[2] > 1:
        shown = ", ".join(" x ".join(map(str, size)) for size in sorted(sizes)[:3])
        raise InputError(
            f"{name}: {len(headers)} images of rows x columns x frames {shown}, expected slices of "
            f"one size; store each volume as a series of its own"
        )
    planes = [plane_of(data, 0) for data in headers]
    located = [plane for plane in planes if plane is not None]
    if len(located) < len(planes) or len(located) < 2:
        raise InputError(
            f"{name}: {len(planes) - len(located)} of {len(planes)} slices give no position in the "
            f"patient; expected ImagePositionPatient, ImageOrientationPatient and PixelSpacing"
        )
    step = _step(located, name)
    first = headers[0]
    flat = dicom_geometry(first, pixel_spacing(first), step)
    return Geometry((*flat.size[:2], len(headers)), flat.spacing, flat.origin, flat.direction)


def _step(planes: Sequence[Plane], name: str) -> float:
    """Return the distance of neighbouring slices, mm."""
    first = planes[0]
    for plane in planes[1:]:
        if not np.allclose(plane.orientation, first.orientation, atol=1e-3) or not np.allclose(
            plane.spacing, first.spacing, rtol=1e-3
        ):
            raise InputError(
                f"{name}: slices of several directions or spacings, expected one volume; store "
                f"each as a series of its own"
            )
    steps = np.diff([plane.position for plane in planes], axis=0)
    along = steps @ first.normal
    step = float(np.median(along))
    if (along < 1e-3).any():
        raise InputError(
            f"{name}: two slices at the same position, expected one volume; store each time or "
            f"contrast as a series of its own"
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


def _read_slice(file: Path, name: str) -> Frames:
    """Return the rescaled values of a slice `(rows, columns)`, and its padding."""
    data, notes = open_with_notes(file)
    if is_ultrasound(data):
        return Frames(values=interpret(file, data).pixels[0], notes=notes)
    frames = decode_frames(file, data)
    if frames.values.ndim == 4:
        raise InputError(f"{name}: slices in colour, expected grey; no volume is made of them")
    values = frames.values[0]
    if photometric(data) == "MONOCHROME1":
        values = inverted(data, values)
    padding = None if frames.padding is None else frames.padding[0]
    return Frames(values=_rescaled(values, data), padding=padding, notes=(*notes, *frames.notes))


def _rescaled(pixels: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return the stored values rescaled by the header; as integers where that is exact."""
    slope, intercept = rescale_factors(header)
    if (slope, intercept) == (1.0, 0.0):
        return pixels
    if slope.is_integer() and intercept.is_integer() and pixels.dtype.kind in "iu":
        return (pixels.astype(np.int64) * int(slope) + int(intercept)).astype(np.int32)
    return (pixels * slope + intercept).astype(np.float32)
