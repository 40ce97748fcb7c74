"""Instances as COCO has them, in and out: polygons and run lengths.

Format: https://cocodataset.org/#format-data. Coordinates are pixels from the image's upper left
corner. Run lengths count down the columns, background first; compressed ones are texts of 5 bits a
sign. What pycocotools does with them is done here in numpy: its C code trusts the file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.draw import polygon

from lib.data.ignore import IGNORE
from lib.data.labels import read_item_label
from lib.data.studies import FINAL_LABELS, Item, read_item
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError, choose, shown
from lib.exports.outlines import outlines, polygons
from lib.files import copy_atomically, is_text, write_json
from lib.io.masks import write_mask
from lib.io.read import extension, image_geometry, stem
from lib.tasks.spec import TaskSpec

MAX_FILE = 1 << 30  # bytes
TABLE = "annotations.json"


def import_coco(
    source: Path,
    studies: Path,
    on_item: OnItem | None = None,
    *,
    table: Path | None = None,
    category: str = "",
) -> ImportReport:
    """Import the instances of images: see `lib.datasets.importers.Importer.run`.

    Objects of one category are numbered, a later one over an earlier; crowds are left out. With
    several categories, and none chosen, a label has the value of each category instead, by name.

    Args:
        table: the JSON; by default the only one in `source`, or in its ``annotations/``.
        category: name of the category to import alone.
    """
    check_folder(source)
    file = table or _only_table(source)
    content = read_table(file)
    categories = {one["id"]: one["name"] for one in content["categories"]}
    if category:
        kept = {choose("category", category, {n: i for i, n in categories.items()})}
        categories = {number: name for number, name in categories.items() if number in kept}
    values = {number: value for value, number in enumerate(sorted(categories), start=1)}
    by_image = defaultdict(list)
    for one in content["annotations"]:
        if one["category_id"] in values and not one.get("iscrowd"):
            by_image[one["image_id"]].append(one)
    folder = studies / FINAL_LABELS
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple((name, values[number]) for number, name in sorted(categories.items()))
    images = _images(source, content["images"])
    taken: dict[str, str] = {}
    objects = 0
    for entry, image in counted(images, on_item):
        id = stem(image)
        if id in taken:
            raise InputError(
                f"{entry['file_name']} and {taken[id]} have one name; rename one of them"
            )
        taken[id] = entry["file_name"]
        grid = image_geometry(image)
        if grid.size != (entry["width"], entry["height"]):
            raise InputError(
                f"{image.name}: {' x '.join(map(str, grid.size))} pixels, {file.name} says "
                f"{entry['width']} x {entry['height']}; give the images that were annotated"
            )
        label = np.zeros(grid.size[::-1], np.int32)
        for number, one in enumerate(by_image[entry["id"]], start=1):
            inside = mask_of(one["segmentation"], label.shape)
            label[inside] = number if len(values) == 1 else values[one["category_id"]]
            objects += 1
        copy_atomically(image, studies / f"{id}{extension(image)}")
        if len(values) == 1:
            write_mask(folder / f"{id}.png", label, grid)
        else:
            write_mask(folder / f"{id}.nrrd", label, grid, names=names)
    return ImportReport(
        images=len(images),
        lines=(
            f"{len(images)} images with {objects} objects imported into {studies}: "
            f"{', '.join(name for name, _ in names)}",
        ),
        figures={"objects": objects, "labels": dict(names)},
    )


def read_table(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return ``images``, ``annotations`` and ``categories`` of a COCO file, checked.

    Raises:
        InputError: no such file, no JSON, or an entry lacks a field or has another type of it.
    """
    try:
        if file.stat().st_size > MAX_FILE:
            raise InputError(f"{file.name}: more than {MAX_FILE} bytes; split it")
        content = json.loads(file.read_text(encoding="utf-8"))
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file.name}: no JSON that can be read ({shown(error)})") from None
    fields: dict[str, dict[str, type]] = {
        "images": {"id": int, "file_name": str, "width": int, "height": int},
        "annotations": {"image_id": int, "category_id": int, "segmentation": object},
        "categories": {"id": int, "name": str},
    }
    for part, needed in fields.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise InputError(
                f"{file.name}: expected COCO instances with a list {part}, found {shown(entries)}"
            )
        for number, entry in enumerate(entries):
            for name, type_ in needed.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(name), type_):
                    raise InputError(
                        f"{file.name}: {part}[{number}] needs {name}, a {type_.__name__}; found "
                        f"{shown(entry)}"
                    )
    for entry in content["categories"]:
        if not entry["name"] or not is_text(entry["name"]):
            raise InputError(f"{file.name}: category {entry['id']} has no name")
    return {part: content[part] for part in fields}


def mask_of(segmentation: object, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels, bool of `shape`, of polygons or run lengths.

    A pixel is inside a polygon if its centre is.

    Args:
        shape: rows and columns.

    Raises:
        InputError: neither polygons nor run lengths of this size.
    """
    if isinstance(segmentation, Mapping):
        return _decoded(segmentation, shape)
    mask = np.zeros(shape, bool)
    if not isinstance(segmentation, list):
        raise InputError(f"segmentation: expected polygons or counts, found {shown(segmentation)}")
    for ring in segmentation:
        try:
            points = np.asarray(ring, np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            points = np.zeros((0, 2))
        if len(points) < 3 or not np.isfinite(points).all():
            raise InputError(f"segmentation: expected x, y of three points, found {shown(ring)}")
        # pixel centres lie at half numbers
        x, y = (points - 0.5).T
        mask[polygon(y, x, shape)] = True
    return mask


def _decoded(runs: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    counts = runs.get("counts")
    if list(runs.get("size") or ()) != list(shape):
        raise InputError(f"run lengths of size {shown(runs.get('size'))}, expected {list(shape)}")
    if isinstance(counts, str):
        counts = _uncompressed(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise InputError(f"run lengths: expected numbers from 0 on, found {shown(counts)}")
    if sum(counts) != shape[0] * shape[1]:
        raise InputError(
            f"run lengths cover {sum(counts)} pixels, the image has {shape[0] * shape[1]}"
        )
    value = np.arange(len(counts)) % 2 == 1
    return np.repeat(value, counts).reshape(shape, order="F")


def _uncompressed(text: str) -> list[int]:
    """Return the numbers of a text: groups of 5 bits, steps from the fourth on."""
    counts: list[int] = []
    number = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f"run lengths: '{shown(sign)}' is no sign of compressed counts")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    return counts


def _only_table(source: Path) -> Path:
    for folder in (source, source / "annotations"):
        found = sorted(folder.glob("*.json"))
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{len(found)} JSON files in '{folder}', {found[0].name} first; choose one with "
                f"--table"
            )
    raise InputError(f"no JSON in '{source}' or its annotations/; give COCO instances by --table")


def _images(source: Path, entries: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Path]]:
    """Return each entry with its file, which lies in `source`, or in a folder of it.

    Raises:
        InputError: there is no such file, or its name leads out of `source`.
    """
    found = []
    for entry in entries:
        name = Path(entry["file_name"])
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"file_name '{shown(name)}' leads out of the folder; name it in it")
        options = [source / name, source / "images" / name, *sorted(source.glob("*"))]
        options = [one if one.name == name.name else one / name for one in options]
        file = next((one for one in options if one.is_file() and extension(one)), None)
        if file is None:
            raise InputError(f"image '{shown(name)}' is not in '{source}'; copy it there")
        found.append((entry, file))
    return found


def export_coco(
    items: Sequence[Item], task: TaskSpec, folder: Path, on_item: OnItem | None = None
) -> list[str]:
    """Write 2D images with their objects as COCO instances.

    See `lib.datasets.exporters.Exporter.run`. An object whose outline has no holes is polygons;
    one with holes is run lengths, as COCO's polygons have none. In tasks of several structures each
    structure of an image is one object.
    """
    (folder / "images").mkdir(parents=True)
    numbers = {value: n for n, value in enumerate(task.labels.values(), start=1)}
    single = len(task.labels) == 1
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, item in enumerate(counted(items, on_item), start=1):
        image = read_item(item, task)
        if image.spatial_dims != 2:
            raise InputError(f"'{item.id}' is no 2D image; export volumes as nnunet")
        name = f"{item.id}{extension(item.image)}"
        copy_atomically(item.image, folder / "images" / name)
        rows, columns = image.shape
        images.append({"id": image_id, "file_name": name, "width": columns, "height": rows})
        label = read_item_label(item, image, task)
        label = np.where(label == IGNORE, 0, label)
        for number, outline in outlines(label).items():
            rings = polygons(outline)
            left, top, right, bottom = (int(side) for side in outline.bounds)
            mask = label == number
            holes = any(len(one) > 1 for one in rings)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1 if single else numbers[number],
                    "segmentation": _runs(mask)
                    if holes
                    else [r.ravel().tolist() for (r,) in rings],
                    "area": int(mask.sum()),
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": n, "name": name} for n, name in enumerate(task.labels, start=1)]
    write_json(
        folder / TABLE, {"images": images, "annotations": annotations, "categories": categories}
    )
    return [f"{len(items)} images with {len(annotations)} objects in {folder}, {TABLE}"]


def _runs(mask: np.ndarray) -> dict[str, Any]:
    """Return run lengths of a mask `(rows, columns)`, uncompressed."""
    flat = np.concatenate(([False], mask.ravel(order="F")))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], edges, [mask.size])))
    return {"size": list(mask.shape), "counts": counts.tolist()}
