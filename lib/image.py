"""Image and Geometry, with the extensions, limits and errors that every reader shares."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

# luminance of red, green and blue: ITU-R BT.601 (scikit-image's rgb2gray has those of BT.709)
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)

TIFF_EXTENSIONS = (".tif", ".tiff")
PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", *TIFF_EXTENSIONS)
NIFTI_EXTENSIONS = (".nii", ".nii.gz")
META_EXTENSIONS = (".mha", ".mhd")
VOLUME_EXTENSIONS = (".nrrd", *NIFTI_EXTENSIONS, *META_EXTENSIONS)
DICOM_EXTENSIONS = (".dcm",)
ZARR_FOLDER = ".zarr"
MICROSCOPY_EXTENSIONS = (".czi", ".nd2", ".lif", ".ozx", ".zarr.zip", ZARR_FOLDER)

MAX_PIXELS = 8192 * 8192
MAX_VOXELS = 1024 * 1024 * 512
MAX_BYTES = 1_000_000_000  # of the decoded values of one file; 512 x 512 x 1900 of 16 bit fit
MAX_PICTURE_BYTES = 1 << 28  # of one 2D picture: 8192 x 8192 of 32 bit; no model answers in time
DEFLATE_RATIO = 1032  # most bytes that gzip, zlib and deflate can make of one byte


@dataclass(frozen=True)
class Geometry:
    """The pixel grid in space, in ITK's axis order (x, y[, z]) and millimetres.

    Attributes:
        size: number of pixels along each axis.
        spacing: distance of neighbouring pixels along each axis.
        origin: position of the first pixel.
        direction: cosines of the axes, row by row, `len(size) ** 2` numbers.
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

    @staticmethod
    def of(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
        """Return the grid of what ITK read, or of a header that it read; its first three axes."""
        dimensions = len(image.GetSize())
        axes = min(dimensions, 3)
        direction = np.reshape(image.GetDirection(), (dimensions, dimensions))[:axes, :axes]
        return Geometry(
            tuple(image.GetSize()[:axes]),
            tuple(image.GetSpacing()[:axes]),
            tuple(image.GetOrigin()[:axes]),
            tuple(float(cosine) for cosine in direction.ravel()),
        )


@dataclass(frozen=True)
class Image:
    """A 2D image or a volume as read.

    Attributes:
        pixels: `(rows, columns)` or `(slices, rows, columns)`, in colour `(..., 3)`, with the data
            type and value range of the file.
        geometry: of the file, as ITK and so 3D Slicer reads it: answers are written on it. A single
            slice stored in 3D keeps its third axis here.
        path: the file.
        colour: whether the last axis of `pixels` is red, green, blue.
        region: rows and columns that show the image, without the text and marks around it
            (ultrasound); None for all. Networks get the region only, and their answer is background
            outside of it.
        over_time: whether the first of three axes is time (a cine loop), not space.
        physical_spacing: measured size of a pixel along x, y[, z] in millimetres, where the file
            tells one that ITK does not read (ultrasound regions); None for that of `geometry`.
        channel: name or number of the channel that was read, where the file has several.
        notes: what reading did to the pixels that a user should know, a sentence each.
    """

    pixels: np.ndarray
    geometry: Geometry
    path: Path
    _: KW_ONLY
    colour: bool = False
    region: tuple[slice, slice] | None = None
    over_time: bool = False
    physical_spacing: tuple[float, ...] | None = None
    channel: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject pixels of another size than the geometry, such as colour taken for an axis."""
        if self.shape[::-1] != self.geometry.size[: self.spatial_dims]:
            raise ValueError(
                f"pixels of shape {self.pixels.shape} with colour={self.colour} do not fit a grid "
                f"of {self.geometry.size}"
            )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a pixel along x, y[, z] in millimetres, for measurements."""
        return self.physical_spacing or self.geometry.spacing

    @property
    def facts(self) -> dict[str, object]:
        """What an answer tells of how its image was read: ``channel`` and ``notes``, if any."""
        facts: dict[str, object] = {"channel": self.channel} if self.channel else {}
        return {**facts, "notes": list(self.notes)} if self.notes else facts

    @property
    def spatial_dims(self) -> int:
        """2 for an image, 3 for a volume."""
        return self.pixels.ndim - self.colour

    @property
    def shape(self) -> tuple[int, ...]:
        """`(rows, columns)` of an image, `(slices, rows, columns)` of a volume."""
        return self.pixels.shape[: self.spatial_dims]


def itk_geometry(path: Path) -> Geometry | None:
    """Return the grid that ITK, and so 3D Slicer, reads from the header; None where it cannot."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK warns of how it would read the pixels
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return Geometry.of(reader)


def is_coloured(image: Image) -> bool:
    """Tell whether any pixel of `image` has a hue; a grey picture stored as RGB has none."""
    return image.colour and bool((image.pixels != image.pixels[..., :1]).any())


def has_extension(path: str | os.PathLike[str], extensions: tuple[str, ...]) -> bool:
    """Tell whether the name of `path` ends in one of the lower-case `extensions`, in any case."""
    return os.fspath(path).lower().endswith(extensions)


def is_zarr_folder(path: Path) -> bool:
    """Tell whether `path` is the folder of an OME-Zarr."""
    return path.name.lower().endswith(ZARR_FOLDER) and path.is_dir()


def check_pixel_count(name: str, size: Sequence[int], max_pixels: int) -> None:
    """Refuse an image with more than `max_pixels` pixels by its header, before it is decoded.

    Raises:
        InputError: it has more.
    """
    if math.prod(size) > max_pixels:
        sides = f" ({math.isqrt(max_pixels)} x {math.isqrt(max_pixels)})" if len(size) == 2 else ""
        raise InputError(
            f"{name}: {by(size)} pixels are too many; at most {max_pixels}{sides} are accepted; "
            f"crop or tile the image"
        )


def check_decoded_bytes(
    name: str, size: Sequence[int], value_bytes: int, samples: int = 1, max_bytes: int = MAX_BYTES
) -> int:
    """Refuse an image by its header whose decoded values would take more than `max_bytes`.

    Args:
        size: number of pixels along each axis; pages and frames count as one.
        value_bytes: bytes of one value.
        samples: values of each pixel: components, channels, colours with alpha.

    Returns:
        The bytes of the decoded values.

    Raises:
        InputError: they are more.
    """
    promised = math.prod(size) * samples * value_bytes
    if promised > max_bytes:
        each = f"{samples} values of {value_bytes} bytes" if samples > 1 else f"{value_bytes} bytes"
        raise InputError(
            f"{name}: {by(size)} pixels of {each} take {_megabytes(promised)} when decoded, at "
            f"most {_megabytes(max_bytes)} are accepted; crop the image, or save it with fewer "
            f"bits or channels"
        )
    return promised


def check_stored_bytes(name: str, promised: int, stored: int, ratio: int = 1) -> None:
    """Refuse a file whose stored bytes cannot hold the values that its header promises.

    Args:
        promised: bytes of the decoded values.
        stored: bytes in which they are stored.
        ratio: most bytes that one stored byte can decode to; 1 for values that are not compressed,
            `DEFLATE_RATIO` for gzip, zlib and deflate.

    Raises:
        InputError: the file is truncated, or its header is wrong.
    """
    if promised > stored * ratio:
        limit = f", which hold at most {stored * ratio}" if ratio > 1 else ""
        raise InputError(
            f"{name}: truncated, its header promises {promised} bytes of pixels, found {stored} "
            f"bytes{' of compressed ones' * (ratio > 1)}{limit}; copy it again"
        )


def not_a_volume(path: Path, found: str) -> InputError:
    """Return the error for a file that is not a volume where one is expected.

    Args:
        found: what the file holds.
    """
    return InputError(
        f"{path.name}: {found}, expected a volume; save all slices as one file "
        f"({', '.join(VOLUME_EXTENSIONS)}, or a TIFF with a page each)"
    )


def check_dimensions(path: Path, size: Sequence[int], spatial_dims: int) -> None:
    """Refuse a size, x first, that is not that of one 2D image, or of one volume.

    Raises:
        InputError: it has more or fewer axes longer than 1.
    """
    shown = by(size)
    if spatial_dims == 2 and any(side != 1 for side in size[2:]):
        raise InputError(
            f"{path.name}: a volume of {shown}, expected one 2D image; export a single slice"
        )
    if spatial_dims == 3 and all(side == 1 for side in size[2:]):
        raise not_a_volume(path, f"one slice of {shown}")
    if spatial_dims == 3 and any(side != 1 for side in size[3:]):
        raise InputError(
            f"{path.name}: a series of {shown}, expected one volume; export a single time point"
        )


def by(size: Sequence[int]) -> str:
    """Return a size in words, such as ``64 x 48``."""
    return " x ".join(map(str, size))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error for a file that a reader refused, with the cause in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    # ITK's "Reason:" is the last error of the system, whatever it was about
    causes = [line for line in lines if line and not line.startswith("Reason:")]
    cause = (causes[-1] if causes else type(error).__name__).replace(str(path), path.name)
    return InputError(f"{path.name}: damaged or not an image of its type ({cause}); copy it again")
