"""Volumes, and 2D images in the file types of volumes, through ITK: NRRD, NIfTI and MetaImage."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError
from lib.files import copy_atomically, replaced_atomically
from lib.image import (
    META_EXTENSIONS,
    NIFTI_EXTENSIONS,
    Geometry,
    check_dimensions,
    check_pixel_count,
    damaged,
    has_extension,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

_HEADER_BYTES = 1 << 20
_WITH_HEADER = (".nrrd", *META_EXTENSIONS)  # may name another file that holds the pixels
_PIXEL_FILES = (".raw", ".zraw", ".raw.gz")
_META_DATA_FILE = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:](.*)$", re.MULTILINE)
_NRRD_DATA_FILE = re.compile(rb"^data ?file:(.*)$", re.MULTILINE | re.IGNORECASE)


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
        metadata={key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()},
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
    reader = _read_header(path)
    size = reader.GetSize()
    channels = size[3] if layered and len(size) == 4 else 1
    check_pixel_count(path.name, size[:3] if channels > 1 else size, max_pixels)
    check_dimensions(path, size[:3] if channels > 1 else size, spatial_dims)
    data_file = _data_file(path)
    if has_extension(path, NIFTI_EXTENSIONS):
        from lib.io.nifti import check_pixels

        check_pixels(path)
    import SimpleITK as sitk

    try:
        with _alone(path) as file:
            reader.SetFileName(str(file))
            image = reader.Execute()
    except RuntimeError as error:
        if data_file:
            raise InputError(
                f"{path.name}: its pixel file '{data_file}' is damaged or truncated; copy it again"
            ) from None
        raise damaged(path, error) from None
    components = image.GetNumberOfComponentsPerPixel()
    shape = size[spatial_dims - 1 :: -1] + ((components,) if components > 1 else ())
    pixels = sitk.GetArrayFromImage(image)
    if channels > 1:
        pixels, shape = np.moveaxis(pixels, 0, -1), (*shape, channels)
    return pixels.reshape(shape), Geometry.of(image)


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


def pixel_file(path: Path) -> Path | None:
    """Return the file beside the header `path` that holds its pixels, and only its.

    None where `path` holds its pixels itself; where the pixel file is missing, lies in another
    folder or has another extension than ``.raw``, ``.zraw`` and ``.raw.gz``; and where another
    header names it too.
    """
    if not has_extension(path, _WITH_HEADER):
        return None
    name = _named_pixels(path)
    if not name.lower().endswith(_PIXEL_FILES):
        return None
    others = (other for other in path.parent.iterdir() if other != path and other.is_file())
    headers = (other for other in others if has_extension(other, _WITH_HEADER))
    return None if any(_named_pixels(other) == name for other in headers) else path.parent / name


def copy_whole(source: Path, target: Path) -> None:
    """Copy an image or label file atomically; pixels that lie beside a header go into the copy."""
    if not (has_extension(source, _WITH_HEADER) and _named_pixels(source)):
        copy_atomically(source, target)
        return
    import SimpleITK as sitk

    with whole_file(target) as partial:
        sitk.WriteImage(sitk.ReadImage(str(source)), str(partial), useCompression=True)


def _named_pixels(path: Path) -> str:
    """Return the name of the file beside `path` that holds its pixels; empty if there is none."""
    try:
        return _data_file(path)
    except (InputError, OSError):
        return ""


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
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise damaged(path, error) from None
    return reader


def _data_file(path: Path) -> str:
    """Return the name of the file beside `path` that holds its pixels; empty if `path` does.

    Raises:
        InputError: there is no such file, or the header names one in another folder: a file from
            outside must not choose what is read on this machine.
    """
    if has_extension(path, NIFTI_EXTENSIONS):
        return ""
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if has_extension(path, META_EXTENSIONS):
        found = _META_DATA_FILE.search(header)
        cut = found is None
    else:
        header, *pixels = re.split(rb"\r?\n\r?\n", header, maxsplit=1)
        found = _NRRD_DATA_FILE.search(header)
        cut = not pixels and len(header) == _HEADER_BYTES
    if cut:
        raise damaged(path, ValueError("its header has no end"))
    name = found.group(1).decode(errors="replace").strip() if found else "LOCAL"
    if name.upper() == "LOCAL":
        return ""
    name = name.removeprefix("./")
    advice = "save it as .mha or .nrrd in one file (an upload to the server carries one only)"
    if name != Path(name).name or name.startswith("LIST") or "%" in name:
        raise InputError(
            f"{path.name}: its pixels lie in '{name}', expected one file beside it; {advice}"
        )
    if not (path.parent / name).is_file():
        raise InputError(
            f"{path.name}: its pixel file '{name}' is not beside it; copy both, or {advice}"
        )
    return name


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
