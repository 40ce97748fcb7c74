"""Read images and volumes of every supported file type, with their geometry.

Arrays are in memory order: `(rows, columns)` or `(slices, rows, columns)`, colour last. Physical
geometry is kept apart, in ITK's convention (x, y, z; LPS, millimetres), so that a mask can be
written over its image.

`FILE_TYPES` is the one table of file types. A new type is one more row: whatever asks for the
extension of a file, lists a folder, or reads an image looks there each time. The libraries that
decode a file are imported when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.image import (
    DICOM_EXTENSIONS,
    MAX_PIXELS,
    MAX_VOXELS,
    MICROSCOPY_EXTENSIONS,
    PICTURE_EXTENSIONS,
    VOLUME_EXTENSIONS,
    ZARR_FOLDER,
    Geometry,
    Image,
)
from lib.io.channels import Chooser, SeveralChannelsError, channel_tables, listed_channel
from lib.io.decoded import as_image, check_values, one_colour
from lib.isolation.calls import isolated


@dataclass(frozen=True, kw_only=True)
class FileType:
    """One row of the table of file types. Its functions raise `InputError` for a damaged file.

    Attributes:
        extensions: in lower case, with their dot.
        size: takes the path; returns the size from the header alone, x first, without trailing
            axes of size 1.
        read: takes the path, the most pixels accepted and 2 (image) or 3 (volume or loop); returns
            the image.
        geometry: takes the path; returns the grid of the image from the header alone. None for
            types that are read whole for it.
        recognises: takes the path of a file whose name has no known extension; returns whether
            its content is of this type. None for types that need an extension.
        several_channels: whether files may have several; then `size` and `read` take one argument
            more, the channel asked for.
    """

    extensions: tuple[str, ...]
    size: Callable[..., tuple[int, ...]]
    read: Callable[..., Image]
    geometry: Callable[[Path], Geometry] | None = None
    recognises: Callable[[Path], bool] | None = None
    several_channels: bool = False


def _later(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is imported when it is called."""
    return lambda *arguments: getattr(import_module(module), name)(*arguments)


def _read_picture(path: Path, max_pixels: int, spatial_dims: int, channel: str) -> Image:
    from lib.io.planes import read_pixels
    from lib.io.resolution import picture_geometry

    pixels, facts = read_pixels(path, max_pixels, spatial_dims, channel)
    geometry = picture_geometry(path, pixels.shape[:spatial_dims])
    image = replace(as_image(path, pixels, geometry, spatial_dims), **facts)
    if spatial_dims == 2:
        return image
    # no tag tells how far slices are apart: they count as far as pixels, not as ITK's 1 mm
    return replace(image, physical_spacing=(*geometry.spacing[:2], geometry.spacing[0]))


def _picture_geometry(path: Path) -> Geometry:
    from lib.io.resolution import picture_geometry

    return picture_geometry(path, image_size(path)[::-1])


def _read_volume(path: Path, max_pixels: int, spatial_dims: int, channel: str) -> Image:
    from lib.io.components import read_channel

    pixels, geometry, name = read_channel(path, max_pixels, spatial_dims, channel)
    return replace(as_image(path, pixels, geometry, spatial_dims), channel=name)


def _dicom_size(path: Path, channel: str = "") -> tuple[int, ...]:
    from lib.dicom.read import dicom_size

    return dicom_size(path, Chooser(channel) if channel else None)


def _dicom_geometry(path: Path) -> Geometry:
    from lib.dicom.read import dicom_grid

    channel = default_channel(path)
    return dicom_grid(path, Chooser(channel) if channel else None)


def _read_dicom(path: Path, max_pixels: int, spatial_dims: int, channel: str) -> Image:
    from lib.dicom.read import read_dicom

    return read_dicom(path, max_pixels, spatial_dims, Chooser(channel))


def begins_as_dicom(path: Path) -> bool:
    """Tell whether a file begins as DICOM files do (PS3.10): 128 bytes of any content, ``DICM``."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


FILE_TYPES = (
    FileType(
        extensions=PICTURE_EXTENSIONS,
        size=_later("lib.io.pictures", "picture_size"),
        read=_read_picture,
        geometry=_picture_geometry,
        several_channels=True,
    ),
    FileType(
        extensions=VOLUME_EXTENSIONS,
        size=_later("lib.io.volumes", "volume_size"),
        read=_read_volume,
        geometry=_later("lib.io.volumes", "volume_geometry"),
        several_channels=True,
    ),
    FileType(
        extensions=DICOM_EXTENSIONS,
        size=_dicom_size,
        read=_read_dicom,
        geometry=_dicom_geometry,
        recognises=begins_as_dicom,
        several_channels=True,
    ),
    FileType(
        extensions=MICROSCOPY_EXTENSIONS,
        size=_later("lib.io.microscopy", "microscopy_size"),
        read=_later("lib.io.microscopy", "read_microscopy"),
        geometry=_later("lib.io.microscopy", "microscopy_geometry"),
        several_channels=True,
    ),
)


def image_extensions() -> tuple[str, ...]:
    """Return the extensions of all file types, in the order of the table."""
    return tuple(extension for row in FILE_TYPES for extension in row.extensions)


def extension(path: str | os.PathLike[str]) -> str:
    """Return the lower-case extension of `path`, ``.nii.gz`` whole; empty where none is known."""
    name = Path(path).name.lower()
    return max((end for end in image_extensions() if name.endswith(end)), key=len, default="")


def stem(path: str | os.PathLike[str]) -> str:
    """Return the file name of `path` without its known extension; this is the image id."""
    name = Path(path).name
    return name[: len(name) - len(extension(name))]


def image_files(path: str | os.PathLike[str], *_: object, **__: object) -> list[Path]:
    """Return the files that reading an image may open: itself, its pixels beside it, its table."""
    from lib.io.pixel_files import with_pixel_file

    return [*with_pixel_file(path), *channel_tables(Path(path))]


@isolated(image_files)
def read_image(
    path: str | os.PathLike[str],
    max_pixels: int = MAX_PIXELS,
    spatial_dims: int | None = 2,
    channel: str = "",
) -> Image:
    """Read one 2D image, one volume or one loop, of several channels one.

    An image may be PNG, JPEG, BMP, TIFF, NRRD, NIfTI, MetaImage, DICOM or a microscope's file; a
    volume one of the last five or a TIFF whose pages are its slices. 8 and 16 bit, grey,
    RGB, RGBA and palette are read; alpha is dropped where the file says that it is alpha, palettes
    are applied. Ultrasound is read as luminance, with its region.

    Args:
        max_pixels: most pixels, or voxels, accepted.
        spatial_dims: 2 for an image, 3 for a volume or a loop, None for what the file is.
        channel: name or number, from 1, of the channel to read; of colour red, green or blue.
            Empty for the one that ``channels.csv`` of the folder names, see `default_channel`.

    Raises:
        SeveralChannelsError: there are several channels, no colour, and none is chosen.
        InputError: missing, empty, truncated, not an image, of other dimensions, not finite, larger
            than `max_pixels`, or without the channel; the message names the file and the cause.
    """
    path = Path(path)
    file_type = _file_type(path)
    asked = channel.strip() or default_channel(path)
    if spatial_dims is None:
        spatial_dims = 2 if len(_size(file_type, path, asked)) == 2 else 3
    which = (asked,) if file_type.several_channels else ()
    image = file_type.read(path, max_pixels, spatial_dims, *which)
    check_values(path, image.pixels)
    if asked and not image.channel:
        image = one_colour(image, asked, required=bool(channel.strip()))
    return image


def default_channel(path: str | os.PathLike[str]) -> str:
    """Return the channel that ``channels.csv`` of its folder names for an image; "" for none.

    Raises:
        InputError: the file is no table of ids and channels.
    """
    return listed_channel(Path(path), stem(path))


@isolated(image_files, remember=True)
def image_size(path: str | os.PathLike[str], channel: str = "") -> tuple[int, ...]:
    """Return the size of an image from its header, x first, without trailing axes of size 1.

    The slices of a TIFF and the frames of a DICOM file are its third axis. Channels are no axis.

    Args:
        channel: the one asked for, as for `read_image`: the pages of a TIFF that tells nothing of
            them are slices, or channels if one is asked for.

    Raises:
        InputError: missing, empty or not an image.
    """
    path = Path(path)
    return _size(_file_type(path), path, channel.strip() or default_channel(path))


def _size(file_type: FileType, path: Path, channel: str) -> tuple[int, ...]:
    return file_type.size(path, *((channel,) if file_type.several_channels else ()))


@isolated(image_files, remember=True)
def image_geometry(path: str | os.PathLike[str]) -> Geometry:
    """Return the grid of an image, as `read_image` gives it, from its header where that tells it.

    Raises:
        InputError: missing, empty or not an image.
    """
    path = Path(path)
    row = _file_type(path)
    if row.geometry is None:
        return read_image(path, MAX_VOXELS, None).geometry
    return row.geometry(path)


@isolated(image_files)
def check_readable(path: str | os.PathLike[str]) -> None:
    """Read an image, a volume or a loop to the end; of a series of volumes the header alone.

    Raises:
        InputError: it cannot be read.
    """
    axes = len(image_size(path))
    if axes > 3:
        return
    most = MAX_PIXELS if axes == 2 else MAX_VOXELS
    try:
        read_image(path, most, axes)
    except SeveralChannelsError as error:  # each can be chosen
        for number in range(1, error.count + 1):
            read_image(path, most, axes, str(number))


def _file_type(path: Path) -> FileType:
    """Return the row of an existing file: by its extension, else by its content.

    Raises:
        InputError: missing, empty, or of no type that is read.
    """
    if path.is_dir() and not path.name.lower().endswith(ZARR_FOLDER):
        raise InputError(f"{path.name}: no such file, but a folder; give an image in it")
    if not path.exists():
        raise InputError(f"{path.name}: no such file")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path.name}: the file is empty (0 bytes); copy it again")
    suffix = extension(path)
    for row in FILE_TYPES:
        if suffix in row.extensions or not suffix and row.recognises and row.recognises(path):
            return row
    raise InputError(
        f"{path.name}: not a supported image type; expected one of "
        f"{', '.join(image_extensions())}; convert the file first"
    )
