"""Label files decoded: palettes, pictures of labels, layers and one-hot channels, and their names.

A label file has one layer, an integer for every pixel, or several: channels of a one-hot label, or
the layers in which 3D Slicer keeps segments that may overlap (.seg.nrrd). Layers are merged into
one label image where they do not overlap, and refused where they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import InputError, listed
from lib.image import (
    MAX_PIXELS,
    MAX_VOXELS,
    PICTURE_EXTENSIONS,
    VOLUME_EXTENSIONS,
    Geometry,
)
from lib.io.label_pictures import (
    check_drawing,
    coloured,
    is_grey,
    is_plain_picture,
    palette_indices,
    read_drawing,
)
from lib.io.masks import MASK_EXTENSIONS, Names
from lib.io.read import extension, image_files, stem
from lib.io.segments import Segment, segments_in
from lib.io.volumes import header_fields, read_volume
from lib.isolation.calls import isolated

_SEGMENTATION = ".seg.nrrd"
_ARRAYS = (".npy", ".npz")
_MOST_LAYERS = 1024
_LARGEST = int(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class LabelFile:
    """A label file as read.

    Attributes:
        pixels: int32 `(rows, columns)` or `(slices, rows, columns)`, 0 is background.
        geometry: of the file.
    """

    pixels: np.ndarray
    geometry: Geometry


def labelled_id(path: Path | str) -> str:
    """Return the id of the image that a label file is of: its name without its extension.

    That of a segmentation of 3D Slicer is ``.seg.nrrd`` whole.
    """
    name = Path(path).name
    return name[: -len(_SEGMENTATION)] if name.lower().endswith(_SEGMENTATION) else stem(name)


@isolated(image_files)
def read_label_file(path: Path, spatial_dims: int) -> LabelFile:
    """Decode a label image, 2 axes, or volume, 3 axes.

    Raises:
        InputError: unreadable, lossy, in colours, with values that are no whole numbers from 0, or
            with layers that overlap.
    """
    _refuse_by_type(path)
    suffix = extension(path)
    indices = palette_indices(path, spatial_dims) if suffix in PICTURE_EXTENSIONS else None
    if indices is not None:
        return LabelFile(indices.astype(np.int32), Geometry.flat(*indices.shape))
    most = MAX_VOXELS if spatial_dims == 3 else MAX_PIXELS
    if suffix in VOLUME_EXTENSIONS:
        pixels, geometry = read_volume(path, most, spatial_dims, layered=True)
    else:
        pixels, geometry = read_drawing(path, most, spatial_dims)
    if pixels.ndim > spatial_dims and is_grey(pixels):
        pixels = pixels[..., 0]
    if pixels.ndim > spatial_dims and pixels.shape[-1] > _MOST_LAYERS:
        raise InputError(
            f"{path.name}: has {pixels.shape[-1]} layers, expected at most {_MOST_LAYERS}; save "
            f"one label image"
        )
    if suffix in PICTURE_EXTENSIONS:
        pixels = check_drawing(path, pixels)
    layers = [pixels] if pixels.ndim == spatial_dims else list(np.moveaxis(pixels, -1, 0))
    layers = [_whole_numbers(path, layer) for layer in layers]
    segments = segments_in(path, len(layers))
    if segments and len(layers) > 1:
        return LabelFile(_merge_segments(path, layers, segments), geometry)
    if len(layers) == 1:
        label = layers[0].astype(np.int32)
    else:
        label = _merge_layers(path, layers)
    for one in segments:
        if not one.merged:
            label[label == one.value] = 0
    return LabelFile(label, geometry)


@isolated(image_files, remember=True)
def label_names(path: Path) -> Names:
    """Return the segments that a label file itself names, with their values when it is read.

    Only .seg.nrrd files, and the label files that this app writes as .nrrd, name any.

    Raises:
        InputError: damaged, or with descriptions that contradict each other.
    """
    if extension(path) != ".nrrd":
        return ()
    return tuple((one.name, one.merged) for one in segments_in(path))


@isolated(image_files, remember=True)
def is_plain(path: Path) -> bool:
    """Tell whether any program reads a label file as this app does: one integer for each pixel."""
    suffix = extension(path)
    if suffix in PICTURE_EXTENSIONS:
        return is_plain_picture(path)
    if suffix in VOLUME_EXTENSIONS:
        header = header_fields(path)
        return header.layers == 1 and not header.real
    return True


def _refuse_by_type(path: Path) -> None:
    suffix, lossless = extension(path), ", ".join(MASK_EXTENSIONS)
    if suffix in (".jpg", ".jpeg"):
        raise InputError(
            f"{path.name}: JPEG changes label values; expected a lossless label image "
            f"({lossless}); save it again as one of these"
        )
    if not suffix and path.name.lower().endswith(_ARRAYS):
        raise InputError(
            f"{path.name}: arrays of NumPy are not read as labels (those of Cellpose hold pickled "
            f"objects, which may run code), expected a label image ({lossless}); save the masks as "
            f"PNG or TIFF"
        )


def _whole_numbers(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return `pixels`, real numbers as int32, so that many layers stay as small as they are.

    Raises:
        InputError: fractions, or numbers below 0 or beyond int32.
    """
    if pixels.dtype.kind not in "biuf":
        raise InputError(
            f"{path.name}: holds values of type {pixels.dtype}, expected whole numbers; save the "
            f"label map itself"
        )
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise InputError(
                f"{path.name}: holds values that are NaN or infinite, expected whole numbers; save "
                f"the label image again"
            )
        broken = pixels[pixels != np.floor(pixels)]
        if broken.size:
            raise InputError(
                f"{path.name}: label values must be whole numbers, found fractions such as "
                f"{broken[0]:.4g}; threshold probabilities yourself, and save the label image"
            )
    # numbers of Python: a float32 that is compared with the largest int32 rounds it up
    low, high = (pixels.min().item(), pixels.max().item()) if pixels.size else (0, 0)
    if pixels.dtype.kind == "f":
        exact = 2 ** (np.finfo(pixels.dtype).nmant + 1)
        if exact <= high <= _LARGEST:
            raise InputError(
                f"{path.name}: holds label values up to {high:.0f} as {pixels.dtype}, "
                f"which tells no neighbours apart from {exact} on; save them as whole numbers"
            )
    if low < 0 or high > _LARGEST:
        advice = "save background as 0" if low < 0 else "number the objects anew"
        raise InputError(
            f"{path.name}: label values must lie in 0..{_LARGEST}, found {low}..{high}; {advice}"
        )
    return pixels.astype(np.int32) if pixels.dtype.kind == "f" else pixels


def _merge_segments(
    path: Path, layers: Sequence[np.ndarray], segments: Sequence[Segment]
) -> np.ndarray:
    """Return one label image of the described segments of several layers."""
    known: dict[int, dict[int, int]] = {number: {} for number in range(len(layers))}
    for one in segments:
        known[one.layer][one.value] = one.merged if one.value else 0

    def merged() -> Iterator[np.ndarray]:
        for number, layer in enumerate(layers):
            found = np.unique(layer)
            values = known[number]
            if unnamed := sorted(set(found.tolist()) - set(values) - {0}):
                raise InputError(
                    f"{path.name}: layer {number} holds the values {listed(unnamed)}, which no "
                    f"segment is said to have; export the segmentation again"
                )
            table = np.array([values.get(value, 0) for value in found.tolist()], np.int32)
            yield table[np.searchsorted(found, layer)]

    return _merge(path, merged(), {one.merged: one.name for one in segments})


def _merge_layers(path: Path, layers: Sequence[np.ndarray]) -> np.ndarray:
    """Return one label image of layers without names.

    Layers of ones are numbered from 1. If every pixel is in exactly one, the first is background.
    Layers of different values keep these.
    """
    values = [set(np.unique(layer).tolist()) - {0} for layer in layers]
    if all(found <= {1} for found in values) or all(found <= {255} for found in values):
        if (np.sum([layer > 0 for layer in layers], axis=0) == 1).all():
            layers = layers[1:]
        numbered = ((layer > 0) * np.int32(n) for n, layer in enumerate(layers, start=1))
        return _merge(path, numbered, {n: f"layer {n}" for n in range(1, len(layers) + 1)})
    if sum(map(len, values)) > len(set().union(*values)):
        if len(layers) == 3:
            raise coloured(path, np.stack(layers, axis=-1))
        raise InputError(
            f"{path.name}: {len(layers)} layers hold the same values and no names, so it is not "
            f"clear what they are; save one label image, or a .seg.nrrd, which names its segments"
        )
    names = {value: f"value {value}" for found in values for value in found}
    return _merge(path, (layer.astype(np.int32) for layer in layers), names)


def _merge(path: Path, layers: Iterator[np.ndarray], names: Mapping[int, str]) -> np.ndarray:
    """Return one label image of layers, int32 with the values that it shall have.

    Args:
        names: of the values, for errors.

    Raises:
        InputError: two layers overlap.
    """
    label = next(layers)
    for layer in layers:
        both = (label != 0) & (layer != 0)
        if both.any():
            other, value = (int(one[both][0]) for one in (label, layer))
            count = np.count_nonzero((label == other) & (layer == value))
            raise InputError(
                f"{path.name}: '{names[other]}' and '{names[value]}' overlap in {count} pixels, "
                f"but a label image holds one structure for each pixel; draw them apart"
            )
        label += layer
    return label
