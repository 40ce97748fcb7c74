"""Frames of DICOM files: every encoding decoded, palettes and colour spaces undone.

Uncompressed and RLE frames are decoded by pydicom, the others (JPEG, JPEG lossless, JPEG-LS and
JPEG 2000) by GDCM, which comes with SimpleITK.
"""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage

from lib.dicom.frame_sizes import frame_codes
from lib.errors import InputError

# pydicom warns of what it finds in damaged files; the error says it in one line
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

_NEEDED = ("Rows", "Columns", "PhotometricInterpretation", "BitsAllocated")
_LAYOUT = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
_ITK_NOISE = re.compile(r"ITK ERROR: \w+\(0x\w+\): ")


def open_dicom(path: Path, header_only: bool = False) -> pydicom.Dataset:
    """Read a DICOM file without decoding its pixels, or its header alone.

    Raises:
        InputError: not DICOM, damaged, or without an image of at least one pixel.
    """
    try:
        data = pydicom.dcmread(path, stop_before_pixels=header_only)
        missing = [tag for tag in _NEEDED if tag_value(data, tag) is None]
        missing += [] if "TransferSyntaxUID" in data.file_meta else ["TransferSyntaxUID"]
        rows, columns = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
        frames, samples = frame_count(data), _samples(data)
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
            f"image, a loop or a volume"
        )
    if "PixelData" not in data and not header_only:
        raise InputError(f"{path.name}: holds no pixel data; it may be truncated, export it again")
    if min(rows, columns, frames) < 1 or samples not in (1, 3):
        raise InputError(
            f"{path.name}: {frames} frames of {rows} x {columns} pixels with {samples} values "
            f"each; expected at least 1 x 1, with 1 value or 3; export it again"
        )
    return data


def tag_value(data: pydicom.Dataset, name: str) -> Any:
    """Return the value of a tag of a dataset or an item; None if absent or malformed."""
    try:
        return data.get(name)
    except Exception:  # pydicom raises many types for a value that its tag does not allow
        return None


def frame_count(data: pydicom.Dataset) -> int:
    """Return the number of frames of a dataset; 1 where it gives none."""
    return int(data.get("NumberOfFrames", 1) or 1)


def decode_frames(path: Path, data: pydicom.Dataset) -> np.ndarray:
    """Return the frames of `data` as they are displayed, without windowing and rescaling.

    Returns:
        Grey: `(frames, rows, columns)`, the stored values; those of MONOCHROME1 are inverted, so
        that larger is brighter. Colour, also from palettes and YBR: red, green and blue,
        `(frames, rows, columns, 3)`.

    Raises:
        InputError: truncated, or in an encoding that cannot be decoded.
    """
    syntax = data.file_meta.TransferSyntaxUID
    photometric = str(data.PhotometricInterpretation)
    shape = (frame_count(data), int(data.Rows), int(data.Columns))
    try:
        if syntax.is_compressed and syntax != RLELossless:  # GDCM misreads 16-bit colour in RLE
            pixels = _decode_by_gdcm(data)
        else:
            pixels = data.pixel_array
            if photometric.startswith("YBR"):
                if pixels.itemsize > 1:
                    raise ValueError(f"{8 * pixels.itemsize} bits for each of YBR, expected 8")
                pixels = pixels.reshape(*shape, 3)
                # frame by frame: the conversion needs four times the memory
                frames = (convert_color_space(frame, photometric, "RGB") for frame in pixels)
                pixels = np.fromiter(
                    frames, np.dtype((pixels.dtype, pixels.shape[1:])), len(pixels)
                )
    except Exception as error:  # pydicom, NumPy and ITK raise many types
        raise InputError(
            f"{path.name}: pixel data of {syntax.name}, {photometric} cannot be decoded "
            f"({_cause(error)}); export it again, uncompressed"
        ) from None
    promised = shape if _samples(data) == 1 else (*shape, 3)
    if pixels.size != math.prod(promised):
        raise InputError(
            f"{path.name}: pixel data of shape {pixels.shape}, its header promises {promised}; it "
            f"may be truncated, export it again"
        )
    pixels = pixels.reshape(promised)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if photometric == "PALETTE COLOR" and pixels.ndim == 3:
        return _apply_palette(path, data, pixels)
    if photometric == "MONOCHROME1":
        signed = int(tag_value(data, "PixelRepresentation") or 0)
        return ~pixels if signed else (2 ** _bits_stored(data) - 1) - pixels
    return pixels


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
    bare.is_little_endian, bare.is_implicit_VR = True, False
    bare.SOPClassUID, bare.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    for tag in _LAYOUT:
        if tag in data:
            bare[tag] = data[tag]
    colour = _samples(data) == 3
    bare.PhotometricInterpretation = data.PhotometricInterpretation if colour else "MONOCHROME2"
    # encapsulated again: GDCM would reserve as much memory as a wrong length in it asks for
    bare.PixelData = encapsulate(frame_codes(data, frame_count(data)))
    bare["PixelData"].is_undefined_length = True
    bare["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "frames.dcm"))
        bare.save_as(file, write_like_original=False)
        return sitk.GetArrayFromImage(sitk.ReadImage(file, imageIO="GDCMImageIO"))


def _apply_palette(path: Path, data: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray:
    """Return `(frames, rows, columns, 3)`, uint8, for indexes `(frames, rows, columns)`."""
    try:
        first, table = _palette(data)
    except Exception as error:  # pydicom raises many types for a missing or odd table
        raise InputError(
            f"{path.name}: its palette cannot be applied ({error}); export it as RGB"
        ) from None
    colours = np.empty((*pixels.shape, 3), np.uint8)
    for frame, out in zip(pixels, colours, strict=True):
        out[...] = table[np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)]
    return colours


def _palette(data: pydicom.Dataset) -> tuple[int, np.ndarray]:
    """Return the first index that the palette maps, and its colours: `(entries, 3)`, uint8.

    By hand but for segmented palettes: pydicom 2 reads 16-bit tables of big-endian files wrongly,
    and those of 8-bit entries not at all.
    """
    entries, first, _ = (int(value) for value in data.RedPaletteColorLookupTableDescriptor)
    entries = entries or 1 << 16
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    if names[0] not in data and f"Segmented{names[0]}" in data:
        table = apply_color_lut(np.arange(first, first + entries), data)[:, :3]
    else:
        order = "<u2" if data.is_little_endian else ">u2"
        words = [np.frombuffer(data[name].value, order) for name in names]
        if len(words[0]) < entries:  # 8-bit entries: two in each word
            words = [column.astype("<u2").view(np.uint8) for column in words]
        table = np.stack([column[:entries] for column in words], axis=1)
    if len(table) < entries:
        raise ValueError(f"its tables hold {len(table)} of {entries} entries")
    # some tables hold 8-bit values in 16-bit entries
    return first, (table >> 8 if table.max() > 255 else table).astype(np.uint8)


def _samples(data: pydicom.Dataset) -> int:
    return int(data.get("SamplesPerPixel", 1) or 1)


def _bits_stored(data: pydicom.Dataset) -> int:
    return int(tag_value(data, "BitsStored") or data.BitsAllocated)


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _ITK_NOISE.sub("", lines[-1]).strip()
