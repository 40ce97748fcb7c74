"""DICOM images, loops and volumes of one file, with the grid that the file gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom

from lib.dicom.display import displayed_frames
from lib.dicom.frames import Choose, FrameGroup, chosen_group
from lib.dicom.geometry import FrameAxis, dicom_geometry, frame_axis, itk_grid, pixel_spacing
from lib.dicom.header import frame_count, open_dicom, open_with_notes, tag_value
from lib.dicom.ultrasound import interpret, is_ultrasound
from lib.dicom.ultrasound_region import Crop
from lib.errors import InputError
from lib.image import Geometry, Image, check_pixel_count, not_a_volume

_MODALITY_LENGTH = 16  # of a code string


def read_dicom(
    path: Path, max_pixels: int, spatial_dims: int, choose: Choose | None = None
) -> Image:
    """Read a DICOM file: one frame as an image, several frames as a volume or a loop over time.

    Pixels are the stored values, inverted where that makes larger brighter; padding is background
    (`lib.dicom.display`). Palettes and YBR become RGB. Ultrasound becomes luminance, and its region
    is kept. Frames lie in the order of their positions (`lib.dicom.frames`). The frames of a loop
    have a spacing of 1. The geometry is the grid that ITK reads; what the tags tell of spacing is
    the physical one.

    Args:
        max_pixels: limit of frames x rows x columns.
        spatial_dims: 2 for a single frame, 3 for several.
        choose: which of several volumes, such as times or stacks; its name is the channel.

    Returns:
        An image whose geometry has three axes; the third of a single frame has size 1.

    Raises:
        InputError: not DICOM, truncated, no pixels, of other dimensions, larger than `max_pixels`,
            in an unsupported encoding, of several volumes, or with frames that make up none.
    """
    data, notes = open_with_notes(path)
    _refuse_part(path.name, data)
    frames = frame_count(data)
    flat_size = int(data.Columns), int(data.Rows)
    if frames > 1 and spatial_dims == 2:
        raise InputError(
            f"{path.name}: holds {frames} frames, expected a single-frame image; export the frame "
            f"to annotate"
        )
    if frames == 1 and spatial_dims == 3:
        raise not_a_volume(path, "a DICOM file of one frame")
    check_pixel_count(path.name, flat_size if frames == 1 else (*flat_size, frames), max_pixels)
    group = chosen_group(path.name, data, choose)
    if list(group.indices) != sorted(group.indices):
        notes += ("frames are stored out of order; sorted by their positions",)

    region: tuple[slice, slice] | None = None
    flat: tuple[float, float] | None
    step: float | None
    if is_ultrasound(data):
        read = interpret(path, data, group.indices)
        pixels, colour, axis = read.pixels, False, read.frame_axis
        flat, step, reading = read.spacing[1:], read.spacing[0], read.warnings
        if read.region != Crop.whole(*pixels.shape[1:]):
            region = read.region.slices
    else:
        flat, (axis, step, lying) = pixel_spacing(data), _axis(path.name, data, group)
        pixels, reading = displayed_frames(path, data, group.indices)
        colour, notes = pixels.ndim == 4, (*notes, *lying)
    measured = dicom_geometry(data, flat, step if axis == "space" else None, group.indices)
    return Image(
        pixels[0] if frames == 1 else pixels,
        itk_grid(path, data, measured),
        path,
        colour=colour,
        region=region,
        over_time=axis == "time",
        channel=group.name,
        notes=(*notes, *reading),
        physical_spacing=measured.spacing,
    )


def dicom_grid(path: Path, choose: Choose | None = None) -> Geometry:
    """Return the grid of a file, as `read_dicom` gives it, from its header alone.

    Args:
        choose: which of several volumes; None takes the first.
    """
    data = open_dicom(path, header_only=True)
    group = chosen_group(path.name, data, choose or _first)
    axis, step, _ = _axis(path.name, data, group)
    space = step if axis == "space" else None
    return itk_grid(path, data, dicom_geometry(data, pixel_spacing(data), space, group.indices))


def dicom_size(path: Path, choose: Choose | None = None) -> tuple[int, ...]:
    """Return columns, rows and, where there are several, frames, from the header alone.

    Args:
        choose: which of several volumes; None takes the first.
    """
    data = open_dicom(path, header_only=True)
    size = (int(data.Columns), int(data.Rows))
    if frame_count(data) == 1:
        return size
    return (*size, len(chosen_group(path.name, data, choose or _first).indices))


def dicom_kind(path: Path) -> tuple[str, bool]:
    """Return the modality of a file, and whether its frames are a loop over time.

    The modality is that of its header (0008,0060); where that tells none US for the SOP classes of
    ultrasound, else empty.
    """
    data = open_dicom(path, header_only=True)
    modality = str(tag_value(data, "Modality") or "").strip().upper()
    if not modality.isalnum() or len(modality) > _MODALITY_LENGTH:
        modality = "US" if is_ultrasound(data) else ""
    try:
        group = chosen_group(path.name, data, _first)
        return modality, _axis(path.name, data, group)[0] == "time"
    except InputError:  # frames that lie unevenly: reading the file tells it
        return modality, False


def _first(name: str, volumes: Sequence[str]) -> int:
    return 0


def _refuse_part(name: str, data: pydicom.Dataset) -> None:
    """Raise `InputError` for one of the files that an image was split into (PS3.3 C.7.6.16)."""
    count = tag_value(data, "InConcatenationTotalNumber")
    if tag_value(data, "ConcatenationUID") and count != 1:
        part = tag_value(data, "InConcatenationNumber") or "?"
        raise InputError(
            f"{name}: part {part} of {count or 'several'} of an image that was split (a "
            f"concatenation), expected the whole image; export it again as one file"
        )


def _axis(
    name: str, data: pydicom.Dataset, group: FrameGroup
) -> tuple[FrameAxis, float | None, list[str]]:
    return frame_axis(name, data, "time" if is_ultrasound(data) else "space", group.indices)
