"""DICOM ultrasound: single frames, cine loops and volumes as grey images with their calibration."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from pydicom.uid import (
    EnhancedUSVolumeStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from lib.dicom.geometry import FrameAxis, frame_axis, pixel_spacing
from lib.dicom.pixels import decode_frames, frame_count, open_dicom, tag_value
from lib.dicom.ultrasound_region import Crop, around, find_region, tissue_regions
from lib.errors import InputError
from lib.image import LUMINANCE, MAX_VOXELS, check_pixel_count

_LOGGER = logging.getLogger(__name__)
COLOURED = 40  # largest less smallest of red, green and blue, of 255: more is no grey
_MODALITIES = ("US", "IVUS")
_CLASSES = (
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    EnhancedUSVolumeStorage,
    "1.2.840.10008.5.1.4.1.1.6",  # the same of single and several frames, retired
    "1.2.840.10008.5.1.4.1.1.3",
)

RegionSource = Literal["header", "found", "whole"]


@dataclass(frozen=True)
class Ultrasound:
    """Ultrasound as read.

    Attributes:
        pixels: `(frames, rows, columns)`, whole frames, uint8 or uint16, larger is brighter; colour
            is turned to luminance (ITU-R BT.601).
        spacing: between frames, rows and columns. Frames in ms of a loop, in mm of a volume, 1 of a
            single frame; rows and columns in mm.
        calibrated: whether the file gives the spacing of rows and columns; if not, both are 1.
        timed: whether the file gives the spacing of frames; if not, it is 1.
        frame_axis: what the frames of the file follow; "none" of a single frame.
        region: the part of the frames that shows tissue: around the regions that the file names,
            else what moves or differs from the background; the whole where neither is known.
        region_source: "header": the file names it; "found": by its pixels; "whole".
        coloured: bool, shape of `pixels`: Doppler, overlays and marks in colour; None if no pixel
            of the region.
        warnings: what was odd and how it was taken, one sentence each.
    """

    pixels: np.ndarray
    spacing: tuple[float, float, float]
    calibrated: bool
    timed: bool
    frame_axis: FrameAxis
    region: Crop
    region_source: RegionSource
    coloured: np.ndarray | None
    warnings: tuple[str, ...]


def is_ultrasound(data: pydicom.Dataset) -> bool:
    """Tell whether a dataset is ultrasound, by its modality or its class."""
    modality, kind = tag_value(data, "Modality"), tag_value(data, "SOPClassUID")
    return modality in _MODALITIES or kind in _CLASSES


def read_ultrasound(path: Path, max_voxels: int = MAX_VOXELS) -> Ultrasound:
    """Read a DICOM file as ultrasound, whatever its modality.

    Args:
        max_voxels: most that frames x rows x columns may be.

    Raises:
        InputError: not DICOM, truncated, without pixels, too large, or in an unknown encoding.
    """
    data = open_dicom(path)
    size = (int(data.Columns), int(data.Rows), frame_count(data))
    check_pixel_count(path.name, size, max_voxels)
    return interpret(path, data)


def interpret(path: Path, data: pydicom.Dataset) -> Ultrasound:
    """Return what a dataset of ultrasound shows; see `read_ultrasound`.

    Args:
        path: its file, for messages.
    """
    rows, columns = int(data.Rows), int(data.Columns)
    notes = []
    modality = str(tag_value(data, "Modality") or "none")
    if modality not in _MODALITIES:
        notes.append(f"Modality is {modality}, expected US; read as ultrasound all the same")
    pixels, coloured = _grey(path.name, decode_frames(path, data))
    regions = tissue_regions(data, rows, columns)
    if len(regions) > 1:
        notes.append(f"{len(regions)} tissue regions; all are taken, the largest's spacing for all")
    region, source = Crop.whole(rows, columns), "whole"
    if regions:
        region, source = around([region.crop for region in regions]), "header"
    elif box := find_region(pixels):
        region, source = box, "found"
    flat = pixel_spacing(data) or (regions[0].spacing if regions else None)
    if flat is None:
        notes.append("no spacing in the file: rows and columns are taken as 1 mm apart")
    axis, step = frame_axis(data, default="time")
    if axis != "none" and step is None:
        what = "frame time" if axis == "time" else "spacing of frames"
        notes.append(f"no {what} in the file: frames are taken as 1 apart")
    if coloured is not None:
        share = coloured[(slice(None), *region.slices)].mean()
        coloured = coloured if share else None
        notes += [f"{share:.1%} of the pixels are coloured; taken as luminance"] if share else []
    for note in notes:
        _LOGGER.info("%s: %s", path.name, note)
    return Ultrasound(
        pixels,
        (step or 1.0, *(flat or (1.0, 1.0))),
        flat is not None,
        step is not None,
        axis,
        region,
        source,  # type: ignore[arg-type]
        coloured,
        tuple(notes),
    )


def _grey(name: str, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return grey `(frames, rows, columns)` in 8 or 16 bit, and which pixels are coloured."""
    low, high = int(frames.min()), int(frames.max())
    if frames.dtype.kind not in "iu" or high - min(low, 0) > np.iinfo(np.uint16).max:
        raise InputError(
            f"{name}: values {low} to {high} of type {frames.dtype}, expected 8 or 16 bit; export "
            f"the image as displayed"
        )
    if frames.dtype.kind == "i":  # signed values lie around 0
        frames = frames.astype(np.int32) - min(low, 0)
    if frames.dtype.itemsize > 2:
        frames = frames.astype(np.uint16)
    if frames.ndim == 3:
        return frames, None
    grey, coloured = np.empty(frames.shape[:3], frames.dtype), np.empty(frames.shape[:3], bool)
    limit = COLOURED if frames.dtype == np.uint8 else COLOURED * 257
    for index, frame in enumerate(frames):  # one by one: a loop of colour is large
        grey[index] = np.rint(frame @ LUMINANCE).astype(frames.dtype)
        coloured[index] = np.ptp(frame, axis=-1) > limit
    return grey, coloured if coloured.any() else None
