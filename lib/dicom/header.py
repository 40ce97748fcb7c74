"""The header of a DICOM file: opened, checked, and completed where only one value is possible."""

from __future__ import annotations

import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lib.dicom.parse import parse_file
from lib.errors import InputError
from lib.image import MAX_PIXELS, MAX_VOXELS, check_decoded_bytes, check_pixel_count

# pydicom warns of what it finds in damaged files, and logs it; the error says it in one line
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.ERROR)

PIXEL_TAGS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_REAL_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_BITS = (1, 8, 16, 32, 64)
_RADIOGRAPHY = ("CR", "DX", "MG", "IO", "PX", "XA", "RF", "RG")  # MONOCHROME1 is common in these
_BY_SHAPE = {"IDENTITY": "MONOCHROME2", "INVERSE": "MONOCHROME1"}  # PresentationLUTShape
_FIRST_GROUPS = (0x0002, 0x0008)
MAX_FRAMES = 8192  # what is asked of each takes a millisecond


def open_dicom(path: Path, header_only: bool = False) -> pydicom.Dataset:
    """Read a DICOM file without decoding its pixels, or its header alone; see `open_with_notes`."""
    return open_with_notes(path, header_only)[0]


def open_with_notes(
    path: Path, header_only: bool = False
) -> tuple[pydicom.Dataset, tuple[str, ...]]:
    """Read a DICOM file without decoding its pixels, or its header alone.

    A file without preamble or file meta information is read by its content. Attributes of the
    pixels that are missing are set where only one value is possible.

    Returns:
        The dataset, and what was taken for granted, a sentence each.

    Raises:
        InputError: not DICOM, damaged, without an image of at least one pixel, or with a
            description of its pixels that contradicts itself or may mean several things.
    """
    try:
        data, notes = _parse(path, header_only)
        missing = [tag for tag in ("Rows", "Columns") if tag_value(data, tag) is None]
        rows, columns = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
        frames, samples = frame_count(data), sample_count(data)
    except FileNotFoundError:
        raise InputError(f"{path.name}: no such file") from None
    except InputError:
        raise
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
    if min(rows, columns, frames) < 1 or samples not in (1, 3):
        raise InputError(
            f"{path.name}: {frames} frames of {rows} x {columns} pixels with {samples} values "
            f"each; expected at least 1 x 1, with 1 value or 3; export it again"
        )
    _check_size(path.name, data, (columns, rows), frames)
    if header_only:
        return data, notes
    if not any(tag in data for tag in PIXEL_TAGS):
        raise InputError(f"{path.name}: holds no pixel data; it may be truncated, export it again")
    try:
        return data, (*notes, *_complete(data))
    except ValueError as error:
        raise InputError(f"{path.name}: {error}") from None
    except Exception as error:
        raise InputError(f"{path.name}: damaged DICOM file ({error}); export it again") from None


def _check_size(name: str, data: pydicom.Dataset, flat: tuple[int, int], frames: int) -> None:
    """Refuse more frames or values than are read, before anything is asked of each of them.

    Args:
        flat: columns and rows.
    """
    size = flat if frames == 1 else (*flat, frames)
    check_pixel_count(name, size, MAX_PIXELS if frames == 1 else MAX_VOXELS)
    check_frame_count(name, frames)
    real = next((bits for tag, bits in _REAL_BITS.items() if tag in data), 0)
    allocated = str(tag_value(data, "BitsAllocated") or "")
    bits = real or (int(allocated) if allocated.isdecimal() else 8)
    check_decoded_bytes(name, size, max(bits // 8, 1), sample_count(data))


def check_frame_count(name: str, frames: int) -> None:
    """Raise `InputError` for more frames than are read."""
    if frames > MAX_FRAMES:
        raise InputError(
            f"{name}: {frames} frames are too many, at most {MAX_FRAMES} are accepted; export it "
            f"in parts"
        )


def starts_as_dataset(head: bytes) -> bool:
    """Tell whether a file that starts with `head` may be DICOM without the preamble of PS3.10.

    Its first element is of group 2 or 8, followed by a VR or the length of a short value.
    """
    if len(head) < 8:
        return False
    groups = struct.unpack_from("<H", head)[0], struct.unpack_from(">H", head)[0]
    (length,) = struct.unpack_from("<I", head, 4)
    is_vr = head[4:6].isalpha() and head[4:6].isupper()
    return (groups[0] in _FIRST_GROUPS and (is_vr or length <= 64)) or (
        groups[1] == 0x0008 and is_vr
    )


def tag_value(data: pydicom.Dataset, name: str) -> Any:
    """Return the value of a tag of a dataset or an item; None if absent or malformed."""
    try:
        return data.get(name)
    except Exception:  # pydicom raises many types for a value that its tag does not allow
        return None


def frame_count(data: pydicom.Dataset) -> int:
    """Return the number of frames of a dataset; 1 where it gives none."""
    return int(data.get("NumberOfFrames", 1) or 1)


def photometric(data: pydicom.Dataset) -> str:
    """Return the photometric interpretation; empty where there is none."""
    return str(tag_value(data, "PhotometricInterpretation") or "").strip().upper()


def sample_count(data: pydicom.Dataset) -> int:
    """Return the values per pixel: where the file gives none, as its photometric tells."""
    found = data.get("SamplesPerPixel")
    return int(found or 1) if found is not None or not _coloured(data) else 3


def bits_stored(data: pydicom.Dataset) -> int:
    """Return the bits of a value that count; those allocated where the file does not tell."""
    return int(tag_value(data, "BitsStored") or data.BitsAllocated)


def is_signed(data: pydicom.Dataset) -> bool:
    """Tell whether the stored values are signed."""
    return bool(int(tag_value(data, "PixelRepresentation") or 0))


def _parse(path: Path, header_only: bool) -> tuple[pydicom.Dataset, tuple[str, ...]]:
    """Return the dataset of a file, and notes on what its missing meta information would tell."""
    notes: tuple[str, ...] = ()
    try:
        data = parse_file(path, header_only)
    except InvalidDicomError:
        with open(path, "rb") as file:
            if not starts_as_dataset(file.read(8)):
                raise
        data = parse_file(path, header_only, force=True)
        notes = ("the file has no DICOM preamble; read by its content",)
    if "TransferSyntaxUID" not in data.file_meta:
        if not header_only and "PixelData" in data and data["PixelData"].is_undefined_length:
            raise ValueError("no TransferSyntaxUID tells how its pixels are compressed")
        implicit, little_endian = data.original_encoding
        syntax = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        syntax = ImplicitVRLittleEndian if implicit else syntax
        data.file_meta.TransferSyntaxUID = syntax
        notes += (f"no TransferSyntaxUID in the file: read as {syntax.name}",)
    return data, notes


def _complete(data: pydicom.Dataset) -> list[str]:
    """Set what the description of the pixels leaves out, and check it.

    PixelRepresentation of more than 8 bits is left out: the pixels tell whether it matters.

    Returns:
        A sentence for each attribute that was set.

    Raises:
        ValueError: nothing tells a value, or the values contradict each other.
    """
    notes: list[str] = []

    def take(tag: str, value: object) -> None:
        setattr(data, tag, value)
        notes.append(f"no {tag} in the file: taken as {value}")

    real = next((bits for tag, bits in _REAL_BITS.items() if tag in data), 0)
    if not tag_value(data, "BitsAllocated"):
        take("BitsAllocated", real or _allocated(data))
    if not (tag_value(data, "NumberOfFrames") or "NumberOfFrames" not in data):
        take("NumberOfFrames", 1)
    if not photometric(data):
        take("PhotometricInterpretation", _interpretation(data))
    if tag_value(data, "SamplesPerPixel") is None:
        take("SamplesPerPixel", 3 if _coloured(data) else 1)
    interpretation, allocated = photometric(data), int(data.BitsAllocated)
    data.PhotometricInterpretation = interpretation
    coloured = _coloured(data)
    if not (coloured or interpretation in _GREY) or coloured != (sample_count(data) == 3):
        raise ValueError(
            f"photometric interpretation '{interpretation}' of {sample_count(data)} values per "
            f"pixel, expected {', '.join(_GREY)} of one, or RGB or YBR of 3; export it again"
        )
    if real:
        return notes
    if tag_value(data, "BitsStored") is None:
        told = tag_value(data, "HighBit")  # the highest bit of a value, and of all that count
        take("BitsStored", allocated if told is None else int(told) + 1)
    stored = int(data.BitsStored)
    if tag_value(data, "HighBit") is None:
        take("HighBit", stored - 1)
    high = int(data.HighBit)
    if allocated not in _BITS or not 1 <= stored <= high + 1 <= allocated:
        raise ValueError(
            f"BitsAllocated {allocated}, BitsStored {stored} and HighBit {high} contradict each "
            f"other; expected BitsStored - 1 <= HighBit < BitsAllocated, one of "
            f"{', '.join(map(str, _BITS))}; export it again"
        )
    if tag_value(data, "PixelRepresentation") is None and stored <= 8:
        take("PixelRepresentation", 0)
    if sample_count(data) == 3 and tag_value(data, "PlanarConfiguration") is None:
        take("PlanarConfiguration", 0)
    return notes


def _coloured(data: pydicom.Dataset) -> bool:
    return photometric(data) == "RGB" or photometric(data).startswith("YBR")


def _native_bytes(data: pydicom.Dataset) -> int:
    """Return the length of pixel data that is not compressed, else 0."""
    return 0 if data.file_meta.TransferSyntaxUID.is_encapsulated else len(data.PixelData)


def _allocated(data: pydicom.Dataset) -> int:
    """Return the bits of a value, by the size of the pixel data."""
    values = int(data.Rows) * int(data.Columns) * frame_count(data) * sample_count(data)
    found, rest = divmod(_native_bytes(data), values)
    told = photometric(data) or tag_value(data, "SamplesPerPixel")
    if not told or 8 * found not in _BITS or rest > values % 2:
        raise ValueError(
            f"no BitsAllocated, and {_native_bytes(data)} bytes of pixels for {values} values do "
            f"not tell it; export it again"
        )
    return 8 * found


def _interpretation(data: pydicom.Dataset) -> str:
    """Return the photometric interpretation where all but one are ruled out."""
    if "RedPaletteColorLookupTableDescriptor" in data:
        return "PALETTE COLOR"
    size = int(data.Rows) * int(data.Columns) * frame_count(data) * int(data.BitsAllocated) // 8
    native = _native_bytes(data) if "PixelData" in data else size
    samples = tag_value(data, "SamplesPerPixel")
    if samples is None and native:
        samples = {size: 1, size + size % 2: 1, 3 * size: 3, 3 * size + size % 2: 3}.get(native)
    if samples == 3 and native:
        return "RGB"
    by_shape = _BY_SHAPE.get(str(tag_value(data, "PresentationLUTShape") or ""))
    modality = str(tag_value(data, "Modality") or "")
    if samples == 1 and (by_shape or modality not in _RADIOGRAPHY):
        return by_shape or "MONOCHROME2"
    doubt = (
        f"which in {modality} may be bright or dark for large values"
        if samples == 1
        else "so its pixels may be grey or colour"
    )
    raise ValueError(
        f"no PhotometricInterpretation, {doubt}; expected MONOCHROME1, MONOCHROME2, RGB or "
        f"another; export it again"
    )
