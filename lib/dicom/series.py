"""A series of slices, each a DICOM file of its own, read as one volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from lib.dicom.display import inverted, rescale_factors, without_padding
from lib.dicom.frames import Choose, refuse_several
from lib.dicom.geometry import dicom_geometry, pixel_spacing
from lib.dicom.header import frame_count, open_dicom, open_with_notes, photometric, tag_value
from lib.dicom.pixels import Frames, decode_frames
from lib.dicom.sources import Plane, in_order, plane_of
from lib.dicom.stacking import even_step, place_numbers, told_apart
from lib.dicom.ultrasound import interpret, is_ultrasound
from lib.errors import InputError
from lib.image import MAX_VOXELS, Geometry, Image, check_pixel_count
from lib.isolation.calls import isolated

# what tells slices of one place apart: its name and the attribute
_FACTS = (
    ("time", "TemporalPositionIdentifier"),
    ("time", "TemporalPositionIndex"),
    ("phase", "TriggerTime"),
    ("phase", "NominalPercentageOfCardiacPhase"),
    ("echo", "EchoNumbers"),
    ("echo", "EchoTime"),
    ("b-value", "DiffusionBValue"),
    ("type", "ImageType"),
    ("kernel", "ConvolutionKernel"),
    ("acquisition", "AcquisitionNumber"),
    ("acquisition", "AcquisitionTime"),
)

_TWICE_MM = 0.01  # two slices this near may be the same one


def _files(
    files: Sequence[Path], name: str, *_: object, choose: Choose | None = None
) -> Sequence[Path]:
    """Return the files to read; none where the choice of a volume is to be made in this process."""
    return [Path(file) for file in files] if choose is None else []


@isolated(_files)
def order_slices(files: Sequence[Path], name: str, choose: Choose | None = None) -> list[Path]:
    """Return the files of a volume in the order of its slices, without what is there twice.

    Raises:
        InputError: several volumes and nothing chooses one, or two slices at the same position.
    """
    return _paths(_arranged(files, name, choose)[0])


@isolated(_files)
def read_series(
    files: Sequence[Path],
    name: str,
    max_voxels: int = MAX_VOXELS,
    choose: Choose | None = None,
) -> Image:
    """Read a series of single-frame slices as a volume.

    Values are rescaled where the files give slope and intercept (CT: Hounsfield units). A slice
    that is there twice is taken once, and small irregularities of the positions are not heeded; the
    notes say so.

    Args:
        files: in any order.
        name: of the series, for messages.
        choose: which of several volumes, such as times or echoes; its name is the channel.

    Returns:
        The volume, its slices sorted along their normal, as ITK stacks them.

    Raises:
        InputError: no volume: slices of several sizes or directions, without a position, two at
            the same position, at uneven distances, or shifted against each other.
    """
    headers, channel, notes = _arranged(files, name, choose)
    ordered = _paths(headers)
    geometry, lying = _geometry(headers, name)
    check_pixel_count(name, geometry.size, max_voxels)
    slices = [_read_slice(file, name) for file in ordered]
    notes += tuple(dict.fromkeys(note for one in slices for note in one.notes))
    values, padding = np.stack([one.values for one in slices]), None
    if any(one.padding is not None for one in slices):
        nowhere = np.zeros(values.shape[1:], bool)
        padding = np.stack([nowhere if one.padding is None else one.padding for one in slices])
    pixels, notes = without_padding(values, padding, (*lying, *notes))
    return Image(pixels, geometry, ordered[0], channel=channel, notes=notes)


def _volumes(files: Sequence[Path]) -> dict[str, list[pydicom.Dataset]]:
    """Return the headers of each volume of a series, in order; one volume has the name ""."""
    headers = in_order([open_dicom(file, header_only=True) for file in files])
    planes = [plane_of(data, 0) for data in headers]
    located = [plane for plane in planes if plane is not None]
    if len(located) < max(len(planes), 2) or _several_directions(located):
        return {"": headers}  # no volume, as `_geometry` finds
    places = place_numbers(np.array([plane.position for plane in located]) @ located[0].normal)
    facts = [(fact, [str(tag_value(data, tag)) for data in headers]) for fact, tag in _FACTS]
    volumes = told_apart(places, facts)
    return {name: [headers[index] for index in members] for name, members in volumes.items()}


def _arranged(
    files: Sequence[Path], name: str, choose: Choose | None
) -> tuple[list[pydicom.Dataset], str, tuple[str, ...]]:
    """Return the headers of a volume in order, its name in the series, and notes."""
    volumes = _volumes(files)
    names = list(volumes)
    chosen = names[(choose or _refuse)(name, names) if len(names) > 1 else 0]
    kept: list[pydicom.Dataset] = []
    for header in volumes[chosen]:
        if not (kept and _same_slice(kept[-1], header)):
            kept.append(header)
    left_out = len(volumes[chosen]) - len(kept)
    notes = (f"{left_out} slices are there twice, alike in every pixel; taken once",)
    return kept, chosen, notes if left_out else ()


def _refuse(name: str, volumes: Sequence[str]) -> int:
    return refuse_several(name, volumes, "store each as a series of its own")


def _paths(headers: Sequence[pydicom.Dataset]) -> list[Path]:
    return [Path(data.filename) for data in headers]


def _same_slice(one: pydicom.Dataset, other: pydicom.Dataset) -> bool:
    """Tell whether two files hold the same values at the same position."""
    planes = plane_of(one, 0), plane_of(other, 0)
    if not (planes[0] and planes[1]) or abs(planes[1].offset - planes[0].offset) > _TWICE_MM:
        return False
    found, wanted = (_read_slice(file, file.name).values for file in _paths((one, other)))
    return np.array_equal(found, wanted)


def _geometry(headers: Sequence[pydicom.Dataset], name: str) -> tuple[Geometry, list[str]]:
    """Return the grid of sorted slices, after checking that they make up one volume, and notes."""
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
    first = located[0]
    if _several_directions(located):
        raise InputError(
            f"{name}: slices of several directions or spacings, expected one volume; store each as "
            f"a series of its own"
        )
    positions = np.array([plane.position for plane in located])
    try:
        step, notes = even_step(positions, first.normal, min(first.spacing))
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    flat = dicom_geometry(headers[0], pixel_spacing(headers[0]), step)
    size = (*flat.size[:2], len(headers))
    return Geometry(size, flat.spacing, flat.origin, flat.direction), notes


def _several_directions(planes: Sequence[Plane]) -> bool:
    first = planes[0]
    return any(
        not np.allclose(plane.orientation, first.orientation, atol=1e-3)
        or not np.allclose(plane.spacing, first.spacing, rtol=1e-3)
        for plane in planes[1:]
    )


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
    ends = np.array([pixels.min(), pixels.max()], float) * slope + intercept
    if not (np.abs(ends) <= np.finfo(np.float32).max).all():
        raise InputError(
            f"{Path(header.filename).name}: RescaleSlope {slope:g} and RescaleIntercept "
            f"{intercept:g} give values beyond 32-bit numbers; export it again"
        )
    whole = slope.is_integer() and intercept.is_integer() and pixels.dtype.kind in "iu"
    if whole and max(np.abs(ends).max(), abs(intercept)) < 2**31:
        return (pixels.astype(np.int64) * int(slope) + int(intercept)).astype(np.int32)
    return (pixels * slope + intercept).astype(np.float32)
