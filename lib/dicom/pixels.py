"""Frames of DICOM files: every encoding decoded, unused bits cleared, palettes and YBR undone.

Uncompressed frames are decoded by pydicom, RLE by `lib.dicom.rle`, the others (JPEG, JPEG lossless,
JPEG-LS and JPEG 2000) by GDCM, which comes with SimpleITK. All give what was written, so bits are
looked at here, in one place.
"""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage

from lib.dicom.frame_sizes import fragments, frame_codes
from lib.dicom.geometry import number
from lib.dicom.header import (
    bits_stored,
    frame_count,
    is_signed,
    photometric,
    sample_count,
    tag_value,
)
from lib.dicom.palette import apply_palette
from lib.dicom.rle import decode_rle
from lib.errors import InputError

_LAYOUT = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
_ITK_NOISE = re.compile(r"ITK ERROR: \w+\(0x\w+\): ")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Decoded frames.

    Attributes:
        values: grey `(frames, rows, columns)`, the stored values: integers, of real pixel data
            float32 or float64. Colour, also from palettes and YBR: red, green and blue,
            `(frames, rows, columns, 3)`.
        padding: bool, shape of grey `values`: pixels that the file calls padding; None where there
            is none.
        notes: what was unusual, a sentence each.
    """

    values: np.ndarray
    padding: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def decode_frames(path: Path, data: pydicom.Dataset) -> Frames:
    """Return the frames of `data` as stored, without windowing, rescaling or inversion.

    Args:
        path: its file, for messages.
        data: as `lib.dicom.header.open_dicom` returns it.

    Raises:
        InputError: truncated, in an encoding that cannot be decoded, or with values that may mean
            several things.
    """
    syntax, interpretation = data.file_meta.TransferSyntaxUID, photometric(data)
    unknown_sign = tag_value(data, "PixelRepresentation") is None and "PixelData" in data
    if unknown_sign:
        data.PixelRepresentation = 0
    try:
        if syntax == RLELossless and "PixelData" in data:  # GDCM misreads 16-bit colour in it
            raw = _decode_rle(data)
        elif syntax.is_compressed:
            raw = _decode_by_gdcm(data)
        else:
            _check_frames(data)
            raw, _ = get_decoder(syntax).as_array(data, raw=True, correct_unused_bits=False)
    except Exception as error:  # pydicom, NumPy and ITK raise many types
        raise _undecodable(path, data, error) from None
    shape = (frame_count(data), int(data.Rows), int(data.Columns))
    promised = shape if sample_count(data) == 1 else (*shape, 3)
    if raw.size != math.prod(promised):
        raise InputError(
            f"{path.name}: pixel data of shape {raw.shape}, its header promises {promised}; it "
            f"may be truncated, export it again"
        )
    raw = raw.reshape(promised)
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if raw.dtype.kind == "f":
        return Frames(values=raw, padding=_padding(data, raw, raw))
    values, notes = _stored_values(data, raw)
    if unknown_sign:
        notes += _unsigned(path, data, values)
    if raw.ndim == 4:
        if interpretation.startswith("YBR") and (not syntax.is_compressed or syntax == RLELossless):
            values = _from_ybr(path, data, values)
        return Frames(values=values, notes=tuple(notes))
    if interpretation == "PALETTE COLOR":
        return Frames(values=apply_palette(path, data, values), notes=tuple(notes))
    return Frames(values=values, padding=_padding(data, raw, values), notes=tuple(notes))


def _check_frames(data: pydicom.Dataset) -> None:
    """Raise `ValueError` for more frames of pixels than the header promises: pydicom cuts them."""
    if "PixelData" not in data:
        return
    promised = frame_count(data)
    expected = get_expected_length(data)  # and a byte to make it even
    found = promised * (len(data.PixelData) - expected % 2) // expected
    if found > promised:
        raise ValueError(f"{found} frames in it, its header promises {promised}")


def _decode_rle(data: pydicom.Dataset) -> np.ndarray:
    """Return the stored values of RLE frames, unsigned `(frames, rows, columns, samples)`."""
    codes = fragments(data)  # one for each frame
    shape = frame_count(data), int(data.Rows), int(data.Columns), sample_count(data)
    if len(codes) != shape[0]:
        raise ValueError(f"{len(codes)} frames in it, its header promises {shape[0]}")
    value_bytes, rest = divmod(int(data.BitsAllocated), 8)
    if rest:
        raise ValueError(f"BitsAllocated {data.BitsAllocated}, expected whole bytes in RLE")
    values = np.empty(shape, f"u{value_bytes}")
    for code, frame in zip(codes, values, strict=True):
        frame[...] = decode_rle(code, *shape[1:], value_bytes)
    return values


def _stored_values(data: pydicom.Dataset, raw: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the bits of `raw` that are stored, as signed or unsigned integers (PS3.5 8.1.1)."""
    allocated, dtype = 8 * raw.itemsize, f"{'i' if is_signed(data) else 'u'}{raw.itemsize}"
    stored, above = bits_stored(data), int(data.HighBit) + 1
    bits = raw.view(f"u{raw.itemsize}")
    if stored >= allocated:
        return bits.view(dtype), []
    values = (bits << (allocated - above)).view(dtype)
    values >>= allocated - stored
    used, sign_extended = (2**stored - 1) << (above - stored), 2**allocated - 2**above
    unused = bits & bits.dtype.type(2**allocated - 1 - used)
    marks = unused != 0
    if is_signed(data):
        marks &= unused != sign_extended
    if not marks.any():
        return values, []
    return values, [
        f"bits beyond the {stored} stored ones are set in {marks.mean():.2%} of the pixels, as by "
        f"an overlay; they are left out"
    ]


def _unsigned(path: Path, data: pydicom.Dataset, values: np.ndarray) -> list[str]:
    """Return the note on values whose sign is not told; refuse them where it matters."""
    top, stored = int(values.max()), bits_stored(data)
    if photometric(data).startswith("MONOCHROME") and top >= 2 ** (stored - 1):
        raise InputError(
            f"{path.name}: no PixelRepresentation, so that its value {top} may be "
            f"{top - 2**stored}; expected 0 for unsigned values or 1 for signed ones; export it "
            f"again"
        )
    return ["no PixelRepresentation in the file: taken as 0"]


def _padding(data: pydicom.Dataset, raw: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Return where `values` are padding (PS3.3 C.7.5.1.1.2); None for nowhere or everywhere.

    A padding value that the stored bits cannot hold is one of the bits allocated. Its tag may be
    written as signed or as unsigned, whatever the pixels are.
    """
    real = {4: "Float", 8: "DoubleFloat"}[raw.itemsize] if raw.dtype.kind == "f" else ""
    first = number(data, f"{real}PixelPaddingValue", math.nan)
    if math.isnan(first):
        return None
    low, high = sorted((first, number(data, f"{real}PixelPaddingRangeLimit", first)))
    if not real:
        allocated, signed = 8 * raw.itemsize, is_signed(data)
        least = -(2 ** (allocated - 1)) if signed else 0
        low, high = sorted((side - least) % 2**allocated + least for side in (low, high))
        half = 2 ** (bits_stored(data) - 1)
        if not (-half if signed else 0) <= low <= high < (half if signed else 2 * half):
            values = raw.view(f"{'i' if signed else 'u'}{raw.itemsize}")
    padding = (values >= low) & (values <= high)
    return padding if padding.any() and not padding.all() else None


def _from_ybr(path: Path, data: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray:
    """Return red, green and blue of `(frames, rows, columns, 3)` in luminance and chrominance."""
    try:
        if pixels.itemsize > 1:
            raise ValueError(f"{8 * pixels.itemsize} bits for each of YBR, expected 8")
        # frame by frame: the conversion needs four times the memory
        frames = (convert_color_space(frame, photometric(data), "RGB") for frame in pixels)
        return np.fromiter(frames, np.dtype((pixels.dtype, pixels.shape[1:])), len(pixels))
    except Exception as error:  # pydicom and NumPy raise many types
        raise _undecodable(path, data, error) from None


def _decode_by_gdcm(data: pydicom.Dataset) -> np.ndarray:
    """Return the stored values of compressed frames; colour as red, green and blue.

    GDCM gets a copy with nothing but the encoded pixels and their layout: otherwise it would
    rescale them by its own rules for each SOP class, invert MONOCHROME1 and apply palettes.
    """
    import SimpleITK as sitk

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    bare = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bare.SOPClassUID, bare.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    for tag in _LAYOUT:
        if tag in data:
            setattr(bare, tag, data[tag].value)
    bare.BitsStored = int(data.HighBit) + 1  # GDCM takes all below it, wherever values end
    colour = sample_count(data) == 3
    bare.PhotometricInterpretation = photometric(data) if colour else "MONOCHROME2"
    # encapsulated again: GDCM would reserve as much memory as a wrong length in it asks for
    bare.PixelData = encapsulate(frame_codes(data, frame_count(data)))
    bare["PixelData"].is_undefined_length = True
    bare["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "frames.dcm"))
        bare.save_as(file, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(file, imageIO="GDCMImageIO"))


def _undecodable(path: Path, data: pydicom.Dataset, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    cause = _ITK_NOISE.sub("", lines[-1]).strip()
    return InputError(
        f"{path.name}: pixel data of {data.file_meta.TransferSyntaxUID.name}, {photometric(data)} "
        f"cannot be decoded ({cause}); export it again, uncompressed"
    )
