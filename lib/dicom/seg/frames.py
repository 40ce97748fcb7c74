"""The stored frames of a DICOM segmentation: BINARY, FRACTIONAL or LABELMAP.

Read by hand, frame by frame: pydicom unpacks all bits of a segmentation at once, 8 times its size,
and highdicom refuses most segmentations of other programs.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pydicom

from lib.dicom.geometry import group_items
from lib.dicom.header import frame_count, tag_value
from lib.dicom.pixels import decode_frames
from lib.errors import InputError
from lib.image import MAX_VOXELS

MAX_LOOKS = 2**33  # pixels looked at for the segments of a frame of a label map: ten seconds


class SegFrames:
    """The frames of a segmentation, one at a time, as shares of 0 to 255."""

    def __init__(self, name: str, data: pydicom.Dataset) -> None:
        """Read the pixels of a segmentation.

        Args:
            name: of its file, for messages.

        Raises:
            InputError: truncated, too large, or stored in a way that cannot be read.
        """
        self.data = data
        self.rows, self.columns = int(data.Rows), int(data.Columns)
        self.count = frame_count(data)
        self.type = str(tag_value(data, "SegmentationType") or "BINARY")
        self.bits = int(data.BitsAllocated)
        pixels = self.rows * self.columns
        if min(pixels, self.count) < 1 or self.bits not in (1, 8, 16):
            raise InputError(
                f"{name}: {self.count} frames of {self.rows} x {self.columns} pixels of "
                f"{self.bits} bits; expected at least one pixel, of 1, 8 or 16 bits; store the "
                f"label again"
            )
        groups = tag_value(data, "PerFrameFunctionalGroupsSequence") or []
        if len(groups) != self.count:
            raise InputError(
                f"{name}: {self.count} frames and the description of {len(groups)}; expected one "
                f"for each; store the label again"
            )
        meta = getattr(data, "file_meta", None)
        syntax = meta.TransferSyntaxUID if meta else None
        if syntax is not None and not syntax.is_little_endian:
            raise InputError(f"{name}: big endian pixels; expected little endian; convert the file")
        self.decoded = None
        if syntax is not None and syntax.is_compressed and not syntax.is_deflated:
            if self.count * pixels > MAX_VOXELS:
                raise InputError(f"{name}: {self.count * pixels} pixels, at most {MAX_VOXELS}")
            self.decoded = decode_frames(Path(name), _uncoloured(data)).values
        else:
            self.bytes = bytes(data.PixelData)
            expected = math.ceil(self.count * pixels * self.bits / 8)
            if len(self.bytes) < expected:
                raise InputError(
                    f"{name}: {len(self.bytes)} of {expected} bytes of pixels are there; it is "
                    f"truncated, fetch it again"
                )
        self.segments = [self._segment(index) for index in range(self.count)]
        self.top = int(tag_value(data, "MaximumFractionalValue") or 1)
        if self.type == "FRACTIONAL" and self.top > 1:
            # compressed ones of OHIF hold 0 and 1, although their header gives 255 as the largest
            if not any((self.values(index) > 1).any() for index in range(self.count)):
                self.top = 1

    @property
    def by_segment(self) -> list[int]:
        """Indices of all frames, sorted by segment number."""
        return sorted(range(self.count), key=lambda index: self.segments[index] or 0)

    def _segment(self, index: int) -> int | None:
        """Return the segment number that a frame names; None in a label map without one."""
        for item in group_items(self.data, "SegmentIdentificationSequence", index):
            return int(item.ReferencedSegmentNumber)
        if self.type == "LABELMAP":
            return None
        return int(self.data.SegmentSequence[0].SegmentNumber)

    def numbers(self, index: int) -> list[int]:
        """Return the numbers of the segments in a frame; those of a label map by its pixels."""
        number = self.segments[index]
        if self.type != "LABELMAP" and number is not None:
            return [number]
        found = [int(value) for value in np.unique(self.values(index)) if value]
        if len(found) * self.rows * self.columns > MAX_LOOKS:
            raise InputError(
                f"a frame of {self.rows} x {self.columns} pixels holds {len(found)} segments, "
                f"which are too many to be told apart; store the label as an image"
            )
        return found

    def share(self, index: int, number: int) -> np.ndarray:
        """Return the segment's share of each pixel, 0..255 as uint8 `(rows, columns)`.

        Shares below a half are 0.
        """
        values = self.values(index)
        if self.type == "LABELMAP":
            return np.where(values == number, 255, 0).astype(np.uint8)
        if self.type != "FRACTIONAL":
            return np.where(values > 0, 255, 0).astype(np.uint8)
        of_255 = np.minimum(values.astype(np.uint32) * 255 // self.top, 255)
        return np.where(2 * values.astype(np.uint32) >= self.top, of_255, 0).astype(np.uint8)

    def values(self, index: int) -> np.ndarray:
        """Return the stored values of a frame, `(rows, columns)`."""
        if self.decoded is not None:
            return self.decoded[index]
        pixels = self.rows * self.columns
        start = index * pixels
        if self.bits > 1:
            dtype = np.dtype(f"<u{self.bits // 8}")
            flat = np.frombuffer(self.bytes, dtype, pixels, start * dtype.itemsize)
        else:
            first, skipped = divmod(start, 8)
            size = math.ceil((start + pixels) / 8) - first
            packed = np.frombuffer(self.bytes, np.uint8, size, first)
            flat = np.unpackbits(packed, bitorder="little")[skipped : skipped + pixels]
        return flat.reshape(self.rows, self.columns)


def _uncoloured(data: pydicom.Dataset) -> pydicom.Dataset:
    """Return the dataset without its palette, which a label map may have: its pixels are labels."""
    if tag_value(data, "PhotometricInterpretation") == "MONOCHROME2":
        return data
    other = pydicom.Dataset()
    other.update(data)
    other.file_meta = data.file_meta
    other.pop("PhotometricInterpretation", None)  # its element is shared with `data`
    other.PhotometricInterpretation = "MONOCHROME2"
    return other
