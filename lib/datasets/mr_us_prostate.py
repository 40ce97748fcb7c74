"""Volumes of transrectal ultrasound with the prostate: the fixed images of MR-to-ultrasound pairs.

The set goes with Hu et al., "Weakly-supervised convolutional neural networks for multimodal image
registration", Medical Image Analysis 49:1-13, 2018; its authors publish it as examples: the branch
``mrus`` of github.com/YipengHu/example-data, 108 pairs resampled to 1.5 mm. It states no licence.
``fixed_images/NAME.nii.gz`` is a volume, ``fixed_labels/NAME.nii.gz`` holds a mask of the prostate
and, after it, of landmarks, along a fourth axis. It names no patients, and volumes of one follow
each other; the importer groups those that look alike.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from lib.data.studies import FINAL_LABELS
from lib.datasets.alike import group_alike
from lib.datasets.duplicates import signature
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.files import copy_atomically
from lib.image import Image
from lib.io.masks import write_mask
from lib.io.read import read_image

IMAGES, LABELS, END = "fixed_images", "fixed_labels", ".nii.gz"
# From here up are 26 of the 107 pairs of neighbours, which look like one patient's, and 23 of 5,565
# pairs further apart, some of them only alike: a split that keeps these together too loses little.
SAME_PATIENT = 0.7


def import_mr_us_prostate(
    source: Path, studies: Path, on_item: OnItem | None = None
) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    The ultrasound volumes are copied as they are; the label is the prostate, 1. Volumes without a
    mask file have none. ``groups.csv`` lists the group of each volume.

    The report's figures are `labelled` and `groups`: how many groups a split keeps together.

    Raises:
        InputError: another layout, or a mask that is not on the grid of its image.
    """
    check_folder(source, "a checkout of the branch mrus")
    images = sorted((source / IMAGES).glob(f"*{END}"))
    if not images:
        raise InputError(
            f"'{source}' has no volumes {IMAGES}/NAME{END}; expected them beside "
            f"{LABELS}/NAME{END}; give a checkout of the branch mrus of the data set"
        )
    (studies / FINAL_LABELS).mkdir(parents=True, exist_ok=True)
    ids, signatures, labelled = [], [], 0
    for path in counted(images, on_item):
        id, image = path.name.removesuffix(END), read_image(path, spatial_dims=3)
        file = source / LABELS / path.name
        if file.is_file():
            mask = _prostate(file, image)
            write_mask(studies / FINAL_LABELS / path.name, mask, image.geometry)
            labelled += 1
        copy_atomically(path, studies / path.name)
        ids.append(id)
        signatures.append(signature(image.pixels[:, image.pixels.shape[1] // 2]))
    groups, pairs = group_alike(studies, ids, signatures, threshold=SAME_PATIENT)
    return ImportReport(
        images=len(ids),
        lines=(
            f"{len(ids)} volumes imported into {studies}, {labelled} with the prostate",
            f"{pairs} pairs of volumes look alike, in duplicates.csv: {groups} groups to split",
        ),
        figures={"labelled": labelled, "groups": groups},
    )


def _prostate(file: Path, image: Image) -> np.ndarray:
    """Return the first mask of a file, uint8 `(slices, rows, columns)`.

    Raises:
        InputError: it cannot be read, or is on another grid than the image.
    """
    try:
        stored = nibabel.load(file)
        masks = np.asarray(stored.dataobj[..., 0] if stored.ndim == 4 else stored.dataobj)
    except Exception as error:  # nibabel, zlib and the file each raise errors of their own
        raise InputError(f"{file.name}: no readable mask ({str(error)[:100]})") from None
    mask = masks.transpose() > 0.5
    spacing = tuple(float(size) for size in stored.header.get_zooms()[:3])
    if mask.shape != image.pixels.shape or not np.allclose(spacing, image.geometry.spacing):
        raise InputError(
            f"{file.name}: {masks.shape} voxels of {spacing} mm, expected the grid of its image, "
            f"{image.geometry.size} of {image.geometry.spacing} mm"
        )
    return mask.astype(np.uint8)
