"""Read images and volumes of every supported file type, with their geometry.

Arrays are in memory order: `(rows, columns)` or `(slices, rows, columns)`, colour last. Physical
geometry is kept apart, in ITK's convention (x, y, z; LPS, millimetres), so that a mask can be
written over its image. The libraries that decode a file are imported when it is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import InputError

TIFF_EXTENSIONS = (".tif", ".tiff")
PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", *TIFF_EXTENSIONS)
NIFTI_EXTENSIONS = (".nii", ".nii.gz")
META_EXTENSIONS = (".mha", ".mhd")
VOLUME_EXTENSIONS = (".nrrd", *NIFTI_EXTENSIONS, *META_EXTENSIONS)
DICOM_EXTENSIONS = (".dcm",)
IMAGE_EXTENSIONS = PICTURE_EXTENSIONS + VOLUME_EXTENSIONS + DICOM_EXTENSIONS
_LONGEST_FIRST = sorted(IMAGE_EXTENSIONS, key=len, reverse=True)

MAX_PIXELS = 8192 * 8192
MAX_VOXELS = 1024 * 1024 * 512


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
    def flat(*shape: int) -> Geometry:
        """Return unit spacing at the origin for `(rows, columns)` or `(slices, rows, columns)`."""
        axes = len(shape)
        direction = tuple(float(place % (axes + 1) == 0) for place in range(axes * axes))
        return Geometry(shape[::-1], (1.0,) * axes, (0.0,) * axes, direction)


def same_grid(a: Geometry, b: Geometry, tolerance: float = 1e-3) -> bool:
    """Tell whether two grids have the same size and lie on each other.

    Args:
        tolerance: of spacing and origin as a share of a pixel of `a`, and of each cosine.
    """
    if a.size != b.size:
        return False
    pixel = np.array(a.spacing)
    return bool(
        (np.abs(pixel - b.spacing) <= tolerance * pixel).all()
        and (np.abs(np.subtract(a.origin, b.origin)) <= tolerance * pixel).all()
        and np.allclose(a.direction, b.direction, rtol=0, atol=tolerance)
    )


@dataclass(frozen=True)
class Image:
    """A 2D image or a volume as read.

    Attributes:
        pixels: `(rows, columns)` or `(slices, rows, columns)`, in colour `(..., 3)`, in the file's
            own type and value range.
        geometry: of the file; a single slice stored in 3D keeps its third axis here.
        path: the file.
        colour: whether the last axis of `pixels` is red, green, blue.
        region: rows and columns that hold the picture, where the file has a surround of text and
            marks (ultrasound); None is all of them. Networks see the region only, and answer with
            background beyond it.
        over_time: whether the first of three axes is time (a cine loop) rather than space.
    """

    pixels: np.ndarray
    geometry: Geometry
    path: Path
    colour: bool = False
    region: tuple[slice, slice] | None = None
    over_time: bool = False

    def __post_init__(self) -> None:
        """Reject pixels that are not those of the geometry, as colour taken for a third axis is."""
        if self.shape[::-1] != self.geometry.size[: self.spatial_dims]:
            raise ValueError(
                f"pixels of shape {self.pixels.shape} with colour={self.colour} do not fit a grid "
                f"of {self.geometry.size}"
            )

    @property
    def spatial_dims(self) -> int:
        """2 of an image, 3 of a volume."""
        return self.pixels.ndim - self.colour

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, of a volume slices, rows and columns."""
        return self.pixels.shape[: self.spatial_dims]


def is_coloured(image: Image) -> bool:
    """Tell whether any pixel of `image` has a hue; a grey picture stored as RGB has none."""
    return image.colour and bool((image.pixels != image.pixels[..., :1]).any())


def extension(path: str | os.PathLike[str]) -> str:
    """Return the lower-case extension of `path`, ``.nii.gz`` whole; empty where none is known."""
    name = Path(path).name.lower()
    return next((ext for ext in _LONGEST_FIRST if name.endswith(ext)), "")


def stem(path: str | os.PathLike[str]) -> str:
    """Return the file name of `path` without its extension; this is the image id."""
    name = Path(path).name
    ext = extension(name)
    return name[: len(name) - len(ext)] if ext else name


def read_image(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, spatial_dims: int | None = 2
) -> Image:
    """Read one 2D image, one volume or one loop.

    An image may be PNG, JPEG, BMP, TIFF, NRRD, NIfTI, MetaImage or DICOM; a volume NRRD, NIfTI,
    MetaImage, a TIFF whose pages are its slices, or DICOM of several frames. 8 and 16 bit, grey,
    RGB, RGBA and palette are read; alpha is dropped, palettes are applied. Ultrasound is read as
    luminance, with its region.

    Args:
        max_pixels: most pixels, or voxels, accepted.
        spatial_dims: 2 for an image, 3 for a volume or a loop, None for what the file is.

    Raises:
        InputError: missing, empty, truncated, not an image, of other dimensions, not finite, or
            larger than `max_pixels`; the message names the file and the cause.
    """
    path = Path(path)
    kind = _kind(path)
    if spatial_dims is None:
        spatial_dims = 2 if len(image_size(path)) == 2 else 3
    if kind in DICOM_EXTENSIONS:
        from lib.dicom import read_dicom

        image = read_dicom(path, max_pixels, spatial_dims)
        _check_values(path, image.pixels)
        return image
    if kind in PICTURE_EXTENSIONS:
        from lib.pictures import read_picture, read_stack

        pixels = (read_picture if spatial_dims == 2 else read_stack)(path, max_pixels)
        geometry = Geometry.flat(*pixels.shape[:spatial_dims])
    else:
        from lib.volumes import read_volume

        pixels, geometry = read_volume(path, max_pixels, spatial_dims)
    colour = pixels.ndim == spatial_dims + 1
    if colour and pixels.shape[-1] in (2, 4) and (spatial_dims == 2 or kind in TIFF_EXTENSIONS):
        # alpha carries no intensity
        pixels = pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :3]
        colour = pixels.ndim == spatial_dims + 1
    if pixels.ndim != spatial_dims + colour or (colour and pixels.shape[-1] != 3):
        what = "2D image" if spatial_dims == 2 else "volume"
        raise InputError(
            f"{path.name}: expected one {what}, grey or colour, found an array of shape "
            f"{pixels.shape}; export a single {'slice or frame' if what != 'volume' else 'channel'}"
        )
    _check_values(path, pixels)
    return Image(pixels, geometry, path, colour)


def _kind(path: Path) -> str:
    """Return the extension that tells the type of an existing file; ``.dcm`` by content too.

    Raises:
        InputError: missing, empty, or of no type that is read.
    """
    _check_file(path)
    kind = extension(path)
    if kind:
        return kind
    if _is_dicom(path):
        return DICOM_EXTENSIONS[0]
    raise InputError(
        f"{path.name}: not a supported image type; expected one of "
        f"{', '.join(IMAGE_EXTENSIONS)}; convert the file first"
    )


def _check_values(path: Path, pixels: np.ndarray) -> None:
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


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path.name}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name}: the file is empty (0 bytes); copy it again")


def check_pixel_count(name: str, size: Sequence[int], max_pixels: int) -> None:
    """Refuse an image whose header promises more than `max_pixels` pixels, before decoding it."""
    if math.prod(size) > max_pixels:
        sides = f" ({math.isqrt(max_pixels)} x {math.isqrt(max_pixels)})" if len(size) == 2 else ""
        raise InputError(
            f"{name}: {_by(size)} pixels are too many; at most {max_pixels}{sides} are accepted; "
            f"crop or tile the image"
        )


def not_a_volume(path: Path, found: str) -> InputError:
    """Return the error for what is no volume where one is expected."""
    return InputError(
        f"{path.name}: {found}, expected a volume; save all slices as one file "
        f"({', '.join(VOLUME_EXTENSIONS)}, or a TIFF with a page each)"
    )


def _by(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error for a file that a reader refused; its cause in one line, without folders."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Reason:")]  # of errno, stale
    cause = (told[-1] if told else type(error).__name__).replace(str(path), path.name)
    return InputError(f"{path.name}: damaged or not an image of its type ({cause}); copy it again")


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def image_size(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the size of an image from its header, x first, without trailing axes of size 1.

    The pages of a TIFF and the frames of a DICOM file are its third axis.

    Raises:
        InputError: missing, empty or not an image.
    """
    path = Path(path)
    kind = _kind(path)
    if kind in PICTURE_EXTENSIONS:
        from lib.pictures import picture_size

        return picture_size(path)
    if kind in DICOM_EXTENSIONS:
        from lib.dicom import dicom_size

        return dicom_size(path)
    from lib.volumes import volume_size

    return volume_size(path)


def check_readable(path: str | os.PathLike[str]) -> None:
    """Read an image, a volume or a loop to the end; of a series of volumes the header alone.

    Raises:
        InputError: it cannot be read.
    """
    axes = len(image_size(path))
    if axes <= 3:
        read_image(path, MAX_PIXELS if axes == 2 else MAX_VOXELS, spatial_dims=axes)
