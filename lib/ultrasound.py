"""DICOM ultrasound: single frames, cine loops and volumes as grey images with their calibration.

Compressed pixels are decoded by GDCM, which comes with SimpleITK: JPEG, JPEG lossless, JPEG-LS and
JPEG 2000, also of several frames; RLE and uncompressed ones by pydicom.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixel_data_handlers.util import convert_color_space
from pydicom.uid import RLELossless

from lib.datasets.stacks import LUMINANCE
from lib.errors import InputError
from lib.images import MAX_VOXELS
from lib.ultrasound_region import Crop, find_region, tissue_regions

# of damaged files it complains in passing; the error says it in one line
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

_LOGGER = logging.getLogger(__name__)
COLOURED = 40  # largest less smallest of red, green and blue, of 255: more is no grey
_ULTRASOUND = ("US", "IVUS")

_ITK_NOISE = re.compile(r"ITK ERROR: \w+\(0x\w+\): ")

FrameAxis = Literal["time", "space", "none"]
RegionSource = Literal["header", "found", "whole"]


@dataclass(frozen=True)
class Ultrasound:
    """Ultrasound as read.

    Attributes:
        pixels: `(frames, rows, columns)`, uint8 or uint16, larger is brighter; colour is turned to
            luminance (ITU-R BT.601).
        spacing: between frames, rows and columns. Frames in ms of a loop, in mm of a volume, 1 of a
            single frame; rows and columns in mm.
        calibrated: whether the file gives the spacing of rows and columns; if not, both are 1.
        timed: whether the file gives the spacing of frames; if not, it is 1.
        frame_axis: what the frames of the file follow; "none" of a single frame.
        region: which part of the file's frames `pixels` is.
        region_source: "header": the file names it; "found": by its pixels; "whole": not cropped.
        full_shape: rows and columns of the file's frames, for `region.undo`.
        coloured: bool, shape of `pixels`: Doppler, overlays and marks in colour; None if no pixel.
        warnings: what was odd and how it was taken, one sentence each.
    """

    pixels: np.ndarray
    spacing: tuple[float, float, float]
    calibrated: bool
    timed: bool
    frame_axis: FrameAxis
    region: Crop
    region_source: RegionSource
    full_shape: tuple[int, int]
    coloured: np.ndarray | None
    warnings: tuple[str, ...]


def read_ultrasound(path: Path, crop: bool = True, max_voxels: int = MAX_VOXELS) -> Ultrasound:
    """Read DICOM ultrasound.

    Args:
        crop: to the 2D tissue region that the file names, the largest of several, else to what
            moves or differs from the background. Whole frames where neither is found.
        max_voxels: most that frames x rows x columns may be.

    Raises:
        InputError: not DICOM, truncated, without pixels, too large, or in an unknown encoding.
    """
    data = _read(path)
    rows, columns = int(data.Rows), int(data.Columns)
    count = int(data.get("NumberOfFrames", 1) or 1)
    if min(rows, columns, count) < 1 or rows * columns * count > max_voxels:
        raise InputError(
            f"{path.name}: {count} frames of {rows} x {columns} pixels; expected 1 to {max_voxels} "
            f"pixels in all; export fewer frames"
        )
    notes = []
    modality = str(data.get("Modality", "") or "none")
    if modality not in _ULTRASOUND:
        notes.append(f"Modality is {modality}, expected US; read as ultrasound all the same")
    pixels, coloured = _grey(path.name, _decode(path, data, count))
    regions = tissue_regions(data, rows, columns)
    if len(regions) > 1:
        notes.append(f"{len(regions)} tissue regions; the largest is taken")
    region, source = Crop.whole(rows, columns), "whole"
    if crop and regions:
        region, source = regions[0].crop, "header"
    elif crop and (box := find_region(pixels)):
        region, source = box, "found"
    flat = _pixel_spacing(data) or (regions[0].spacing if regions else None)
    if flat is None:
        notes.append("no spacing in the file: rows and columns are taken as 1 mm apart")
    axis, step = _frame_axis(data, count)
    if axis != "none" and step is None:
        notes.append("no frame time in the file: frames are taken as 1 apart")
    coloured = None if coloured is None else region.apply(coloured)
    if coloured is not None and coloured.any():
        notes.append(f"{coloured.mean():.1%} of the pixels are coloured; taken as luminance")
    else:
        coloured = None
    for note in notes:
        _LOGGER.warning("%s: %s", path.name, note)
    return Ultrasound(
        np.ascontiguousarray(region.apply(pixels)),
        (step or 1.0, *(flat or (1.0, 1.0))),
        flat is not None,
        step is not None,
        axis,
        region,
        source,  # type: ignore[arg-type]
        (rows, columns),
        coloured,
        tuple(notes),
    )


def _read(path: Path) -> pydicom.Dataset:
    try:
        data = pydicom.dcmread(path)
        tags = ("Rows", "Columns", "PhotometricInterpretation", "BitsAllocated")
        missing = [tag for tag in tags if data.get(tag) is None]
        missing += [] if "TransferSyntaxUID" in data.file_meta else ["TransferSyntaxUID"]
        int(data.get("NumberOfFrames", 1) or 1)
    except FileNotFoundError:
        raise InputError(f"{path.name}: no such file") from None
    except InvalidDicomError:
        raise InputError(
            f"{path.name}: not a DICOM file; export it from the archive again"
        ) from None
    except Exception as error:
        raise InputError(f"{path.name}: damaged DICOM file ({error}); export it again") from None
    if missing:
        raise InputError(
            f"{path.name}: a DICOM object without an image (no {', '.join(missing)}); expected an "
            f"ultrasound image or loop"
        )
    if "PixelData" not in data:
        raise InputError(f"{path.name}: holds no pixel data; it may be truncated, export it again")
    return data


def _decode(path: Path, data: pydicom.Dataset, count: int) -> np.ndarray:
    """Return `(frames, rows, columns[, 3])`; palettes applied, YBR as RGB, larger is brighter."""
    syntax = data.file_meta.TransferSyntaxUID
    photometric = str(data.PhotometricInterpretation)
    try:
        # pydicom 2 misreads palettes of big-endian files, and GDCM the 16-bit colour of RLE
        if photometric == "PALETTE COLOR" or (syntax.is_compressed and syntax != RLELossless):
            pixels = _decode_by_gdcm(path, data)
        else:
            pixels = data.pixel_array
            if photometric.startswith("YBR"):
                pixels = convert_color_space(pixels, photometric, "RGB")
            elif photometric == "MONOCHROME1":
                signed = int(data.get("PixelRepresentation", 0))
                pixels = ~pixels if signed else (2 ** int(data.BitsStored) - 1) - pixels
    except Exception as error:  # many kinds, of pydicom's, NumPy's and ITK's
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{path.name}: pixel data of {syntax.name}, {photometric} cannot be decoded "
            f"({_ITK_NOISE.sub('', lines[-1]).strip()}); export it again, uncompressed"
        ) from None
    grey = int(data.get("SamplesPerPixel", 1) or 1) == 1 and photometric != "PALETTE COLOR"
    shape = (count, int(data.Rows), int(data.Columns), *(() if grey else (3,)))
    if pixels.size != math.prod(shape):
        raise InputError(
            f"{path.name}: pixel data of shape {pixels.shape}, its header promises {shape}; it may "
            f"be truncated, export it again"
        )
    return pixels.reshape(shape)


def _decode_by_gdcm(path: Path, data: pydicom.Dataset) -> np.ndarray:
    import SimpleITK as sitk

    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    if slope != 1 or intercept != 0:  # which GDCM has applied to grey values
        pixels = np.rint((pixels - intercept) / slope).astype(np.int32)
    if str(data.PhotometricInterpretation) == "PALETTE COLOR" and pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)  # entries of 16 bits
    return pixels


def _grey(name: str, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return grey `(frames, rows, columns)` in 8 or 16 bit, and which pixels are coloured."""
    low, high = int(frames.min()), int(frames.max())
    if frames.dtype.kind not in "iu" or high - min(low, 0) > np.iinfo(np.uint16).max:
        raise InputError(
            f"{name}: values {low} to {high} of type {frames.dtype}, expected 8 or 16 bit; export "
            f"the image as displayed"
        )
    if frames.dtype.kind == "i":  # signed values lie around 0
        frames = frames.astype(np.int64) - min(low, 0)
    if frames.dtype.itemsize > 2:
        frames = frames.astype(np.uint16)
    frames = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    if frames.ndim == 3:
        return frames, None
    grey, coloured = np.empty(frames.shape[:3], frames.dtype), np.empty(frames.shape[:3], bool)
    limit = COLOURED if frames.dtype == np.uint8 else COLOURED * 257
    for index, frame in enumerate(frames):  # one by one: a loop of colour is large
        grey[index] = np.rint(frame @ LUMINANCE).astype(frames.dtype)
        coloured[index] = np.ptp(frame, axis=-1) > limit
    return grey, coloured if coloured.any() else None


def _pixel_spacing(data: pydicom.Dataset) -> tuple[float, float] | None:
    """Return the spacing of rows and columns in mm from PixelSpacing; None where there is none."""
    for place in (data, *_pixel_measures(data)):
        found = _positive(place.get("PixelSpacing"))
        if len(found) == 2:
            return found[0], found[1]
    return None


def _frame_axis(data: pydicom.Dataset, count: int) -> tuple[FrameAxis, float | None]:
    """Return what the frames follow and how far they lie apart, ms or mm; None where not given."""
    if count == 1:
        return "none", None
    for tag in ("FrameTime", "FrameTimeVector"):
        if times := _positive(data.get(tag)):
            return "time", sum(times) / len(times)
    for place in (data, *_pixel_measures(data)):
        for tag in ("SpacingBetweenSlices", "SliceThickness"):
            if steps := _positive(place.get(tag)):
                return "space", steps[0]
    for tag in ("CineRate", "RecommendedDisplayFrameRate"):
        if rate := _positive(data.get(tag)):
            return "time", 1000 / rate[0]
    return "time", None


def _pixel_measures(data: pydicom.Dataset) -> Iterator[Any]:
    for groups in data.get("SharedFunctionalGroupsSequence") or []:
        yield from groups.get("PixelMeasuresSequence") or []


def _positive(value: Any) -> tuple[float, ...]:
    """Return the finite numbers above 0 of a tag: of a vector of times the first is 0."""
    try:
        numbers = np.atleast_1d(np.array(value, dtype=float))
    except (TypeError, ValueError):
        return ()
    return tuple(float(number) for number in numbers if np.isfinite(number) and number > 0)
