"""The header of a NIfTI file, read strictly, and checks of its pixels that ITK does not make.

ITK reads missing pixels and NaN as 0, a size or spacing that is none as 1, and NaN in a direction
as it is.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from lib.errors import InputError
from lib.image import DEFLATE_RATIO, check_decoded_bytes, check_stored_bytes, damaged
from lib.io.stored import HEADER_BYTES, LARGEST_NUMBER, HeaderError, wrong

_BLOCK = 1 << 20  # bytes; a multiple of the size of every number type
_FAULTS = (
    *(EOFError, OSError, zlib.error, OverflowError, KeyError),
    *(HeaderDataError, WrapStructError, HeaderError),
)
_MAGIC = b"n+1"
_AXES = 7
_PIXELS = 352  # least offset of them; for one of 0 ITK reads the end of the header as pixels
_EXTENSIONS = 64 * HEADER_BYTES  # most bytes before the pixels
_LEAST_EXTENSION, _MOST_EXTENSIONS = 8, 1000  # bytes, count; ITK takes longer with each of them
_SCALED_BYTES = 4  # ITK scales values to 32 bit
_UNSCALED = ((None, None), (1.0, 0.0))


def check_nifti_header(path: Path) -> None:
    """Refuse a NIfTI file whose header makes no sense.

    Raises:
        InputError: no NIfTI-1 file of one part, or a field is not what the format asks for.
    """
    try:
        with _opened(path) as file:
            _check_extensions(file, header=_header(file))
    except _FAULTS as error:
        raise damaged(path, error) from None


def _opened(path: Path) -> IO[bytes]:
    """Open a NIfTI file to read its content; whether it is compressed is seen, as by ITK."""
    return gzip.open(path) if _is_compressed(path) else open(path, "rb")  # type: ignore[return-value]


def _is_compressed(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _header(file: IO[bytes]) -> Nifti1Header:
    """Return the header, checked.

    Raises:
        HeaderError, or one of the library's faults: see `check_nifti_header`.
    """
    content = file.read(Nifti1Header.sizeof_hdr)
    if content[4:8] in (b"n+2\0", b"ni2\0"):
        raise HeaderError("it is NIfTI-2, expected NIfTI-1")
    header = Nifti1Header(content, check=False)
    fields = header.structarr
    if fields["magic"].item().rstrip(b"\0") != _MAGIC:
        raise wrong("magic", repr(fields["magic"].item()), "'n+1', a header with its pixels")
    axes = int(fields["dim"][0])
    if not 1 <= axes <= _AXES or min(fields["dim"][1 : axes + 1]) < 1:
        raise wrong("dim", _words(fields["dim"]), "1 to 7 axes of at least one pixel")
    offset = float(fields["vox_offset"])
    if not (_PIXELS <= offset <= _EXTENSIONS and offset == int(offset)):
        raise wrong("vox_offset", f"{offset}", f"a whole number from {_PIXELS} to {_EXTENSIONS}")
    places = {"pixdim": fields["pixdim"][: min(axes, 3) + 1]}
    if fields["qform_code"] > 0:
        names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
        places["qform"] = np.array([fields[name] for name in names])
    if fields["sform_code"] > 0:
        places["sform"] = np.array([fields[f"srow_{axis}"] for axis in "xyz"]).ravel()
    for name, numbers in places.items():
        if not (np.abs(numbers) <= LARGEST_NUMBER).all():
            raise wrong(name, _words(numbers), f"finite numbers, at most {LARGEST_NUMBER:.0g}")
    header.get_data_dtype()  # raises for a type that is none
    return header


def _check_extensions(file: IO[bytes], header: Nifti1Header) -> None:
    """Refuse more extensions than a reader gets through in time; `file` is at their first byte.

    Raises:
        HeaderError: there are more.
    """
    if not file.read(4)[:1].strip(b"\0"):
        return
    place, count = file.tell(), 0
    while place < header.get_data_offset():
        file.seek(place)
        size = int.from_bytes(file.read(4), "little" if header.endianness == "<" else "big")
        if size < _LEAST_EXTENSION:
            return
        place, count = place + size, count + 1
        if count > _MOST_EXTENSIONS:
            raise HeaderError(f"its header has more than {_MOST_EXTENSIONS} extensions")


def _words(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.4g}" for number in numbers.tolist())


def check_pixels(path: Path) -> None:
    """Refuse a NIfTI file whose pixels are incomplete, or not all finite.

    Raises:
        InputError: truncated, with NaN or infinite values, or no NIfTI file at all.
    """
    bad = found = 0
    ratio = DEFLATE_RATIO if _is_compressed(path) else 1
    try:
        with _opened(path) as file:
            header = _header(file)
            dtype, shape = header.get_data_dtype(), header.get_data_shape()
            values = math.prod(shape)
            scaled = _SCALED_BYTES if header.get_slope_inter() not in _UNSCALED else 0
            check_decoded_bytes(path.name, shape, max(dtype.itemsize, scaled))
            expected = values * dtype.itemsize
            check_stored_bytes(path.name, expected, path.stat().st_size, ratio)
            file.seek(header.get_data_offset())
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
