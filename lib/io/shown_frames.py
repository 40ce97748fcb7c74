"""The frames of any image file as a DICOM viewer takes them: 8 or 16 bit, grey or RGB."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.image import DICOM_EXTENSIONS, MAX_VOXELS, Geometry, has_extension
from lib.io.channels import SeveralChannelsError
from lib.io.read import extension, image_files, read_image
from lib.isolation.calls import isolated

_OF_PICTURE, _OF_VOLUME = (0.1, 99.9), (1, 99)  # percentiles between which a window lies
_SAMPLED = 1 << 20  # values that they are taken of
_TISSUE = (40.0, 400.0)  # centre and width of CT, Hounsfield units
# of CT: its air lies about -1000, its padding not far below; some of it is air, some tissue
_AIR, _LEAST, _SOFT = (-1100.0, -900.0), -3100.0, (-200.0, 200.0)
_LEAST_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class ShownFrames:
    """Frames of a file, in its order.

    Attributes:
        pixels: grey `(frames, rows, columns)`, uint8, uint16 or int16; colour
            `(frames, rows, columns, 3)`, uint8.
        slope, intercept: stored values are `slope * pixels + intercept`.
        window: centre and width in stored values, for grey; None for colour.
        geometry: the grid of the image.
        volume: whether the frames are slices of a volume in space.
    """

    pixels: np.ndarray
    slope: float
    intercept: float
    window: tuple[float, float] | None
    geometry: Geometry
    volume: bool

    @property
    def colour(self) -> bool:
        """Whether each pixel is red, green and blue."""
        return self.pixels.ndim == 4


@isolated(image_files)
def shown_frames(path: str | os.PathLike[str], channel: str = "") -> ShownFrames:
    """Return the frames of an image, a volume or a loop, of several channels one.

    DICOM files give the values that are stored; palettes and YBR become RGB.

    Args:
        channel: name or number; empty for that of ``channels.csv``, else the first.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(path)
    if is_dicom_file(path):
        from lib.dicom.header import open_dicom
        from lib.dicom.pixels import decode_frames

        data = open_dicom(path)
        pixels = decode_frames(path, data).values
        if pixels.itemsize < int(data.BitsAllocated) // 8 and pixels.ndim == 3:
            # some decoders give as few bytes as the values need
            pixels = pixels.astype(f"{pixels.dtype.kind}2")
        shape, volume = pixels.shape[1:3], False
        geometry = Geometry.flat(*shape)
    else:
        try:
            image = read_image(path, MAX_VOXELS, None, channel)
        except SeveralChannelsError:
            image = read_image(path, MAX_VOXELS, None, "1")
        pixels, geometry = image.pixels, image.geometry
        volume = image.spatial_dims == 3
        pixels = pixels if volume else pixels[None]
    if pixels.ndim == 4:
        return ShownFrames(
            pixels=_as_bytes(pixels),
            slope=1.0,
            intercept=0.0,
            window=None,
            geometry=geometry,
            volume=volume,
        )
    stored, slope, intercept = _in_16_bits(pixels)
    return ShownFrames(
        pixels=stored,
        slope=slope,
        intercept=intercept,
        window=_window(stored, slope, intercept, volume),
        geometry=geometry,
        volume=volume,
    )


def is_dicom_file(path: Path) -> bool:
    """Tell whether a file is read as DICOM: by its name, or of unknown names by its content."""
    from lib.io.read import begins_as_dicom

    return has_extension(path, DICOM_EXTENSIONS) or not extension(path) and begins_as_dicom(path)


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return colours in 8 bit; of more bits the upper ones that are used."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind in "bu":
        used = max(8, int(pixels.max(initial=0)).bit_length())
        return (pixels >> (used - 8)).astype(np.uint8)
    low, high = float(pixels.min()), float(pixels.max())
    return np.rint((pixels - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def _in_16_bits(pixels: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return grey values in at most 16 bits, with the slope and intercept that give them back."""
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8), 1.0, 0.0
    if pixels.dtype in (np.uint8, np.uint16, np.int16):
        return np.ascontiguousarray(pixels), 1.0, 0.0
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind in "iu":
        for dtype in (np.uint16, np.int16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return pixels.astype(dtype), 1.0, 0.0
    low, slope = float(low), (float(high) - float(low)) / 65535 or 1.0
    stored = np.empty(pixels.shape, np.uint16)
    for frame, out in zip(pixels, stored, strict=True):  # frame by frame, to save memory
        out[...] = np.rint((frame.astype(np.float64) - low) / slope)
    return stored, slope, low


def _window(
    stored: np.ndarray, slope: float, intercept: float, volume: bool
) -> tuple[float, float]:
    """Return centre and width of a window that few values lie outside of; of CT that of tissue.

    Of a volume more may lie outside, since vessels and fluid of MR outshine the rest. Its bright
    end is that of what is brighter than the mean: a dark stack may show a few nuclei only.
    """
    step = max(1, stored.size // _SAMPLED)
    values = stored.reshape(-1)[::step].astype(np.float64) * slope + intercept
    if volume and _is_ct(values):
        return _TISSUE
    low, high = np.percentile(values, _OF_PICTURE)
    if volume and high > low:
        low = np.percentile(values, _OF_VOLUME[0])
        high = np.percentile(values[values > values.mean()], _OF_VOLUME[1])
    if high <= low:
        low, high = (float(end) * slope + intercept for end in (stored.min(), stored.max()))
    width = max(float(high - low), slope)
    return float(low) + width / 2, width


def _is_ct(values: np.ndarray) -> bool:
    """Tell whether values look like Hounsfield units of a body in air."""
    if not _LEAST <= values.min() <= _AIR[1] or values.max() <= _SOFT[1]:
        return False
    air, soft = (((low <= values) & (values <= high)).mean() for low, high in (_AIR, _SOFT))
    return bool(min(air, soft) >= _LEAST_SHARE)
