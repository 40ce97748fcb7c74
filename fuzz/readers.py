"""The table of fuzz targets: a type of file, valid files of it, and how the app reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fuzz import seeds

READER_MAX_PIXELS = 1 << 24  # more than any valid seed has


@dataclass(frozen=True)
class Target:
    """One row: what is damaged, and what reads it.

    Attributes:
        suffix: ending of the file; a whole name where the app reads a file by its name.
        seeds: returns valid files, the same each time.
        read: reads the file at a path as the app does.
    """

    suffix: str
    seeds: seeds.Seeds
    read: Callable[[Path], object]


def _image(path: Path) -> None:
    """Read an image or volume in all ways that the app has, and check what came of it."""
    from lib.io.read import image_geometry, image_size, read_image

    size = image_size(path)
    geometry = image_geometry(path)
    image = read_image(path, READER_MAX_PIXELS, None)
    shape = image.pixels.shape[: len(image.geometry.size)]
    if len(shape) not in (2, 3) or not np.isfinite(image.pixels).all():
        raise AssertionError(f"read as {image.pixels.shape}")
    if shape != image.geometry.size[: len(shape)][::-1]:
        raise AssertionError(f"pixels {shape} on a grid of {image.geometry.size}")
    if geometry.size != image.geometry.size or len(size) > 4:
        raise AssertionError(f"header: {geometry.size}, {size}; pixels: {image.geometry.size}")


def _label(path: Path) -> None:
    """Read a file as label: alone, and on a grid like that of its own header."""
    from lib.errors import InputError
    from lib.io.labels import read_label
    from lib.io.layers import label_names
    from lib.io.read import image_geometry

    label_names(path)
    with suppress(InputError):
        read_label(path)
    geometry = image_geometry(path)
    label = read_label(path, geometry)
    if label.shape[-2:] != geometry.size[1::-1] or label.dtype != np.int32:
        raise AssertionError(f"label {label.shape} {label.dtype} on {geometry.size}")


def _dicom(path: Path) -> None:
    """Read a DICOM image as image, as part of an exam, and as what a segmentation refers to."""
    from lib.dicom.sources import read_sources
    from lib.errors import InputError
    from lib.mammography.exams import group_exams
    from lib.mammography.mammogram import read_mammogram

    group_exams([path])
    for read in (lambda file: read_sources([file]), read_mammogram):
        with suppress(InputError):  # not all images are for all of them
            read(path)
    _image(path)


def _series(path: Path) -> None:
    """Read a damaged slice beside a good one."""
    from lib.dicom.series import read_series

    other = path.with_name("other.dcm")
    if not other.exists():
        other.write_bytes(seeds.dicom_slices()[1])
    read_series([path, other], "series")


def _segmentation(path: Path) -> None:
    from lib.dicom.seg.read import read_seg, read_segments

    source = path.with_name("source.dcm")
    if not source.exists():
        source.write_bytes(seeds.dicom_source())
    read_segments(path)
    read_seg(path, [source], {"nuclei": 1, "edge": 2})


def _report(path: Path) -> None:
    from lib.mammography.report.read import read_density_report

    read_density_report(path)


def _density(path: Path) -> None:
    from lib.mammography.density_labels import read_density, read_scale

    read_density(path)
    read_scale(path)


def _channels(path: Path) -> None:
    from lib.io.channels import listed_channel

    listed_channel(path.with_name("a.png"), "a")


def _groups(path: Path) -> None:
    from lib.data.groups import read_groups

    read_groups(path.parent)


def _table(path: Path) -> None:
    from lib.datasets.importing import read_table

    read_table(path)


def _index(path: Path) -> None:
    """Open a folder whose index of images and labels is damaged."""
    from lib.data.studies import list_items

    (path.parent / "a.png").touch()
    list_items(path.parent)


def _users(path: Path) -> None:
    from monailabel_app.web.users import Users

    Users.read(path)


def _checkpoint(path: Path) -> None:
    from lib.weights.checkpoint import load_checkpoint, load_network

    load_network(seeds.small_task(), load_checkpoint(path))


def _version(path: Path) -> None:
    """Look at the versions of a model one of whose records is damaged."""
    from lib.files import read_object

    read_object(path)


def _prompts(path: Path) -> None:
    """Read the clicks, scribble boxes and parameters of a request."""
    from lib.errors import InputError
    from lib.interactive.prompts import read_box, read_points

    try:
        request = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{path.name}: not JSON") from None
    if isinstance(request, dict):
        read_points(request, (12, 10), ("lesion",))
        read_box(request, (12, 10))


TARGETS: dict[str, Target] = {
    "png": Target(".png", lambda: seeds.pictures(".png") + seeds.png_bombs(), _image),
    "jpeg": Target(".jpg", lambda: seeds.pictures(".jpg"), _image),
    "bmp": Target(".bmp", lambda: seeds.pictures(".bmp"), _image),
    "tiff": Target(".tif", seeds.tiffs, _image),
    "nrrd": Target(".nrrd", lambda: seeds.volumes(".nrrd"), _image),
    "nifti": Target(".nii", lambda: seeds.volumes(".nii"), _image),
    "nifti_gz": Target(".nii.gz", lambda: seeds.volumes(".nii.gz"), _image),
    "metaimage": Target(".mha", lambda: seeds.volumes(".mha"), _image),
    "dicom": Target(".dcm", seeds.dicom_images, _dicom),
    "dicom_series": Target(".dcm", seeds.dicom_slices, _series),
    "dicom_seg": Target(".dcm", seeds.dicom_segmentations, _segmentation),
    "dicom_sr": Target(".dcm", seeds.dicom_reports, _report),
    "label_png": Target(".png", lambda: seeds.pictures(".png"), _label),
    "label_tiff": Target(".tif", seeds.tiffs, _label),
    "label_nrrd": Target(
        ".seg.nrrd", lambda: seeds.segmentations_of_slicer() + seeds.volumes(".nrrd"), _label
    ),
    "label_nifti": Target(".nii.gz", lambda: seeds.volumes(".nii.gz"), _label),
    "density": Target(
        ".json", lambda: seeds.texts({"density": "C", "scale": "birads"}, {"density": 2}), _density
    ),
    "channels": Target(
        "channels.csv", lambda: seeds.texts("image,channel\na,2\nb,DAPI\n"), _channels
    ),
    "groups": Target("groups.csv", lambda: seeds.texts("id,group,class\na,p1,\nb,p2,\n"), _groups),
    "table": Target(".csv", lambda: seeds.texts("File Name;Bi-Rads\n20586908;3\n"), _table),
    "index": Target("datastore_v2.json", seeds.indexes, _index),
    "users": Target("users.json", seeds.users, _users),
    "checkpoint": Target(".pt", seeds.checkpoints, _checkpoint),
    "version": Target(
        ".json", lambda: seeds.texts({"time": "x", "metrics": {"dice": 1}}), _version
    ),
    "prompts": Target(".json", seeds.prompts, _prompts),
}
