"""Labels of cellpose, ``NAME_seg.npy`` beside the image ``NAME.EXT``, in and out.

The file is a pickled dictionary, and a pickle can run anything. Here none is unpickled: the reader
knows numbers, texts, lists, dictionaries and arrays, and takes every other name for an error.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.labels import read_item_label
from lib.data.studies import Item, read_item
from lib.data.write_item import write_item
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError, printable
from lib.files import copy_atomically
from lib.io.read import extension, image_geometry, stem
from lib.isolation.calls import isolated
from lib.tasks.spec import TaskSpec

SUFFIX = "_seg.npy"
MAX_FILE = 1 << 30  # bytes
_KINDS = "biufU"  # of arrays: numbers and texts


def import_cellpose(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import 2D images with the masks of cellpose: see `lib.datasets.importers.Importer.run`."""
    check_folder(source)
    files = sorted(file for file in source.iterdir() if file.name.endswith(SUFFIX))
    images = {stem(file): file for file in sorted(source.iterdir()) if extension(file)}
    if not files:
        raise InputError(f"no {SUFFIX} in '{source}'; save the masks in cellpose, beside images")
    missing = [f.name for f in files if f.name.removesuffix(SUFFIX) not in images]
    if missing:
        raise InputError(f"{missing[0]}: there is no image of this name beside it; copy it there")
    objects = 0
    for file in counted(files, on_item):
        image = images[file.name.removesuffix(SUFFIX)]
        masks = read_masks(file)
        if masks.shape != image_geometry(image).size[::-1]:
            raise InputError(
                f"{file.name}: masks of shape {masks.shape}, the image {image.name} has "
                f"{image_geometry(image).size[::-1]}; expected masks of one 2D image"
            )
        objects += len(np.unique(masks[masks > 0]))
        write_item(studies, stem(image), image, masks)
    return ImportReport(
        images=len(files),
        lines=(f"{len(files)} images with {objects} objects imported into {studies}",),
        figures={"objects": objects},
    )


@isolated()
def read_masks(file: Path) -> np.ndarray:
    """Return the masks of a ``_seg.npy``, int32, numbers of objects, 0 is background.

    Nothing in the file is run.

    Raises:
        InputError: it is no such file, damaged, or holds anything but plain values and arrays.
    """
    if file.stat().st_size > MAX_FILE:
        raise InputError(f"{file.name}: more than {MAX_FILE} bytes; expected masks of one image")
    stream = io.BytesIO(file.read_bytes())
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        read(stream)
        held = _Reader(stream).load()
        held = held.item() if isinstance(held, _Array) else held
        masks = held["masks"].values()
    except InputError:
        raise
    except Exception as error:  # a foreign file fails in many ways
        cause = printable(str(error) or type(error).__name__)[:200]
        raise InputError(
            f"{file.name}: no labels of cellpose ({cause}); expected a dictionary with masks"
        ) from None
    if masks.dtype.kind not in "iu" or masks.ndim not in (2, 3):
        raise InputError(f"{file.name}: masks are {masks.dtype} of shape {masks.shape}")
    if masks.size and not 0 <= int(masks.min()) <= int(masks.max()) < 2**31:
        raise InputError(f"{file.name}: masks must be numbers from 0 to {2**31 - 1}")
    return masks.astype(np.int32)


class _Dtype:
    """What stands for `numpy.dtype`."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name, self.order = str(name), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])

    def real(self) -> np.dtype:
        """Return the type of plain numbers or texts.

        Raises:
            ValueError: another one.
        """
        found = np.dtype(self.name)
        if found.kind not in _KINDS:
            raise ValueError(f"an array of type {self.name}")
        return found.newbyteorder(">") if self.order == ">" else found


class _Array:
    """What stands for an array, until its values are asked for."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def values(self) -> np.ndarray:
        """Return the values.

        Raises:
            ValueError: the bytes are not those of the shape.
        """
        _, shape, dtype, by_column, content = self.state
        flat = np.frombuffer(content, dtype.real())
        return flat.reshape(shape, order="F" if by_column else "C")

    def item(self) -> Any:
        """Return the one object of an array of objects."""
        (held,) = self.state[4]
        return held


def _bytes(text: str, encoding: str) -> bytes:
    """Stand for `_codecs.encode`, by which old protocols keep bytes."""
    return text.encode("latin1" if encoding == "latin1" else "ascii")


def _scalar(dtype: _Dtype, content: bytes = b"") -> Any:
    return np.frombuffer(content, dtype.real())[0] if content else None


class _Reader(pickle._Unpickler):
    """Reads plain values; in Python, as the memo of the one in C takes any memory it is told."""

    _KNOWN = {
        "ndarray": _Array,
        "dtype": _Dtype,
        "_reconstruct": _Array,
        "scalar": _scalar,
        "encode": _bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name.

        Raises:
            ValueError: any but those that arrays take.
        """
        numpy = module == "numpy" or module.startswith(("numpy.core.", "numpy._core."))
        if name in self._KNOWN and (numpy if name != "encode" else module == "_codecs"):
            return self._KNOWN[name]
        raise ValueError(f"it names {module}.{name}, which is not read")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to other files."""
        raise ValueError("it refers to something outside")


def export_cellpose(
    items: Sequence[Item], task: TaskSpec, folder: Path, on_item: OnItem | None = None
) -> list[str]:
    """Write 2D images with their labels as cellpose has them.

    See `lib.datasets.exporters.Exporter.run`. Where the task has several structures their values
    are the numbers of objects.
    """
    from skimage.segmentation import find_boundaries

    folder.mkdir(parents=True)
    for item in counted(items, on_item):
        image = read_item(item, task)
        if image.spatial_dims != 2:
            raise InputError(f"'{item.id}' is no 2D image; export volumes as nnunet")
        masks = read_item_label(item, image, task)
        outlines = np.where(find_boundaries(masks, mode="inner"), masks, 0)
        held = {
            "filename": f"{item.id}{extension(item.image)}",
            "masks": masks.astype(np.uint16 if masks.max() < 2**16 else np.uint32),
            "outlines": outlines.astype(np.uint16 if masks.max() < 2**16 else np.uint32),
            "chan_choose": [0, 0],
            "ismanual": np.ones(int(masks.max()), bool),
            "flows": [],
            "diameter": None,
        }
        with (folder / f"{item.id}{SUFFIX}").open("wb") as file:
            np.save(file, held, allow_pickle=True)  # type: ignore[arg-type]
        copy_atomically(item.image, folder / f"{item.id}{extension(item.image)}")
    return [f"{len(items)} images with {SUFFIX} in {folder}"]
