"""DICOM ultrasound: single frames, cine loops and volumes as grey images with their spacing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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

from lib.dicom.display import displayed_frames
from lib.dicom.geometry import FrameAxis, frame_axis, pixel_spacing
from lib.dicom.header import frame_count, tag_value
from lib.dicom.ultrasound_region import Crop, around, find_region, tissue_regions
from lib.errors import InputError
from lib.image import LUMINANCE

_LOGGER = logging.getLogger(__name__)
_COLOURED = 40  # of 255: a larger difference between red, green and blue is no grey
_MODALITIES = ("US", "IVUS")
_SOP_CLASSES = (
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    EnhancedUSVolumeStorage,
    "1.2.840.10008.5.1.4.1.1.6",  # retired, single-frame
    "1.2.840.10008.5.1.4.1.1.3",  # retired, multi-frame
)

RegionSource = Literal["header", "found", "whole"]


@dataclass(frozen=True, kw_only=True)
class Ultrasound:
    """Ultrasound as read.

    Attributes:
        pixels: `(frames, rows, columns)`, whole frames, uint8 or uint16, larger is brighter; colour
            becomes luminance (ITU-R BT.601).
        spacing: between frames, rows and columns. Frames: ms in a loop, mm in a volume, 1 for a
            single frame. Rows and columns: mm.
        calibrated: whether the file gives the spacing of rows and columns; if not, both are 1.
        timed: whether the file gives the spacing of frames; if not, it is 1.
        frame_axis: the axis of the frames; "none" for a single frame.
        region: the part of the frames that shows tissue: around the regions in the header, else
            what moves or differs from the background, else the whole frame.
        region_source: "header", "found" (by its pixels), or "whole".
        coloured: bool, shape of `pixels`: Doppler, overlays and marks in colour; None if there is
            no such pixel in the region.
        warnings: what was unusual, and how it was read, in one sentence each.
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
    """Tell whether a dataset is ultrasound, by its modality or its SOP class."""
    modality, sop_class = tag_value(data, "Modality"), tag_value(data, "SOPClassUID")
    return modality in _MODALITIES or sop_class in _SOP_CLASSES


def interpret(path: Path, data: pydicom.Dataset, frames: Sequence[int] | None = None) -> Ultrasound:
    """Return a dataset as ultrasound, whatever its modality.

    Args:
        path: its file, for messages.
        data: as `lib.dicom.header.open_dicom` returns it.
        frames: indices of the frames to take, in order; None takes all.

    Raises:
        InputError: truncated, in an encoding that cannot be decoded, of more than 16 bits, or a
            volume whose frames do not lie evenly.
    """
    rows, columns = int(data.Rows), int(data.Columns)
    notes = []
    modality = str(tag_value(data, "Modality") or "none")
    if modality not in _MODALITIES:
        notes.append(f"Modality is {modality}, expected US; read as ultrasound all the same")
    chosen = range(frame_count(data)) if frames is None else frames
    axis, step, lying = frame_axis(path.name, data, "time", chosen)
    shown, reading = displayed_frames(path, data, chosen)
    notes += [*reading, *lying]
    pixels, coloured = _grey(path.name, shown)
    regions = tissue_regions(data, rows, columns)
    if len(regions) > 1:
        notes.append(f"{len(regions)} tissue regions; all are taken, the largest's spacing for all")
    source: RegionSource
    region, source = Crop.whole(rows, columns), "whole"
    if regions:
        region, source = around([region.crop for region in regions]), "header"
    elif box := find_region(pixels):
        region, source = box, "found"
    flat = pixel_spacing(data) or (regions[0].spacing if regions else None)
    if flat is None:
        notes.append("no spacing in the file: rows and columns are taken as 1 mm apart")
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
        pixels=pixels,
        spacing=(step or 1.0, *(flat or (1.0, 1.0))),
        calibrated=flat is not None,
        timed=step is not None,
        frame_axis=axis,
        region=region,
        region_source=source,
        coloured=coloured,
        warnings=tuple(notes),
    )


def _grey(name: str, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return grey `(frames, rows, columns)` in 8 or 16 bit, and the mask of coloured pixels."""
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
    limit = _COLOURED if frames.dtype == np.uint8 else _COLOURED * 257
    for index, frame in enumerate(frames):  # frame by frame, to save memory
        grey[index] = np.rint(frame @ LUMINANCE).astype(frames.dtype)
        coloured[index] = np.ptp(frame, axis=-1) > limit
    return grey, coloured if coloured.any() else None
