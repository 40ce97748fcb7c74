"""Single-frame DICOM images: pixels as displayed, and the geometry to lay a mask over them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space

from lib.errors import InputError
from lib.images import Geometry, check_pixel_count

# of damaged files it complains in passing; the error says it in one line
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")


def read_frame(path: Path, max_pixels: int) -> tuple[np.ndarray, Geometry]:
    """Read a single-frame DICOM file.

    Returns the stored values (MONOCHROME1 inverted so that larger is brighter; palettes and YBR
    turned into RGB) as `(rows, columns[, 3])`, and its geometry with a third axis of size 1.

    Raises:
        InputError: not DICOM, truncated, no pixels, several frames, or an unsupported encoding.
    """
    try:
        data = pydicom.dcmread(path)
        rows, columns = int(data.Rows), int(data.Columns)
        frames = int(data.get("NumberOfFrames", 1) or 1)
        data.PhotometricInterpretation  # noqa: B018 - absent tags are reported here
    except InvalidDicomError:
        raise InputError(
            f"{path.name}: not a DICOM file; export it from the archive again"
        ) from None
    except AttributeError as error:
        raise InputError(f"{path.name}: a DICOM object without an image ({error})") from None
    except Exception as error:
        raise InputError(f"{path.name}: damaged DICOM file ({error}); export it again") from None
    check_pixel_count(path.name, (columns, rows), max_pixels)
    if frames > 1:
        raise InputError(
            f"{path.name}: holds {frames} frames, expected a single-frame image; export the frame "
            f"to annotate"
        )
    if "PixelData" not in data:
        raise InputError(f"{path.name}: holds no pixel data; it may be truncated, export it again")
    pixels = _decode(path, data)
    photometric = str(data.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        try:
            wide = apply_color_lut(pixels, data)
        except Exception as error:  # pydicom raises many kinds for a missing or odd table
            raise InputError(
                f"{path.name}: its palette cannot be applied ({error}); export it as RGB"
            ) from None
        pixels = (wide >> 8).astype(np.uint8) if wide.dtype == np.uint16 else wide
    elif photometric.startswith("YBR") and data.file_meta.TransferSyntaxUID.is_compressed is False:
        pixels = convert_color_space(pixels, photometric, "RGB")
    elif photometric == "MONOCHROME1":
        signed = int(data.get("PixelRepresentation", 0))
        pixels = ~pixels if signed else (2 ** int(data.BitsStored) - 1) - pixels
    return pixels, _geometry(data, rows, columns)


def frame_size(path: Path) -> tuple[int, ...]:
    """Return columns, rows and, where there are several, frames, from the header alone."""
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True)
        size = (int(data.Columns), int(data.Rows), int(data.get("NumberOfFrames", 1) or 1))
    except Exception as error:
        raise InputError(f"{path.name}: not a DICOM image ({error}); export it again") from None
    return size if size[2] > 1 else size[:2]


def _decode(path: Path, data: pydicom.Dataset) -> np.ndarray:
    """Return the stored pixel array; natively where possible, else through GDCM (in SimpleITK)."""
    native = not data.file_meta.TransferSyntaxUID.is_compressed
    if not native:
        import SimpleITK as sitk
    try:
        if native:
            return data.pixel_array
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))[0]
    except Exception as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise InputError(
            f"{path.name}: pixel data cannot be decoded ({cause}); export it uncompressed"
        ) from None
    slope, intercept = data.get("RescaleSlope", 1), data.get("RescaleIntercept", 0)
    if pixels.ndim == 2 and (slope != 1 or intercept != 0):  # GDCM applies the modality rescale
        pixels = np.rint((pixels - float(intercept)) / float(slope)).astype(np.int32)
    if str(data.PhotometricInterpretation) == "MONOCHROME1":  # and inverts; read_frame does it
        signed = int(data.get("PixelRepresentation", 0))
        pixels = ~pixels if signed else (2 ** int(data.BitsStored) - 1) - pixels
    if str(data.PhotometricInterpretation) == "PALETTE COLOR" and pixels.ndim == 3:
        data.PhotometricInterpretation = "RGB"  # GDCM has applied the palette
    return pixels


def _geometry(data: pydicom.Dataset, rows: int, columns: int) -> Geometry:
    """Return geometry from the tags; neutral where they are absent."""
    spacing = _numbers(data, "PixelSpacing", 2) or _numbers(data, "ImagerPixelSpacing", 2)
    down, across = spacing if spacing and min(spacing) > 0 else (1.0, 1.0)
    thickness = (_numbers(data, "SliceThickness", 1) or (0.0,))[0]
    orientation = np.array(_numbers(data, "ImageOrientationPatient", 6) or (1, 0, 0, 0, 1, 0))
    along_row, along_column = orientation[:3], orientation[3:]
    normal = np.cross(along_row, along_column)
    direction = np.stack((along_row, along_column, normal), axis=1)
    if abs(np.linalg.det(direction) - 1) > 0.01:  # not two unit vectors at a right angle
        direction = np.eye(3)
    return Geometry(
        (columns, rows, 1),
        (across, down, thickness if thickness > 0 else 1.0),
        _numbers(data, "ImagePositionPatient", 3) or (0.0, 0.0, 0.0),
        tuple(float(v) for v in direction.ravel()),
    )


def _numbers(data: pydicom.Dataset, tag: str, count: int) -> tuple[float, ...]:
    """Return the finite numbers of a tag; nothing where it is absent or malformed."""
    try:
        numbers = tuple(float(value) for value in np.atleast_1d(data.get(tag)))
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else ()
