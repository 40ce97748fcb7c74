"""Read images and label images of every supported file type, and write masks beside them.

Arrays are in memory order: `(rows, columns)`, colour last. Physical geometry is kept apart, in
ITK's convention (x, y, z; LPS, millimetres), so that a mask can be written over its image.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image as PillowImage

from lib.errors import InputError

PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VOLUME_EXTENSIONS = (".nrrd", ".nii", ".nii.gz", ".mha")
DICOM_EXTENSIONS = (".dcm",)
IMAGE_EXTENSIONS = PICTURE_EXTENSIONS + VOLUME_EXTENSIONS + DICOM_EXTENSIONS
MASK_EXTENSIONS = (".png", ".tif", ".tiff", *VOLUME_EXTENSIONS)

MAX_PIXELS = 8192 * 8192
PillowImage.MAX_IMAGE_PIXELS = None  # sizes are checked here, against a limit that errors can state

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
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        bad = int((~np.isfinite(pixels)).sum())
        raise InputError(
            f"{path.name}: {bad} of {pixels.size} pixel values are NaN or infinite; expected "
            f"finite intensities; repair or re-export the image"
        )
    return Image(pixels, geometry, path)


def read_label(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read a label image as `(rows, columns)` int32, 0 is background.

    Args:
        shape: rows and columns of the image it belongs to; checked when given.

    Raises:
        InputError: unreadable, not integer valued, negative, in colour, or of another size.
    """
    path = Path(path)
    if extension(path) in (".jpg", ".jpeg"):
        raise InputError(
            f"{path.name}: JPEG changes label values; expected a lossless label image "
            f"({', '.join(MASK_EXTENSIONS)}); save it again as one of these"
        )
    image = read_image(path)
    pixels = image.pixels
    if pixels.ndim == 3:
        if not (pixels == pixels[..., :1]).all():
            raise InputError(
                f"{path.name}: a label image holds one integer per pixel, found colours; save the "
                f"label map itself, not a picture of it"
            )
        pixels = pixels[..., 0]
    if np.issubdtype(pixels.dtype, np.floating) and not (pixels == np.floor(pixels)).all():
        raise InputError(f"{path.name}: label values must be whole numbers, found fractions")
    if pixels.size and (pixels.min() < 0 or pixels.max() > np.iinfo(np.int32).max):
        raise InputError(
            f"{path.name}: label values must lie in 0..{np.iinfo(np.int32).max}, found "
            f"{pixels.min()}..{pixels.max()}"
        )
    if shape is not None and pixels.shape != shape:
        raise InputError(
            f"{path.name}: label has {pixels.shape[0]} rows and {pixels.shape[1]} columns, its "
            f"image has {shape[0]} and {shape[1]}; label the image at its own size"
        )
    return pixels.astype(np.int32)


def write_mask(
    path: str | os.PathLike[str],
    mask: np.ndarray,
    geometry: Geometry,
    dtype: np.dtype | None = None,
) -> Path:
    """Write an integer `mask` of shape `(rows, columns)` with `geometry`; the type by extension.

    Values up to 255 are stored in 8 bit, up to 65535 in 16 bit, beyond in 32 bit unsigned.
    A `dtype` is used instead where all values fit it. A mask of another size than `geometry` is
    refused.

    Raises:
        InputError: the extension cannot hold a mask, or the values do not fit the file type.
    """
    path = Path(path)
    kind = extension(path)
    if kind not in MASK_EXTENSIONS:
        raise InputError(
            f"masks cannot be written as '{path.suffix or path.name}'; expected one of "
            f"{', '.join(MASK_EXTENSIONS)}"
        )
    if mask.shape != geometry.size[1::-1]:
        raise ValueError(f"mask of shape {mask.shape} does not fit a grid of {geometry.size}")
    top = int(mask.max(initial=0))
    if dtype is None or top > np.iinfo(dtype).max:
        dtype = np.dtype(np.uint8 if top <= 255 else np.uint16 if top <= 65535 else np.uint32)
    if kind == ".png" and dtype not in (np.uint8, np.uint16):
        dtype = np.dtype(np.uint16)
    mask = np.ascontiguousarray(mask, dtype=dtype if top <= np.iinfo(dtype).max else np.uint32)
    if kind == ".png":
        if top > 65535:
            raise InputError(f"a PNG holds labels up to 65535, found {top}; ask for .nrrd")
        PillowImage.fromarray(mask).save(path)
        return path
    if kind in (".tif", ".tiff"):
        import tifffile

        tifffile.imwrite(path, mask, compression="zlib")
        return path
    volume = mask if len(geometry.size) == 2 else mask[np.newaxis]
    out = sitk.GetImageFromArray(volume)
    out.SetSpacing(geometry.spacing)
    out.SetOrigin(geometry.origin)
    out.SetDirection(geometry.direction)
    sitk.WriteImage(out, str(path), useCompression=True)
    return path


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
        with warnings.catch_warnings(), PillowImage.open(path) as picture:
            warnings.simplefilter("ignore")
            check_pixel_count(path.name, picture.size, max_pixels)
            frames = int(getattr(picture, "n_frames", 1))
            if frames > 1:
                raise InputError(
                    f"{path.name}: holds {frames} pages, expected one 2D image; save the page to "
                    f"annotate as its own file"
                )
            wide = _bits(picture) > 8
            picture.load()
            colour = picture.mode in _COLOUR_MODES
            if colour:
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
        wide = colour = False
    if wide and colour:  # Pillow would hand over only the upper 8 bits
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return pixels, Geometry.flat(pixels.shape[0], pixels.shape[1])


def _read_tiff_otherwise(path: Path, error: Exception, max_pixels: int) -> np.ndarray:
    """Read a TIFF that Pillow does not know (16-bit colour, float planes) with tifffile."""
    if extension(path) in (".tif", ".tiff"):
        import tifffile

        try:
            with tifffile.TiffFile(path) as tiff:
                check_pixel_count(path.name, tiff.pages[0].shape[:2], max_pixels)
                if len(tiff.pages) == 1:
                    return tiff.asarray()
        except InputError:
            raise
        except Exception:
            pass  # the first error says more
    raise InputError(f"{path.name}: damaged or not an image of its type ({error}); copy it again")


def _bits(picture: PillowImage.Image) -> int:
    """Return the bits per channel that the file holds."""
    if picture.format == "PNG" and picture.filename:
        with open(picture.filename, "rb") as file:
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
        image = reader.Execute()
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path.name}: damaged or not an image of its type ({cause})") from None
    size = image.GetSize()
    if any(side != 1 for side in size[2:]):
        raise InputError(
            f"{path.name}: a volume of {' x '.join(map(str, size))}, expected one 2D image; "
            f"export a single slice"
        )
    components = image.GetNumberOfComponentsPerPixel()
    shape = (size[1], size[0]) if components == 1 else (size[1], size[0], components)
    pixels = sitk.GetArrayFromImage(image).reshape(shape)
    geometry = Geometry(size, image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return pixels, geometry


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
            with warnings.catch_warnings(), PillowImage.open(path) as picture:
                warnings.simplefilter("ignore")
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
        cause = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path.name}: damaged or not an image of its type ({cause})") from None
    size = tuple(reader.GetSize())
    while len(size) > 2 and size[-1] == 1:
        size = size[:-1]
    return size
