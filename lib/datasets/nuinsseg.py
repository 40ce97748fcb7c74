"""NuInsSeg: nuclei of human and mouse organs, stained with haematoxylin and eosin.

Mahbod et al. 2024, doi 10.1038/s41597-024-03117-2, CC BY 4.0: 665 tiles of 512x512 pixels of 31
organs. Copies of the set may hold masks in place of numbered nuclei, so that those that touch are
one; such masks are parted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lib.data.groups import Grouped, write_groups
from lib.data.write_item import write_item
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import extension, image_size, stem
from lib.segmentation.instances import separate
from lib.tasks.image_spec import OutputSpec

IMAGES, LABELS = "tissue images", "label masks"  # of an organ's folder, as published
BLOCK = 19  # neighbours in name order that are kept together; an organ has some 20 tiles
# How nuclei that touch are parted in a mask. The depth was chosen so that the number of nuclei is
# the published one.
PARTING = OutputSpec(instances=True, separation="shape", smoothing=0.5, depth=0.4)


@dataclass(frozen=True)
class Tile:
    """One image of the set.

    Attributes:
        label: numbered nuclei, or a mask; None where there is neither.
        group: what a split must not separate.
        published: whether the label is the published one, whose nuclei are numbered.
    """

    id: str
    image: Path
    label: Path | None
    group: str
    published: bool


def find_tiles(folder: Path) -> list[Tile]:
    """Return the tiles of the set below `folder`, sorted by organ and name.

    Two layouts are accepted: as published, ``ORGAN/tissue images/NAME.png`` with ``ORGAN/label
    masks/NAME.tif``, where the tiles of an organ are a group; and flat, ``images/`` with one mask
    or label image each in ``masks/``, where `BLOCK` neighbours in name order are one.

    Raises:
        InputError: the folder does not exist or has neither layout.
    """
    check_folder(folder)
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        images = _by_stem(folder / "images")
        masks = _by_stem(folder / "masks")
        tiles = [
            Tile(
                f"nuinsseg_{name}",
                file,
                masks.get(name),
                f"nuinsseg_block_{_block(name, place)}",
                False,
            )
            for place, (name, file) in enumerate(images.items())
        ]
    else:
        tiles = [
            Tile(f"nuinsseg_{name}", file, labels.get(name), f"nuinsseg_{organ.name}", True)
            for organ in sorted(path for path in folder.iterdir() if path.is_dir())
            for labels in [_by_stem(organ / LABELS)]
            for name, file in _by_stem(organ / IMAGES).items()
        ]
    if not tiles:
        raise InputError(
            f"'{folder}' is not NuInsSeg: expected ORGAN/{IMAGES}/NAME.png with "
            f"ORGAN/{LABELS}/NAME.tif, or folders images/ and masks/"
        )
    return tiles


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by their names without extension, sorted; {} for none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {stem(file): file for file in files if extension(file)}


def _block(name: str, place: int) -> int:
    """Return the block of neighbours of a tile, by the number in its name, else by its place."""
    return (int(name) - 1 if name.isdecimal() else place) // BLOCK


def numbered(tile: Tile) -> np.ndarray | None:
    """Return the nuclei of a tile, int32 `(rows, columns)`, numbered from 1; None without a label.

    A label with one value only is a mask; it is parted as `PARTING` says.

    Raises:
        InputError: the label is unreadable or of another size than the image.
    """
    if tile.label is None:
        return None
    label = read_label(tile.label, image_size(tile.image)[::-1])
    if tile.published or np.unique(label[label > 0]).size != 1:
        return label
    return separate(label > 0, PARTING)


def import_nuinsseg(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Image files are copied as they are; labels become 16-bit PNG of numbered nuclei; ``groups.csv``
    keeps neighbours together in a split. Ids begin with ``nuinsseg_``, so that the set may share a
    studies folder with others.

    The report's figures are `nuclei`, and `components`: how many there are if those that touch
    count as one.
    """
    tiles = find_tiles(source)
    nuclei = components = 0
    for tile in counted(tiles, on_item):
        label = numbered(tile)
        if label is not None:
            nuclei += np.unique(label[label > 0]).size
            components += int(ndimage.label(label > 0)[1])
        write_item(studies, tile.id, tile.image, label)
    write_groups(studies, (Grouped(tile.id, tile.group) for tile in tiles))
    groups = len({tile.group for tile in tiles})
    return ImportReport(
        images=len(tiles),
        lines=(
            f"{len(tiles)} images in {groups} groups imported into {studies}",
            f"{nuclei} nuclei; {components} where those that touch count as one",
        ),
        figures={"nuclei": nuclei, "components": components},
    )
