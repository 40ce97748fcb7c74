"""Volumes, and 2D images in the file types of volumes, through ITK: NRRD, NIfTI and MetaImage."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError
from lib.files import copy_atomically, is_text, replaced_atomically, write_atomically
from lib.image import (
    META_EXTENSIONS,
    NIFTI_EXTENSIONS,
    Geometry,
    check_dimensions,
    check_pixel_count,
    damaged,
    has_extension,
)
from lib.io.meta_header import read_meta_header
from lib.io.nrrd_header import read_nrrd_header
from lib.io.pixel_files import data_file, data_file_name, named_pixels, with_pixel_file
from lib.io.stored import HeaderError, Stored, check_held
from lib.isolation.calls import isolated

if TYPE_CHECKING:
    import SimpleITK as sitk

_READERS = {
    (".nrrd",): "NrrdImageIO",
    META_EXTENSIONS: "MetaImageIO",
    NIFTI_EXTENSIONS: "NiftiImageIO",
}


@dataclass(frozen=True, kw_only=True)
class HeaderFields:
    """What the header of a volume tells of its values.

    Attributes:
        layers: values for each voxel: the components of a vector, or the fourth axis.
        real: whether they are floating-point numbers.
        metadata: the file's own pairs of key and text.
    """

    layers: int
    real: bool
    metadata: Mapping[str, str]


def header_fields(path: Path) -> HeaderFields:
    """Read what the header tells of the values; a damaged one raises `InputError`."""
    reader = _read_header(path)
    size = reader.GetSize()
    fourth = size[3] if len(size) == 4 else 1
    return HeaderFields(
        layers=max(reader.GetNumberOfComponents(), fourth),
        real=reader.GetPixelIDValue() in _real_types(),
        # ITK takes back no key that is not UTF-8
        metadata={k: reader.GetMetaData(k) for k in reader.GetMetaDataKeys() if is_text(k)},
    )


def _real_types() -> set[int]:
    import SimpleITK as sitk

    return {sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkVectorFloat32, sitk.sitkVectorFloat64}


def read_volume(
    path: Path, max_pixels: int, spatial_dims: int, layered: bool = False
) -> tuple[np.ndarray, Geometry]:
    """Read one 2D image or one volume; axes of size 1 beyond `spatial_dims` are dropped.

    Args:
        layered: whether a fourth axis is taken for channels.

    Returns:
        Pixels `(rows, columns)` or `(slices, rows, columns)`, with a last axis for channels where
        the file has several; and the geometry, with three axes where the file has them.

    Raises:
        InputError: damaged, of other dimensions, or larger than `max_pixels`.
    """
    image, pixels = decoded_volume(path, max_pixels, spatial_dims, layered)
    return pixels.copy(), Geometry.of(image)


def decoded_volume(
    path: Path, max_pixels: int, spatial_dims: int, layered: bool = False
) -> tuple[sitk.Image, np.ndarray]:
    """Read as `read_volume`, and return ITK's image with a view of its pixels, not a copy.

    The view counts while the image lives: a part of the channels can be copied, and no more.
    """
    reader = _read_header(path)
    size = reader.GetSize()
    channels = size[3] if layered and len(size) == 4 else 1
    check_pixel_count(path.name, size[:3] if channels > 1 else size, max_pixels)
    check_dimensions(path, size[:3] if channels > 1 else size, spatial_dims)
    _check_pixels(path)
    import SimpleITK as sitk

    try:
        with _alone(path) as file:
            reader.SetFileName(str(file))
            image = reader.Execute()
    except RuntimeError as error:
        raise damaged(path, error) from None
    components = image.GetNumberOfComponentsPerPixel()
    shape = size[spatial_dims - 1 :: -1] + ((components,) if components > 1 else ())
    pixels = sitk.GetArrayViewFromImage(image)
    if channels > 1:
        pixels, shape = np.moveaxis(pixels, 0, -1), (*shape, channels)
    return image, pixels.reshape(shape)


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Yield a name by which ITK reads `path`: for a.nii.gz it would read an a.nii beside it."""
    if not (has_extension(path, (".nii.gz",)) and path.with_suffix("").exists()):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, path.name)
        link.symlink_to(path.resolve())
        yield link


def volume_geometry(path: Path) -> Geometry:
    """Return the grid from the header, with as many axes as the file has, at most three."""
    return Geometry.of(_read_header(path))


def volume_size(path: Path, channel: str = "") -> tuple[int, ...]:
    """Return the size from the header, x first, without trailing axes of size 1.

    Args:
        channel: the one asked for; if it is a number, the fourth axis is one of channels.
    """
    size = tuple(_read_header(path).GetSize())
    if channel.isdecimal() and len(size) == 4:
        size = size[:3]
    while len(size) > 2 and size[-1] == 1:
        size = size[:-1]
    return size


def copy_whole(source: Path, target: Path) -> None:
    """Copy an image or label file atomically; pixels that lie beside a header go into the copy."""
    if not named_pixels(source):
        copy_atomically(source, target)
        return
    content = _in_one_file(source, ".mha" if has_extension(target, (".mhd",)) else target.name)
    write_atomically(target, lambda file: file.write(content.data))


@isolated(with_pixel_file)
def _in_one_file(source: Path, ending: str) -> np.ndarray:
    """Return the content of a file that holds header and pixels of `source`, as bytes.

    Args:
        ending: of its name, by which ITK chooses its type.
    """
    import SimpleITK as sitk

    _check_pixels(source)
    with TemporaryDirectory() as folder:
        whole = Path(folder, f"whole{ending}")
        sitk.WriteImage(_read_header(source).Execute(), str(whole), useCompression=True)
        return np.fromfile(whole, np.uint8)


def write_volume(
    path: Path,
    pixels: np.ndarray,
    geometry: Geometry,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write grey `pixels` with `geometry`, compressed.

    A single slice of a 3D geometry may come as `(rows, columns)`.

    Args:
        metadata: pairs of key and text that an NRRD keeps in its header.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    import SimpleITK as sitk

    added_axes = len(geometry.size) - pixels.ndim
    out = sitk.GetImageFromArray(pixels.reshape((1,) * added_axes + pixels.shape), isVector=False)
    out.SetSpacing(geometry.spacing)
    out.SetOrigin(geometry.origin)
    out.SetDirection(geometry.direction)
    for key, text in metadata.items():
        out.SetMetaData(key, text)
    path.touch()  # raises where the folder is missing or not writable; ITK's error tells less
    try:
        sitk.WriteImage(out, str(path), useCompression=True)
        if has_extension(path, NIFTI_EXTENSIONS):
            from lib.io.nifti import check_pixels

            check_pixels(path)
    except (RuntimeError, InputError):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None


def _read_header(path: Path) -> sitk.ImageFileReader:
    """Let ITK read a header that makes sense, and no other."""
    _check_header(path)
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(next(name for ends, name in _READERS.items() if has_extension(path, ends)))
    try:
        with _alone(path) as file:
            reader.SetFileName(str(file))
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise damaged(path, error) from None
    return reader


def _check_header(path: Path) -> Stored | None:
    """Return how the values are stored; None for NIfTI.

    Raises:
        InputError: the header makes no sense, or chooses a file elsewhere.
    """
    if has_extension(path, NIFTI_EXTENSIONS):
        from lib.io.nifti import check_nifti_header

        check_nifti_header(path)
        return None
    beside = data_file_name(path)
    read = read_meta_header if has_extension(path, META_EXTENSIONS) else read_nrrd_header
    try:
        return replace(read(path), file=beside)
    except (HeaderError, OSError) as error:
        raise damaged(path, error) from None


def _check_pixels(path: Path) -> None:
    """Refuse a file that is too large, or that does not hold the values that its header promises.

    Raises:
        InputError: as `lib.io.stored.check_held` and `lib.io.nifti.check_pixels`.
    """
    stored = _check_header(path)
    if stored is not None:
        data_file(path)
        check_held(path, stored)
        return
    from lib.io.nifti import check_pixels

    check_pixels(path)


def save_volume(path: Path, pixels: np.ndarray, spacing: Sequence[float]) -> Path:
    """Write a volume `(slices, rows, columns)` with its first voxel at the origin; atomically.

    Args:
        spacing: of slices, rows and columns, mm.
    """
    geometry = replace(Geometry.flat(*pixels.shape), spacing=tuple(map(float, spacing[::-1])))
    with whole_file(path) as partial:
        write_volume(partial, pixels, geometry)
    return path


def whole_file(path: Path) -> AbstractContextManager[Path]:
    """Return `replaced_atomically` of a file whose type ITK chooses by the extension."""
    # ITK writes an .mhd as two files, an .mha as one
    return replaced_atomically(path, ".mha" if has_extension(path, (".mhd",)) else f".{path.name}")
