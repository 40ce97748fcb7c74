"""Image and Geometry, with the extensions, limits and errors that every reader shares."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import InputError

# luminance of red, green and blue: ITU-R BT.601 (scikit-image's rgb2gray has those of BT.709)
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)

TIFF_EXTENSIONS = (".tif", ".tiff")
PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", *TIFF_EXTENSIONS)
NIFTI_EXTENSIONS = (".nii", ".nii.gz")
META_EXTENSIONS = (".mha", ".mhd")
VOLUME_EXTENSIONS = (".nrrd", *NIFTI_EXTENSIONS, *META_EXTENSIONS)
DICOM_EXTENSIONS = (".dcm",)

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
        direction = tuple(float(index % (axes + 1) == 0) for index in range(axes * axes))
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


def has_extension(path: str | os.PathLike[str], extensions: tuple[str, ...]) -> bool:
    """Tell whether the name of `path` ends in one of the lower-case `extensions`, in any case."""
    return os.fspath(path).lower().endswith(extensions)


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
