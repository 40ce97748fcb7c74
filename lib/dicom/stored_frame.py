"""One frame of an uncompressed DICOM file as viewers take it: as it is stored, in little endian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.pixels.utils import get_expected_length

from lib.dicom.header import frame_count, open_dicom, photometric
from lib.dicom.pixels import decode_frames
from lib.errors import InputError, NotFoundError
from lib.isolation.calls import isolated

_SHARED = ("422", "420")  # ends of the interpretations in which pixels share chrominance


@isolated()
def stored_frame(path: Path, number: int) -> bytes:
    """Return the bytes of a frame of an uncompressed file, as its header describes them.

    Where pixels share chrominance it is RGB, which cornerstone (3.0) takes by its length.

    Args:
        number: of the frame, from 1.

    Raises:
        InputError: damaged, or compressed.
        NotFoundError: there is no such frame.
    """
    data = open_dicom(path)
    syntax, frames = data.file_meta.TransferSyntaxUID, frame_count(data)
    if not 1 <= number <= frames:
        raise NotFoundError(f"{path.name}: no frame {number}, it has frames 1 to {frames}")
    if photometric(data).endswith(_SHARED):
        return decode_frames(path, data).values[number - 1].tobytes()
    length, rest = divmod(get_expected_length(data), frames)
    pixels = data.get("PixelData", b"")
    if syntax.is_compressed or rest or len(pixels) < length * frames:
        raise InputError(
            f"{path.name}: no whole frames of uncompressed pixels in it ({syntax.name}); export it "
            f"again"
        )
    frame = bytes(pixels[length * (number - 1) : length * number])
    value_bytes = int(data.BitsAllocated) // 8
    if syntax.is_little_endian or value_bytes < 2:
        return frame
    return np.frombuffer(frame, f">u{value_bytes}").astype(f"<u{value_bytes}").tobytes()
