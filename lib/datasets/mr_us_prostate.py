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
from lib.io.masks import write_mask
from lib.io.nifti import check_nifti_header, check_pixels
from lib.io.read import read_image

IMAGES, LABELS, END = "fixed_images", "fixed_labels", ".nii.gz"
# From here up are 26 of the 107 pairs of neighbours, which look like one patient's, and 23 of 5,565
# pairs further apart, some of them only alike: a split that keeps these together too loses little.
SAME_PATIENT = 0.7
OFF_GRID = 0.01  # mm by which rows of two affines may differ


def import_mr_us_prostate(
    source: Path, studies: Path, on_item: OnItem | None = None
) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    The ultrasound volumes are copied as they are; the label is the prostate, 1. Volumes without a
    mask file have none. ``groups.csv`` lists the group of each volume.

    The report's figures are `labelled` and `groups`: how many groups a split keeps together.

    Raises:
        InputError: another layout, no mask at all, or one that is not of its volume.
    """
    check_folder(source, "a checkout of the branch mrus")
    images = sorted((source / IMAGES).glob(f"*{END}"))
    if not images:
        raise InputError(
            f"'{source}' has no volumes {IMAGES}/NAME{END}; expected them beside "
            f"{LABELS}/NAME{END}; give a checkout of the branch mrus of the data set"
        )
    masks = {file.name for file in (source / LABELS).glob(f"*{END}")}
    named = {path.name for path in images}
    if not masks & named:
        raise InputError(
            f"'{source}' has no mask {LABELS}/NAME{END} for any of its {len(images)} volumes, such "
            f"as {images[0].name}; give a checkout of the branch mrus of the data set"
        )
    (studies / FINAL_LABELS).mkdir(parents=True, exist_ok=True)
    ids, signatures, labelled = [], [], 0
    for path in counted(images, on_item):
        id, image = path.name.removesuffix(END), read_image(path, spatial_dims=3)
        file = source / LABELS / path.name
        if file.is_file():
            mask = _prostate(file, path)
            write_mask(studies / FINAL_LABELS / path.name, mask, image.geometry)
            labelled += 1
        copy_atomically(path, studies / path.name)
        ids.append(id)
        signatures.append(signature(image.pixels[:, image.pixels.shape[1] // 2]))
    groups, pairs = group_alike(studies, ids, signatures, threshold=SAME_PATIENT)
    return ImportReport(
        images=len(ids),
        lines=(
            f"{len(ids)} volumes imported into {studies}, {labelled} with the prostate; "
            f"masks without a volume: {len(masks - named)}",
            f"{pairs} pairs of volumes look alike, in duplicates.csv: {groups} groups to split",
        ),
        figures={"labelled": labelled, "groups": groups},
    )


def _prostate(file: Path, volume: Path) -> np.ndarray:
    """Return the first mask of a file, uint8 `(slices, rows, columns)`.

    Raises:
        InputError: it cannot be read, is on another grid than its volume, holds other values than
            0 and 1, or no prostate.
    """
    try:
        stored, image = nibabel.load(file), nibabel.load(volume)
        shape, grid, affine = stored.shape[:3], image.shape[:3], stored.affine
        if shape != grid or not np.allclose(affine, image.affine, rtol=0, atol=OFF_GRID):
            raise InputError(
                f"{file.name}: a mask of {_placed(shape, affine)}, expected the grid of its "
                f"volume, {_placed(grid, image.affine)}"
            )
        check_nifti_header(file)
        check_pixels(file)
        mask = np.asarray(stored.dataobj[..., 0] if stored.ndim == 4 else stored.dataobj)
    except InputError:
        raise
    except Exception as error:  # nibabel, zlib and the file each raise errors of their own
        raise InputError(f"{file.name}: no readable mask ({str(error)[:100]})") from None
    values = np.unique(mask) if mask.dtype.kind in "biuf" else np.array(["colours"])
    if values.tolist() != [0, 1]:
        found = ", ".join(str(value) for value in values[:5].tolist())
        raise InputError(
            f"{file.name}: the first mask holds {found}; expected 0, and 1 for the prostate"
        )
    return mask.transpose().astype(np.uint8)


def _placed(shape: tuple[int, ...], affine: np.ndarray) -> str:
    rows = ", ".join(" ".join(f"{number:g}" for number in row) for row in affine[:3].round(3))
    return f"{'x'.join(map(str, shape))} voxels at [{rows}]"
