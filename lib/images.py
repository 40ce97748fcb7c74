"""Read images of every supported file type, with their geometry.

Arrays are in memory order: `(rows, columns)`, colour last. Physical geometry is kept apart, in
ITK's convention (x, y, z; LPS, millimetres), so that a mask can be written over its image.
"""

from __future__ import annotations

import io
import logging
import math
import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.errors import InputError

PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
NIFTI_EXTENSIONS = (".nii", ".nii.gz")
VOLUME_EXTENSIONS = (".nrrd", *NIFTI_EXTENSIONS, ".mha")
DICOM_EXTENSIONS = (".dcm",)
IMAGE_EXTENSIONS = PICTURE_EXTENSIONS + VOLUME_EXTENSIONS + DICOM_EXTENSIONS

MAX_PIXELS = 8192 * 8192
# of damaged files both readers complain in passing; the error says it in one line
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
PillowImage.MAX_IMAGE_PIXELS = None  # sizes are checked here, against a limit that errors can state

_PNG_GREY_ALPHA, _PNG_RGBA = 4, 6  # colour types in the header
_COLOUR_MODES = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}


@dataclass(frozen=True)
class Geometry:
    """Where the pixel grid lies in space, in ITK's axis order (x, y[, z]) and millimetres.

    Attributes:
        size: pixels along each axis.
        direction: row-major cosines, `len(size) ** 2` numbers.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @staticmethod
    def flat(rows: int, columns: int) -> Geometry:
        """Return the geometry of a picture without one: unit spacing at the origin."""
        return Geometry((columns, rows), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Image:
    """A 2D image as read.

    Attributes:
        pixels: `(rows, columns)` or `(rows, columns, 3)` in the file's own type and value range.
        geometry: of the file; a single slice stored in 3D keeps its third axis here.
        path: the file.
    """

    pixels: np.ndarray
    geometry: Geometry
    path: Path

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


def extension(path: str | os.PathLike[str]) -> str:
    """Return the lower-case extension of `path`, ``.nii.gz`` whole; empty where none is known."""
    name = Path(path).name.lower()
    known = sorted(IMAGE_EXTENSIONS, key=len, reverse=True)
    return next((ext for ext in known if name.endswith(ext)), "")


def stem(path: str | os.PathLike[str]) -> str:
    """Return the file name of `path` without its extension; this is the image id."""
    name = Path(path).name
    ext = extension(name)
    return name[: len(name) - len(ext)] if ext else name


def read_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Image:
    """Read one 2D image: PNG, JPEG, BMP, TIFF, NRRD, NIfTI, MetaImage or single-frame DICOM.

    8 and 16 bit, grey, RGB, RGBA and palette are read; alpha is dropped, palettes are applied.

    Raises:
        InputError: missing, empty, truncated, not an image, not 2D, not finite, or larger than
            `max_pixels`; the message names the file and the cause.
    """
    path = Path(path)
    _check_file(path)
    kind = extension(path)
    if kind in PICTURE_EXTENSIONS:
        pixels, geometry = _read_picture(path, max_pixels)
    elif kind in VOLUME_EXTENSIONS:
        pixels, geometry = _read_itk(path, max_pixels)
    elif kind in DICOM_EXTENSIONS or _is_dicom(path):
        from lib.dicom import read_frame

        pixels, geometry = read_frame(path, max_pixels)
    else:
        raise InputError(
            f"{path.name}: not a supported image type; expected one of "
            f"{', '.join(IMAGE_EXTENSIONS)}; convert the file first"
        )
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):  # alpha carries no intensity
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise InputError(
            f"{path.name}: expected one 2D image, grey or colour, found an array of shape "
            f"{pixels.shape}; export a single slice or frame"
        )
    if pixels.dtype.kind not in "biuf":
        raise InputError(
            f"{path.name}: holds values of type {pixels.dtype}, expected whole or real numbers; "
            f"export the magnitude image"
        )
    if pixels.dtype.kind == "f":
        finite = np.abs(pixels) <= np.finfo(np.float32).max  # networks compute in 32 bit
        if not finite.all():
            raise InputError(
                f"{path.name}: {int((~finite).sum())} of {pixels.size} pixel values are NaN or "
                f"infinite; expected finite intensities; repair or re-export the image"
            )
    return Image(pixels, geometry, path)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path.name}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name}: the file is empty (0 bytes); copy it again")


def check_pixel_count(name: str, size: Sequence[int], max_pixels: int) -> None:
    """Refuse an image whose header promises more than `max_pixels` pixels, before decoding it."""
    if math.prod(size) > max_pixels:
        raise InputError(
            f"{name}: {' x '.join(str(side) for side in size)} pixels are too many; at most "
            f"{max_pixels} ({math.isqrt(max_pixels)} x {math.isqrt(max_pixels)}) are accepted; "
            f"crop or tile the image"
        )


def _read_picture(path: Path, max_pixels: int) -> tuple[np.ndarray, Geometry]:
    try:
        with PillowImage.open(path) as picture:
            check_pixel_count(path.name, picture.size, max_pixels)
            frames = int(getattr(picture, "n_frames", 1))
            if frames > 1:
                raise InputError(
                    f"{path.name}: holds {frames} pages, expected one 2D image; save the page to "
                    f"annotate as its own file"
                )
            wide = _bits(path, picture) > 8
            picture.load()
            if wide and picture.mode in ("RGB", "RGBA"):  # of which Pillow gives the upper 8 bits
                pixels = _read_wide_colour(path, picture)
            elif picture.mode in _COLOUR_MODES:
                pixels = np.asarray(picture.convert("RGB"))
            elif picture.mode == "LA":
                pixels = np.asarray(picture.getchannel("L"))
            elif picture.mode == "1":
                pixels = np.asarray(picture.convert("L"))
            else:
                pixels = np.asarray(picture)
    except InputError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        pixels = _read_tiff_otherwise(path, error, max_pixels)
    return pixels, Geometry.flat(pixels.shape[0], pixels.shape[1])


def _read_wide_colour(path: Path, picture: PillowImage.Image) -> np.ndarray:
    """Read 16-bit colour, or grey with alpha, without loss."""
    if picture.format == "TIFF":
        with tifffile.TiffFile(path) as tiff:
            pixels = tiff.asarray()
        planar = pixels.ndim == 3 and pixels.shape[1:] == picture.size[::-1]
        return np.moveaxis(pixels, 0, 2) if planar else pixels
    content = bytearray(path.read_bytes())
    if picture.format == "PNG" and content[25] == _PNG_GREY_ALPHA:
        # no reader keeps its 16 bits; two 16-bit samples lie in the file as four of 8 bits would
        content[24:26] = 8, _PNG_RGBA
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        with PillowImage.open(io.BytesIO(content)) as octets:
            high, low = np.moveaxis(np.asarray(octets), 2, 0)[:2].astype(np.uint16)
        return high << 8 | low
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _read_tiff_otherwise(path: Path, error: Exception, max_pixels: int) -> np.ndarray:
    """Read a TIFF that Pillow does not know (16-bit colour, float planes) with tifffile."""
    if extension(path) in (".tif", ".tiff"):
        try:
            with tifffile.TiffFile(path) as tiff:
                check_pixel_count(path.name, tiff.pages[0].shape[:2], max_pixels)
                if len(tiff.pages) == 1:
                    return tiff.asarray()
        except InputError:
            raise
        except Exception:
            pass  # the first error says more
    raise damaged(path, error)


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error for a file that a reader refused; its cause in one line, without folders."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Reason:")]  # of errno, stale
    cause = (told[-1] if told else type(error).__name__).replace(str(path), path.name)
    return InputError(f"{path.name}: damaged or not an image of its type ({cause}); copy it again")


def _bits(path: Path, picture: PillowImage.Image) -> int:
    """Return the bits per channel that the file holds."""
    if picture.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]
    tags = getattr(picture, "tag_v2", None)
    if tags is not None:
        bits = tags.get(258, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _read_itk(path: Path, max_pixels: int) -> tuple[np.ndarray, Geometry]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        check_pixel_count(path.name, reader.GetSize(), max_pixels)
        if extension(path) in NIFTI_EXTENSIONS:
            from lib.nifti import check_pixels

            check_pixels(path)
        image = reader.Execute()
    except RuntimeError as error:
        raise damaged(path, error) from None
    size = image.GetSize()
    if any(side != 1 for side in size[2:]):
        raise InputError(
            f"{path.name}: a volume of {' x '.join(map(str, size))}, expected one 2D image; "
            f"export a single slice"
        )
    components = image.GetNumberOfComponentsPerPixel()
    shape = (size[1], size[0]) if components == 1 else (size[1], size[0], components)
    pixels = sitk.GetArrayFromImage(image).reshape(shape)
    axes = min(len(size), 3)
    direction = np.array(image.GetDirection()).reshape(len(size), len(size))[:axes, :axes]
    return pixels, Geometry(
        size[:axes],
        image.GetSpacing()[:axes],
        image.GetOrigin()[:axes],
        tuple(float(cosine) for cosine in direction.ravel()),
    )


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def image_size(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the size of an image from its header, x first, without trailing axes of size 1.

    Raises:
        InputError: missing, empty or not an image.
    """
    path = Path(path)
    _check_file(path)
    kind = extension(path)
    if kind in PICTURE_EXTENSIONS:
        try:
            with PillowImage.open(path) as picture:
                return picture.size
        except Exception:
            return read_image(path).geometry.size
    if kind in DICOM_EXTENSIONS:
        from lib.dicom import frame_size

        return frame_size(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise damaged(path, error) from None
    size = tuple(reader.GetSize())
    while len(size) > 2 and size[-1] == 1:
        size = size[:-1]
    return size
