"""The data set layout of nnU-Net (version 2), in and out.

``dataset.json`` names channels, labels and the file type; ``imagesTr/CASE_0000.EXT`` is the first
channel of a case, ``labelsTr/CASE.EXT`` its label, ``imagesTs`` images without labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.ignore import IGNORE, IGNORE_NAME
from lib.data.labels import read_item_label
from lib.data.studies import FINAL_LABELS, Item, read_item
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError, choose, shown
from lib.files import copy_atomically, is_text, read_object, write_json
from lib.image import Geometry, Image
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.pictures import save_picture
from lib.io.read import extension, image_extensions, image_geometry
from lib.io.volumes import whole_file, write_volume
from lib.tasks.spec import TaskSpec

TABLE = "dataset.json"
PICTURE, VOLUME = ".png", ".nii.gz"


def import_nnunet(
    source: Path, studies: Path, on_item: OnItem | None = None, *, channel: str = ""
) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Image files are copied as they are, in one channel; labels become NRRD that keeps the names of
    the values. What the set ignores becomes "ignore".

    Args:
        channel: name or number, as ``dataset.json`` has them; may be left out where there is one.
    """
    check_folder(source)
    table = read_object(source / TABLE)
    ending, labels = table.get("file_ending"), table.get("labels")
    channels = table.get("channel_names")
    if not isinstance(channels, dict) or not isinstance(labels, dict) or not channels:
        raise InputError(
            f"'{source}' is no data set of nnU-Net: expected {TABLE} with channel_names, labels "
            f"and file_ending, imagesTr/ and labelsTr/"
        )
    if not isinstance(ending, str) or ending not in image_extensions():
        raise InputError(
            f"{TABLE}: file_ending is {shown(ending)}, expected one of "
            f"{', '.join(image_extensions())}"
        )
    number = _number(channels, channel)
    names = _names(labels)
    cases = _cases(source / "imagesTr", number, ending) + _cases(
        source / "imagesTs", number, ending
    )
    if not cases:
        raise InputError(
            f"no image imagesTr/CASE_{number:04d}{ending} in '{source}'; is it the raw data set?"
        )
    folder = studies / FINAL_LABELS
    folder.mkdir(parents=True, exist_ok=True)
    labelled = 0
    for case, image in counted(cases, on_item):
        file = source / "labelsTr" / f"{case}{ending}"
        if file.is_file():
            grid = image_geometry(image)
            label = read_label(file, grid)
            if IGNORE_NAME in labels:
                label = np.where(label == labels[IGNORE_NAME], IGNORE, label)
            write_mask(folder / f"{case}.nrrd", label, grid, names=names)
            labelled += 1
        copy_atomically(image, studies / f"{case}{extension(image)}")
    shown_names = ", ".join(f"{name} = {value}" for name, value in names)
    return ImportReport(
        images=len(cases),
        lines=(
            f"{len(cases)} images imported into {studies}, {labelled} with labels: {shown_names}",
        ),
        figures={"labelled": labelled, "labels": dict(names)},
    )


def _number(channels: dict[str, Any], asked: str) -> int:
    """Return the number of the channel that was asked for, or of the only one.

    Raises:
        InputError: there are several and none was asked for, or no such.
    """
    if set(channels) != {str(number) for number in range(len(channels))}:
        raise InputError(
            f"{TABLE}: channel_names has {shown(list(channels))}, expected numbers from 0 on"
        )
    numbers = {str(name): int(number) for number, name in channels.items()}
    numbers |= {number: int(number) for number in channels}
    colours = [str(channels[n]).upper() for n in sorted(channels, key=int)] == ["R", "G", "B"]
    if not asked and len(channels) > 1 and not colours:
        raise InputError(
            f"the set has the channels {', '.join(map(str, channels.values()))}, a model takes "
            f"one; choose it with --channel"
        )
    return choose("channel", asked or "0", numbers)


def _names(labels: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the names of the values of labels; regions, which are lists of values, are left out.

    Raises:
        InputError: a value is no number, or all are regions.
    """
    found = []
    for name, value in labels.items():
        if isinstance(value, list) or value == 0:
            continue
        if type(value) is not int or not 0 < value < IGNORE or not is_text(name) or not name:
            raise InputError(
                f"{TABLE}: label '{shown(name)}' is {shown(value)}, expected a number from 1 on"
            )
        found.append((name, IGNORE if name == IGNORE_NAME else value))
    if not found:
        raise InputError(
            f"{TABLE}: labels has no structure with a value of its own, only {shown(labels)}"
        )
    return tuple(found)


def _cases(folder: Path, number: int, ending: str) -> list[tuple[str, Path]]:
    """Return the name of each case of a folder and the file of one channel; none without it."""
    end = f"_{number:04d}{ending}"
    if not folder.is_dir():
        return []
    files = sorted(file for file in folder.iterdir() if file.name.endswith(end))
    return [(file.name.removesuffix(end), file) for file in files]


def export_nnunet(
    items: Sequence[Item], task: TaskSpec, folder: Path, on_item: OnItem | None = None
) -> list[str]:
    """Write labelled images as a data set of nnU-Net; see `lib.datasets.exporters.Exporter.run`.

    2D images of 8 bit become PNG, with red, green and blue as channels if any is in colour; if one
    is of more bits, or a volume, all become NIfTI, in grey. Structures are numbered from 1 on in
    the order of the task's labels; objects of one structure have the same value.
    """
    images = [read_item(item, task) for item in items]
    small = all(one.spatial_dims == 2 and one.pixels.dtype == np.uint8 for one in images)
    colour = small and any(one.colour for one in images)
    ending = PICTURE if small else VOLUME
    values = {value: number for number, value in enumerate(task.labels.values(), start=1)}
    ignored = len(values) + 1
    any_ignored = False
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for item, image in counted(list(zip(items, images, strict=True)), on_item):
        label = read_item_label(item, image, task)
        table = np.zeros(label.shape, np.uint8)
        single = len(task.labels) == 1
        for value, number in values.items():
            table[(label > 0) & (label != IGNORE) if single else label == value] = number
        table[label == IGNORE] = ignored
        any_ignored |= bool((label == IGNORE).any())
        _write_image(folder / "imagesTr" / f"{item.id}_0000{ending}", image, colour)
        write_mask(folder / "labelsTr" / f"{item.id}{ending}", table, image.geometry)
    names: dict[str, int] = {"background": 0}
    names |= {name: values[value] for name, value in task.labels.items()}
    if any_ignored:
        names["ignore"] = ignored
    channels = ("R", "G", "B") if colour else ("grey",)
    write_json(
        folder / TABLE,
        {
            "channel_names": {str(n): name for n, name in enumerate(channels)},
            "labels": names,
            "numTraining": len(items),
            "file_ending": ending,
        },
    )
    return [f"{len(items)} images as {ending} in {folder}, labels {', '.join(names)}"]


def _write_image(path: Path, image: Image, colour: bool) -> None:
    from lib.datasets.stacks import grey

    if path.name.endswith(PICTURE):
        pixels = image.pixels
        if colour and not image.colour:
            pixels = np.stack([pixels] * 3, axis=-1)
        save_picture(path, pixels)
        return
    pixels = grey(image.pixels) if image.colour else image.pixels
    geometry: Geometry = image.geometry
    with whole_file(path) as partial:
        write_volume(partial, pixels, geometry)
