"""Stacks of 2D slices as one volume."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.data.studies import FINAL_LABELS, Item, list_items
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.image import LUMINANCE
from lib.io.labels import read_label
from lib.io.read import extension, image_extensions, image_geometry, read_image
from lib.io.volumes import save_volume

SLICES = "a folder of 2D slices"


def natural_key(path: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key by which ``s_2.png`` comes before ``s_10.png``."""
    words = re.split(r"(\d+)", Path(path).name.lower())
    return tuple((0, int(w), "") if w.isdecimal() else (1, 0, w) for w in words if w)


def list_slices(folder: Path) -> list[Path]:
    """Return the images in `folder` in natural order.

    Raises:
        InputError: no such folder, or no images in it.
    """
    check_folder(folder, SLICES)
    slices = [
        file for file in folder.iterdir() if extension(file) and not file.name.startswith(".")
    ]
    if not slices:
        raise InputError(
            f"no images in '{folder}': expected 2D slices of one volume, "
            f"{', '.join(image_extensions())}"
        )
    return sorted(slices, key=natural_key)


def stack_slices(files: Sequence[Path]) -> np.ndarray:
    """Return 2D images as one grey volume `(slices, rows, columns)`, in the order given.

    Colour becomes luminance; the pixel type is that of the files.

    Raises:
        InputError: no files, an unreadable one, or one whose size or type differs from the first.
    """
    if not files:
        raise InputError("no slices to stack; give at least one image")
    slices: list[np.ndarray] = []
    for file in files:
        pixels = grey(read_image(file).pixels)
        slices.append(pixels)
        if pixels.shape != slices[0].shape:
            raise InputError(
                f"{file.name}: {pixels.shape[0]} rows and {pixels.shape[1]} columns, the first "
                f"slice {files[0].name} has {slices[0].shape[0]} and {slices[0].shape[1]}; slices "
                f"of one volume have one size, put other images elsewhere"
            )
        if pixels.dtype != slices[0].dtype:
            raise InputError(
                f"{file.name}: values of type {pixels.dtype}, the first slice {files[0].name} has "
                f"{slices[0].dtype}; export all slices alike"
            )
    return np.stack(slices)


def stack_labels(items: Sequence[Item], shape: tuple[int, ...]) -> np.ndarray:
    """Return 2D label images as one volume `(slices, rows, columns)`, int32.

    Args:
        items: a slice each; one without a label is background.
        shape: rows and columns of each slice.
    """
    empty = np.zeros(shape, np.int32)
    return np.stack(
        [
            empty if item.label is None else read_label(item.label, image_geometry(item.image))
            for item in items
        ]
    )


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return `(rows, columns)` of grey or colour pixels, in their own type; colour as luminance."""
    if pixels.ndim == 2:
        return pixels
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    luminance = pixels[..., :3] @ LUMINANCE
    return (np.rint(luminance) if pixels.dtype.kind in "iu" else luminance).astype(pixels.dtype)


def import_stack(
    source: Path,
    studies: Path,
    on_item: OnItem | None = None,
    *,
    spacing: tuple[float, float, float],
) -> ImportReport:
    """Import slices as volumes: see `lib.datasets.importers.Importer.run`.

    `source` is one volume: 2D images at its top with labels in ``labels/final``, or ``images/``
    beside ``labels/``. Or each of its folders is one volume, named by the folder. A volume gets a
    label if at least one of its slices has one; its other slices are then background.

    Args:
        spacing: between slices, rows and columns, mm, above 0.
    """
    if not all(math.isfinite(step) and step > 0 for step in spacing):
        raise InputError(
            f"spacing of slices, rows and columns must be positive numbers of mm, found "
            f"{' '.join(map(str, spacing))}; 1.0 0.6 0.6 is an example"
        )
    folders = _volumes(source)
    labels = studies / FINAL_LABELS
    labels.mkdir(parents=True, exist_ok=True)
    for folder in counted(folders, on_item):
        items = sorted(list_items(folder), key=lambda item: natural_key(item.image))
        volume = stack_slices([item.image for item in items])
        name = f"{folder.resolve().name}.nrrd"
        if any(item.label for item in items):
            label = stack_labels(items, volume.shape[1:])
            small = label.astype(np.uint8 if label.max() < 256 else np.uint16)
            save_volume(labels / name, small, spacing)
        save_volume(studies / name, volume, spacing)
    count = len(folders)
    return ImportReport(images=count, lines=(f"{count} volumes imported into {studies}",))


def _volumes(source: Path) -> list[Path]:
    """Return the folders that hold one volume each: `source` itself or those in it."""
    check_folder(source, SLICES)
    if (source / "images").is_dir() or any(extension(file) for file in source.iterdir()):
        return [source]
    inner = sorted((path for path in source.iterdir() if path.is_dir()), key=natural_key)
    inner = [path for path in inner if not path.name.startswith(".")]
    if not inner:
        list_slices(source)  # says what is missing
    return inner
