"""Labelled images in a folder: MONAI Label's local layout, or plain images/ and labels/."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.data.groups import read_groups
from lib.data.label_folder import read_label_folder
from lib.data.label_names import Told
from lib.data.label_records import labelled_channel, told_in
from lib.errors import InputError
from lib.files import fingerprint, is_text
from lib.image import Image, is_zarr_folder
from lib.io.read import default_channel, extension, image_size, read_image, stem
from lib.isolation.calls import read_ahead
from lib.tasks.spec import TaskSpec

FINAL_LABELS = Path("labels") / "final"
INDEX = "datastore_v2.json"  # of MONAI Label's local datastore
LEAST_ITEMS = 2  # that can be trained on: one is held out


@dataclass(frozen=True)
class Item:
    """One image and its accepted label, None where there is none yet.

    Attributes:
        id: the file name without extension.
        group: names a patient, or images that show the same, by ``groups.csv`` of the folder; a
            split never separates them. Empty where the image stands alone.
        channel: that was asked for, else that of ``channels.csv`` (empty here), else that which the
            label was drawn on.
        told: names of the structures in the label, by the index of the server.
    """

    id: str
    image: Path
    label: Path | None = None
    group: str = ""
    channel: str = ""
    told: tuple[Told, ...] = ()

    @property
    def key(self) -> str:
        """What a split goes by: the group, or the id where there is no group."""
        return self.group or self.id

    @property
    def label_name(self) -> str:
        """Name of the label's file, for messages; the id where there is none."""
        return self.label.name if self.label else self.id

    @property
    def sample(self) -> str:
        """Id of what is labelled at once: the image."""
        return self.id


def fingerprint_of(items: Iterable[Item]) -> str:
    """Return a fingerprint of the images and labels of `items`, and of the channels chosen."""
    items = list(items)
    files = fingerprint([path for item in items for path in (item.image, item.label) if path])
    channels = [(item.id, item.channel or default_channel(item.image)) for item in items]
    chosen = sorted(pair for pair in channels if pair[1])
    if not chosen:
        return files
    return hashlib.sha256(f"{files} {chosen}".encode()).hexdigest()[:16]


def read_item(item: Item, task: TaskSpec) -> Image:
    """Read the image of `item` as `task` takes it, in the channel chosen for it.

    Raises:
        InputError: see `lib.io.read.read_image`.
    """
    return read_image(item.image, task.input.max_pixels, task.image_dims, item.channel)


def list_items(studies: str | Path, labelled: bool = False) -> list[Item]:
    """Return the images of a studies folder, sorted by id.

    Two layouts are accepted: images at the top with labels in ``labels/final`` (MONAI Label), and
    ``images/`` beside ``labels/``. A label belongs to the image whose id is its stem; see
    `image_ids`. Of several the one counts that `lib.data.label_folder` tells.

    Args:
        labelled: whether to return only the images with a label.

    Raises:
        InputError: no such folder, or no such image in it.
    """
    studies = Path(studies)
    if not studies.is_dir():
        raise InputError(f"studies folder '{studies}' does not exist; give a folder of images")
    image_folder, label_folder, index = _layout(studies)
    names = [file.name for file in _files(image_folder)]
    ids = image_ids(names, _listed(index))
    folder = read_label_folder(label_folder, _recorded(index))
    labels = folder.files
    groups = group_of(studies)
    items = [
        Item(
            ids[name],
            image_folder / name,
            labels.get(ids[name]),
            groups.get(ids[name], ""),
            channel=_drawn_in(_record(index.get(ids[name])), image_folder / name),
            told=told_in(_record(index.get(ids[name]))),
        )
        for name in names
        if ids[name] in labels or not labelled
    ]
    if not items:
        what = "labelled images" if labelled else "images"
        raise InputError(
            f"no {what} in '{studies}': expected images at its top and labels in "
            f"{FINAL_LABELS.as_posix()}/, or folders images/ and labels/, with equal names"
            + "".join(f"; {one}" for one in folder.sentences(ids.values()) if labelled)
        )
    return items


def labels_passed_over(studies: Path) -> list[str]:
    """Return what among the labels of a studies folder counts for nothing, a sentence each."""
    image_folder, label_folder, index = _layout(studies)
    ids = image_ids([file.name for file in _files(image_folder)], _listed(index))
    return read_label_folder(label_folder, _recorded(index)).sentences(ids.values())


def group_of(studies: Path) -> dict[str, str]:
    """Return the group of each image that ``groups.csv`` of the folder names."""
    return {row.id: row.group for row in read_groups(studies)}


def volumes_only(items: Sequence[Item], dims: int | None) -> list[Item]:
    """Return the items for a task on images of `dims` dimensions: the volumes if 3, else all.

    Raises:
        InputError: there is no volume, or a file cannot be read.
    """
    if dims != 3:
        return list(items)
    read_ahead(image_size, [(item.image,) for item in items])
    found = [item for item in items if len(image_size(item.image)) == 3]
    if not found:
        raise InputError(
            f"no volume among {len(items)} images; expected NRRD, NIfTI, MetaImage, TIFF stacks or "
            f"multi-frame DICOM; choose a 2D task, or join slices with `import stack`"
        )
    return found


def image_ids(files: Iterable[str], listed: Mapping[str, str]) -> dict[str, str]:
    """Return the id of each image file: its stem, or its whole name where the stem is shared.

    Labels are stored by id, so an id must never come to mean another file. Therefore files keep the
    id that they have in `listed`, and if several new files share a stem, none of them gets it.

    Args:
        files: names of all image files of a folder.
        listed: file name to id, from the server's index.
    """
    files = sorted(files)
    shared = Counter(stem(file) for file in files)
    taken = set(listed.values())
    return {
        file: listed.get(file)
        or (file if shared[stem(file)] > 1 or stem(file) in taken else stem(file))
        for file in files
    }


def _layout(studies: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Return the folders of the images and of the labels, and the entries of the index by id."""
    if (studies / "images").is_dir() and (studies / "labels").is_dir():
        return studies / "images", studies / "labels", {}
    return studies, studies / FINAL_LABELS, _objects(studies / INDEX)


def _recorded(index: Mapping[str, Any]) -> dict[str, str]:
    """Return the file of the accepted label of each image that the server's index tells."""
    found = {}
    for id, entry in index.items():
        with suppress(KeyError, TypeError):
            found[id] = f"{id}{entry['labels'][FINAL_LABELS.name]['ext']}"
    return found


def _objects(index: Path) -> dict[str, Any]:
    """Return the entries of the server's index, by id; none if there is no readable one."""
    try:
        objects = json.loads(index.read_bytes())["objects"]
        return objects if isinstance(objects, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _listed(index: Mapping[str, Any]) -> dict[str, str]:
    """Return the files and ids in the server's index."""
    try:
        return {id + entry["image"]["ext"]: id for id, entry in index.items()}
    except (KeyError, TypeError):
        return {}


def _record(entry: Any) -> Mapping[str, Any]:
    """Return what the server's index tells of the accepted label of an image; {} for nothing."""
    try:
        return dict(entry["labels"][FINAL_LABELS.name]["info"])
    except (KeyError, TypeError, ValueError):
        return {}


def _drawn_in(record: Mapping[str, Any], image: Path) -> str:
    """Return the channel that a label was drawn on, where ``channels.csv`` chooses none."""
    found = labelled_channel(record)
    return found if found and not default_channel(image) else ""


def in_validation(id: str, val_split: float) -> bool:
    """Tell whether the item is held out: whether the hash of its id, in 0..1, is below the split.

    The answer depends on the id alone, so it never changes as labels arrive.
    """
    return _hash(id) < val_split


def split_items(
    items: Sequence[Item], val_split: float, salt: str = ""
) -> tuple[list[Item], list[Item]]:
    """Split into training and validation items by the hash of their keys: group, or id.

    If none falls into the validation share (few labels), the key with the smallest hash is held
    out. Only a new item can have a smaller hash later, so an image that was trained on never
    becomes a validation case.

    Args:
        val_split: share of the keys that is held out, 0..1.
        salt: put before each key; another salt gives another split.

    Raises:
        InputError: fewer than two items, or `val_split` outside 0..1.
    """
    if not 0 < val_split < 1:
        raise InputError(f"val_split must lie between 0 and 1, found {val_split}; 0.2 is usual")
    if len(items) < LEAST_ITEMS:
        raise InputError(
            f"training needs at least {LEAST_ITEMS} labelled images (one is kept for "
            f"validation), found {len(items)}; label more images and save them as final"
        )
    keys = {item.key for item in items}
    held = {key for key in keys if in_validation(salt + key, val_split)}
    held = held or {min(keys, key=lambda key: _hash(salt + key))}
    validation = [item for item in items if item.key in held]
    training = [item for item in items if item.key not in held]
    if not training:
        raise InputError(
            f"all {len(items)} labelled images fall into the validation split of {val_split}; "
            f"label more images"
        )
    return training, validation


def _hash(id: str) -> float:
    """Return a hash of `id` in 0..1, evenly distributed."""
    digest = hashlib.blake2b(id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if extension(file)
        and not file.name.startswith(".")
        and is_text(file.name)
        and not is_zarr_folder(file)
    )
