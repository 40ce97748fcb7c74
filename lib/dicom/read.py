"""DICOM images, loops and volumes of one file, with the grid that the file gives them."""

from __future__ import annotations

from pathlib import Path

from lib.dicom.display import displayed_frames
from lib.dicom.geometry import dicom_geometry, frame_axis, itk_grid, pixel_spacing
from lib.dicom.header import frame_count, open_dicom, open_with_notes
from lib.dicom.ultrasound import interpret, is_ultrasound
from lib.dicom.ultrasound_region import Crop
from lib.errors import InputError
from lib.image import Geometry, Image, check_pixel_count, not_a_volume


def read_dicom(path: Path, max_pixels: int, spatial_dims: int) -> Image:
    """Read a DICOM file: one frame as an image, several frames as a volume or a loop over time.

    Pixels are the stored values, inverted where that makes larger brighter; padding is background
    (`lib.dicom.display`). Palettes and YBR become RGB. Ultrasound becomes luminance, and its region
    is kept. The frames of a loop have a spacing of 1. The geometry is the grid that ITK reads; what
    the tags tell of spacing is the physical one.

    Args:
        max_pixels: limit of frames x rows x columns.
        spatial_dims: 2 for a single frame, 3 for several.

    Returns:
        An image whose geometry has three axes; the third of a single frame has size 1.

    Raises:
        InputError: not DICOM, truncated, no pixels, of other dimensions, larger than `max_pixels`,
            or in an unsupported encoding.
    """
    data, notes = open_with_notes(path)
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

    region: tuple[slice, slice] | None = None
    flat: tuple[float, float] | None
    step: float | None
    if is_ultrasound(data):
        read = interpret(path, data)
        pixels, colour, axis = read.pixels, False, read.frame_axis
        flat, step, reading = read.spacing[1:], read.spacing[0], read.warnings
        if read.region != Crop.whole(*pixels.shape[1:]):
            region = read.region.slices
    else:
        pixels, reading = displayed_frames(path, data)
        colour = pixels.ndim == 4
        flat, (axis, step) = pixel_spacing(data), frame_axis(data, default="space")
    measured = dicom_geometry(data, flat, step if axis == "space" else None)
    return Image(
        pixels[0] if frames == 1 else pixels,
        itk_grid(path, data, measured),
        path,
        colour=colour,
        region=region,
        over_time=axis == "time",
        notes=(*notes, *reading),
        physical_spacing=measured.spacing,
    )


def dicom_grid(path: Path) -> Geometry:
    """Return the grid of a file, as `read_dicom` gives it, from its header alone."""
    data = open_dicom(path, header_only=True)
    axis, step = frame_axis(data, default="time" if is_ultrasound(data) else "space")
    measured = dicom_geometry(data, pixel_spacing(data), step if axis == "space" else None)
    return itk_grid(path, data, measured)


def dicom_size(path: Path) -> tuple[int, ...]:
    """Return columns, rows and, where there are several, frames, from the header alone."""
    data = open_dicom(path, header_only=True)
    size = (int(data.Columns), int(data.Rows), frame_count(data))
    return size if size[2] > 1 else size[:2]
