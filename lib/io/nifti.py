"""Checks of NIfTI files that ITK does not make: it reads missing pixels and NaN as 0."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from lib.errors import InputError
from lib.image import damaged

_BLOCK = 1 << 20  # bytes; a multiple of the size of every number type
_FAULTS = (EOFError, OSError, zlib.error, OverflowError, HeaderDataError, WrapStructError)


def check_pixels(path: Path) -> None:
    """Refuse a NIfTI file whose pixels are incomplete, or not all finite.

    Raises:
        InputError: truncated, with NaN or infinite values, or no NIfTI file at all.
    """
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    bad = found = 0
    try:
        with gzip.open(path) if compressed else open(path, "rb") as file:
            header = Nifti1Header(file.read(Nifti1Header.sizeof_hdr), check=False)
            dtype = header.get_data_dtype()
            values = math.prod(header.get_data_shape())
            file.seek(header.get_data_offset())
            expected = values * dtype.itemsize
            while found < expected and (block := file.read(min(_BLOCK, expected - found))):
                found += len(block)
                if dtype.kind in "fc" and len(block) % dtype.itemsize == 0:
                    bad += int((~np.isfinite(np.frombuffer(block, dtype))).sum())
    except _FAULTS as error:
        raise damaged(path, error) from None
    if found < expected:
        raise InputError(
            f"{path.name}: truncated, {found} of {expected} bytes of pixels found; copy it again"
        )
    if bad:
        raise InputError(
            f"{path.name}: {bad} of {values} pixel values are NaN or infinite; "
            f"expected finite intensities; repair or re-export the image"
        )
