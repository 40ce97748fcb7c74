"""Label files of a datastore: label images, and density classes as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lib.data.frame_ranges import FRAMES, leave_unoutlined, read_frame_ranges
from lib.data.ignore import IGNORE, IGNORE_NAME, split_ignored
from lib.data.label_names import (
    as_label_info,
    read_label_info,
    values_of,
)
from lib.data.labels import names_in
from lib.data.structures import sort_structures
from lib.errors import InputError, listed
from lib.image import (
    DICOM_EXTENSIONS,
    MAX_PIXELS,
    MAX_VOXELS,
    PICTURE_EXTENSIONS,
    VOLUME_EXTENSIONS,
    Geometry,
    Image,
    has_extension,
)
from lib.io.alignment import same_grid
from lib.io.labels import read_label
from lib.io.layers import is_plain, label_names, labelled_id
from lib.io.masks import MASK_EXTENSIONS, Names, write_mask
from lib.io.read import extension, image_geometry, image_size, read_image, stem
from lib.io.rows import large_image
from lib.mammography.density_labels import read_density, read_percent
from lib.segmentation.answer import INSTANCES
from lib.tasks.spec import TaskSpec

ANSWER = ".json"


def is_label_file(name: str) -> bool:
    """Tell whether a file of this name can be a label."""
    return not name.startswith(".") and (bool(extension(name)) or name.lower().endswith(ANSWER))


def id_and_extension(name: str) -> tuple[str, str]:
    """Split the name of an image or label file into its id and its extension, case kept."""
    id = name[: -len(ANSWER)] if name.lower().endswith(ANSWER) else stem(name)
    return id, name[len(id) :]


def image_and_extension(name: str) -> tuple[str, str]:
    """Split the name of a label file into the id of its image and its extension, case kept."""
    id = id_and_extension(name)[0] if name.lower().endswith(ANSWER) else labelled_id(name)
    return id, name[len(id) :]


@dataclass(frozen=True, kw_only=True)
class PreparedLabel:
    """A label as it is stored.

    Attributes:
        file: as it came.
        image: the file of its image.
        info: what its record keeps: that of the client, with the stored values in ``label_info``,
            and the density class of a JSON file.
        extension: of the file to store.
        pixels: integers on the grid of the image, 0 is background; None for a density.
        names: of the values; empty where nothing names them.
        changed: whether `pixels` are written, not the file as it came.
        drawn: whether it says anything of the tasks: not so if all that is drawn is foreign.
        foreign: a label of structures that no task has, to be kept aside; None without any.
    """

    file: Path
    image: Path
    info: dict[str, Any]
    extension: str
    pixels: np.ndarray | None = None
    names: Names = ()
    changed: bool = False
    drawn: bool = True
    foreign: PreparedLabel | None = None

    @contextmanager
    def stored(self) -> Iterator[Path]:
        """Give the file to store: the one that came, or one with `pixels` for as long as needed."""
        if self.pixels is None or not self.changed:
            yield self.file
            return
        with TemporaryDirectory() as folder:
            target = Path(folder, f"label{self.extension}")
            write_mask(target, self.pixels, image_geometry(self.image), names=self.names)
            yield target

    def is_in(self, file: Path) -> bool:
        """Tell whether `file` is the same label of the same names."""
        try:
            if self.pixels is None or label_names(file) != self.names:
                return False
            return np.array_equal(read_label(file, self.pixels.shape), self.pixels)
        except InputError:
            return False


def prepare_label(
    file: str | Path, image: Path, info: Mapping[str, Any], tasks: Sequence[TaskSpec]
) -> PreparedLabel:
    """Read a label, and give its structures the values that the tasks have for them.

    Names decide: those in the file (.seg.nrrd), else ``label_info`` of the client, else
    ``label_names`` of a model's answer. Without names a label must have values of a task, unless a
    task has one structure, whose objects any numbers may be.

    A label image that is too large to be read whole is stored as it came.

    Args:
        file: a label image, or JSON such as ``{"density": "C"}``.
        info: information that came with the label.
        tasks: the served ones that fit the image; without any, all names and values are kept.

    Raises:
        InputError: the file cannot be read, does not fit the image, has values without a name, or
            is JSON without a density.
    """
    file = Path(file)
    _, suffix = id_and_extension(file.name)
    plain = PreparedLabel(file=file, image=image, info=dict(info), extension=suffix)
    try:
        if suffix.lower() == ANSWER:
            read_percent(file)  # refuses numbers out of range
            return replace(plain, info={**info, "density": read_density(file)})
        if len(image_size(image)) > 3:
            return plain
        _check_size(file, image)
        if is_large(file):
            return plain
        pixels = read_label(file, _grid(image))
        label = replace(plain, pixels=pixels, changed=not _is_as_stored(file, image))
        told = names_in(file, read_label_info(info.get("label_info")), pixels)
        labels = [task.labels for task in tasks if pixels.ndim == 3 or task.image_dims != 3]
        if told:
            label = _sorted(label, told, labels)
        elif answered := _answered_names(info):
            named = values_of(pixels) <= {value for _, value in answered}
            label = replace(label, names=answered if named else ())
        else:
            _check_values(pixels, labels)
        drawn = label.pixels
        assert drawn is not None
        if FRAMES in info:
            label = _with_frames(label, drawn)
        else:
            split_ignored(drawn, file.name)  # refuses a label that says nothing
    except InputError as error:  # an uploaded file has a temporary name
        cause = str(error).removeprefix(f"{file.name}: ")
        raise InputError(f"label for '{image.name}' refused: {cause}") from None
    if label.changed and extension(file) not in MASK_EXTENSIONS:
        label = replace(label, extension=".nrrd")
    return label


def is_large(file: Path) -> bool:
    """Tell whether a label image is too large to be read whole; its header is looked at.

    Raises:
        InputError: it is, and cannot be read by rows, or holds no whole numbers.
    """
    image = large_image(file, MAX_PIXELS)
    if image is None:
        return False
    if image.colour or image.read(0, 1).dtype.kind not in "iu":
        raise InputError("it holds no whole numbers, expected the number of an object or 0")
    return True


def _check_size(file: Path, image: Path) -> None:
    """Refuse a picture of another size than its image; volumes tell more, see `read_label`."""
    if extension(file) not in PICTURE_EXTENSIONS:
        return
    expected, found = image_size(image), image_size(file)
    if expected != found:
        raise InputError(
            f"label of {' x '.join(map(str, found))} pixels for an image of "
            f"{' x '.join(map(str, expected))}; label the image at its own size"
        )


def _is_as_stored(file: Path, image: Path) -> bool:
    """Tell whether any program reads a label file as this app does, on the grid of its image."""
    if extension(file) not in VOLUME_EXTENSIONS:
        return is_plain(file)
    grid, other = image_geometry(file), image_geometry(image)
    return is_plain(file) and (len(grid.size) != len(other.size) or same_grid(grid, other))


def _grid(image: Path) -> Image | Geometry:
    """Return the grid of an image; of DICOM with the measured spacing, which labels may have."""
    if has_extension(image, DICOM_EXTENSIONS):
        return read_image(image, MAX_VOXELS, None)
    return image_geometry(image)


def _sorted(label: PreparedLabel, told: Names, tasks: Sequence[Mapping[str, int]]) -> PreparedLabel:
    """Return a label with the values of the tasks, and what is foreign to them apart."""
    assert label.pixels is not None
    found = sort_structures(label.file.name, label.pixels, told, tasks)
    ours = replace(
        label,
        pixels=found.label,
        names=found.names,
        info={**label.info, "label_info": as_label_info(found.names)},
        changed=label.changed or found.label is not label.pixels,
    )
    if found.foreign is None:
        return ours
    foreign = replace(
        label,
        pixels=found.foreign,
        names=found.foreign_names,
        info={**label.info, "label_info": as_label_info(found.foreign_names)},
        extension=".nrrd",
        changed=True,
    )
    return replace(ours, drawn=bool(found.label.any()), foreign=foreign)


def _with_frames(label: PreparedLabel, drawn: np.ndarray) -> PreparedLabel:
    """Return a label that ignores frames in which a structure is said to be and not outlined."""
    count = len(drawn) if drawn.ndim == 3 else 1
    ranges = read_frame_ranges(label.info[FRAMES], count)
    info = {key: value for key, value in label.info.items() if key != FRAMES}
    if not ranges:
        return replace(label, info=info)
    every = values_of(drawn) - {IGNORE}  # of objects without names
    values = {
        name: {value for own, value in label.names if value and _is_of(own, name)}
        if label.names
        else every
        for name in ranges
    }
    stack = drawn.reshape(count, *drawn.shape[-2:])
    pixels = leave_unoutlined(stack, values, ranges).reshape(drawn.shape)
    names = label.names
    if names and IGNORE in pixels and IGNORE not in dict(names).values():
        names = (*names, (IGNORE_NAME, IGNORE))
    return replace(
        label,
        pixels=pixels,
        names=names,
        info={**info, FRAMES: ranges, **({"label_info": as_label_info(names)} if names else {})},
        changed=label.changed or not np.array_equal(pixels, drawn),
    )


def _is_of(own: str, structure: str) -> bool:
    """Tell whether a name is that of a structure, or of a numbered object of it."""
    return own == structure or own.removeprefix(structure).strip().isdecimal()


def _answered_names(info: Mapping[str, Any]) -> Names:
    """Return the names that a model sent with its answer; none for objects, which it numbers."""
    params = info.get("params")
    answer = params if isinstance(params, Mapping) else {}
    named = answer.get("label_names") if answer.get("result") != INSTANCES else None
    try:
        return tuple((str(name), int(value)) for name, value in (named or {}).items())
    except (AttributeError, OverflowError, TypeError, ValueError):
        return ()


def _check_values(label: np.ndarray, tasks: Sequence[Mapping[str, int]]) -> None:
    """Refuse values without names that are none of a task, where each has several structures."""
    values = values_of(label) - {IGNORE}
    if not tasks or any(len(one) == 1 or values <= set(one.values()) for one in tasks):
        return
    expected = " or ".join(
        ", ".join(f"{value} '{name}'" for name, value in one.items()) for one in tasks[:3]
    )
    raise InputError(
        f"label of the values {listed(values)} without names, expected {expected}; send the names "
        f"of the segments as label_info, or number them so"
    )
