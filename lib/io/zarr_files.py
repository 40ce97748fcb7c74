"""OME-Zarr (NGFF 0.1 to 0.5) by zarr: a folder, or all of it in one zip file (.ozx, .zarr.zip).

What a store says of its arrays is read and checked here before zarr opens them: codecs are those of
a list, as some that zarr knows run what a file holds.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError, shown
from lib.image import check_decoded_bytes
from lib.io.scenes import Scene, check_axes, require

MOST_CHUNK_BYTES = 2**28  # of a chunk when decoded
MOST_CHUNKS = 100_000  # of one array
_JSON_BYTES = 1 << 22
_MOST_MEMBERS = 1_000_000  # of a zip
_CODECS = ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "bytes", "crc32c")
_TYPE = re.compile(r"[<>|]?([biuf])([1248])")
_TYPES = re.compile(r"(u?int|float)(8|16|32|64)")
_LETTERS = {"t": "T", "c": "C", "z": "Z", "y": "Y", "x": "X"}
_OLD = "TCZYX"  # the axes before they were told
_PLACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]*(/[A-Za-z0-9_][A-Za-z0-9_ .-]*)*")
_UNITS = {
    **{"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6},
    **{"angstrom": 1e-4, "picometer": 1e-6, "inch": 25400.0},
}


@contextmanager
def scenes_in(path: Path) -> Iterator[list[Scene]]:
    """Yield the images of a store; they are read while it is open.

    Raises:
        InputError: the library is missing, no OME-Zarr, a plate of wells, or an array that is not
            read.
    """
    require("zarr", path, "OME-Zarr")
    with _opened(path) as store:
        root = store.attributes("")
        if "plate" in root or "well" in root:
            raise InputError(
                f"{path.name}: a plate of wells, expected one image; give the folder of one field "
                f"of view, such as A/1/0"
            )
        groups = [""]
        if "multiscales" not in root:
            groups = [str(number) for number in range(store.images(root))]
        if not groups:
            raise InputError(
                f"{path.name}: holds no 'multiscales' of OME-Zarr; give the folder of one image"
            )
        yield [_scene(store, group) for group in groups]


class _Store:
    """A store, whose JSON is read here and whose arrays are read by zarr.

    Args:
        path: a folder, or a zip file.
        packed: the zip, opened.
    """

    def __init__(self, path: Path, packed: zipfile.ZipFile | None) -> None:
        self.name, self.path, self.packed = path.name, path, packed

    @contextmanager
    def array(self, place: str) -> Iterator[Any]:
        """Yield an array that was checked, opened by zarr."""
        import zarr

        if self.packed is None:
            yield zarr.open_group(str(self.path), mode="r")[place]
            return
        packed = getattr(zarr, "storage", zarr).ZipStore(str(self.path), mode="r")
        group = zarr.open_group(packed, mode="r")
        try:
            yield group[place]
        finally:
            packed.close()

    def json(self, place: str) -> dict[str, Any]:
        """Return an object of JSON in the store; an empty one if there is no such file."""
        if self.packed is None:
            file = self.path / place
            content = file.open("rb").read(_JSON_BYTES + 1) if file.is_file() else b"{}"
        else:
            try:
                with self.packed.open(place) as member:
                    content = member.read(_JSON_BYTES + 1)
            except KeyError:
                content = b"{}"
        if len(content) > _JSON_BYTES:
            raise InputError(f"{self.name}: {place} is longer than {_JSON_BYTES} bytes; damaged")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise InputError(
                f"{self.name}: {place} is no JSON object; it is damaged, copy it again"
            )
        return found

    def attributes(self, group: str) -> dict[str, Any]:
        """Return what OME-Zarr tells of a group."""
        begin = f"{group}/" if group else ""
        found = self.json(f"{begin}zarr.json").get("attributes") or self.json(f"{begin}.zattrs")
        told = found.get("ome", found) if isinstance(found, dict) else {}
        return told if isinstance(told, dict) else {}

    def images(self, root: dict[str, Any]) -> int:
        """Return the number of images of a store that Bio-Formats wrote; 0 for others."""
        if "bioformats2raw.layout" not in root:
            return 0
        count = 0
        while "multiscales" in self.attributes(str(count)):
            count += 1
        return count


@contextmanager
def _opened(path: Path) -> Iterator[_Store]:
    if path.is_dir():
        yield _Store(path, None)
        return
    with zipfile.ZipFile(path) as packed:
        if len(packed.namelist()) > _MOST_MEMBERS:
            raise InputError(f"{path.name}: holds more than {_MOST_MEMBERS} files; use sharding")
        yield _Store(path, packed)


def _scene(store: _Store, group: str) -> Scene:
    about = store.attributes(group)
    scales = _dictionaries(about.get("multiscales"))
    levels = _dictionaries(scales[0].get("datasets")) if scales else []
    inner = str(levels[0].get("path", "")) if levels else ""
    place = f"{group}/{inner}" if group else inner
    if not _PLACE.fullmatch(place) or ".." in place:
        raise InputError(f"{store.name}: its image is at '{shown(place)}', expected a folder in it")
    shape, dtype = _checked(store, place)
    told = scales[0].get("axes") or list(_OLD[-len(shape) :])
    names = [str(one.get("name") if isinstance(one, dict) else one) for one in told]
    axes = "".join(_LETTERS.get(name.lower(), "?") for name in names)
    if len(axes) != len(shape) or len(set(axes)) < len(axes):
        raise InputError(
            f"{store.name}: has the axes {shown(', '.join(names))} for {len(shape)} of its array, "
            f"expected each of t, c, z, y, x at most once; export it again"
        )
    sizes = dict(zip(axes, shape, strict=True))
    check_axes(store.path, sizes, {})
    count = sizes.pop("C", 1)
    omero = about.get("omero")
    channels = _dictionaries(omero.get("channels")) if isinstance(omero, dict) else []
    labels = tuple(str(one.get("label") or "") for one in channels)
    return Scene(
        name=str(scales[0].get("name") or "") if group else "",
        sizes=sizes,
        channels=labels if len(labels) == count else ("",) * count,
        dtype=dtype,
        read=partial(_read, store, place, axes),
        spacing=_spacing(told, axes, [scales[0], levels[0]]),
    )


def _read(store: _Store, place: str, axes: str, index: int) -> np.ndarray:
    with store.array(place) as array:
        pixels = array[tuple(index if axis == "C" else slice(None) for axis in axes)]
    left = axes.replace("C", "")
    return np.asarray(pixels).transpose([left.index(axis) for axis in "TZYX" if axis in left])


def _checked(store: _Store, place: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of an array, whose description holds nothing that is not read.

    Raises:
        InputError: there is no such array, or it is not read.
    """
    new, old = store.json(f"{place}/zarr.json"), store.json(f"{place}/.zarray")
    if not new and not old:
        raise InputError(f"{store.name}: its array '{place}' is missing; copy all of it again")
    shape = _lengths(store, place, (new or old).get("shape"))
    if new:
        grid = new.get("chunk_grid") or {}
        chunk = (grid.get("configuration") or {}).get("chunk_shape")
        codecs, inner = _codecs(new.get("codecs"))
        kind = _TYPES.fullmatch(str(new.get("data_type")))
        dtype = f"{kind[1]}{kind[2]}" if kind else ""
    else:
        chunk, inner = old.get("chunks"), None
        used = [old.get("compressor"), *_dictionaries(old.get("filters"))]
        codecs = [str(one.get("id")) for one in used if isinstance(one, dict)]
        kind = _TYPE.fullmatch(str(old.get("dtype")))
        dtype = str(old.get("dtype")) if kind else ""
    if not dtype:
        found = (new or old).get("data_type") or old.get("dtype")
        raise InputError(
            f"{store.name}: holds values of type {shown(found, 40)}, expected whole or real "
            f"numbers; export it again"
        )
    if unread := [one for one in codecs if one not in _CODECS]:
        raise InputError(
            f"{store.name}: its values are coded by {shown(', '.join(unread))}, expected "
            f"{', '.join(_CODECS)}; save it with one of these"
        )
    lengths = _lengths(store, place, chunk)
    if len(lengths) != len(shape):
        raise InputError(
            f"{store.name}: its chunks have {len(lengths)} axes, its array {len(shape)}"
        )
    if inner is not None:
        _lengths(store, place, inner)
    itemsize = np.dtype(dtype).itemsize
    check_decoded_bytes(f"{store.name}, a chunk", lengths, itemsize, 1, MOST_CHUNK_BYTES)
    chunks = math.prod(-(-side // part) for side, part in zip(shape, lengths, strict=True))
    if chunks > MOST_CHUNKS:
        raise InputError(
            f"{store.name}: {chunks} chunks are too many, at most {MOST_CHUNKS} are read; save it "
            f"with larger ones"
        )
    return shape, np.dtype(dtype)


def _codecs(value: Any) -> tuple[list[str], Any]:
    """Return the names of codecs, those in shards too, and the shape of chunks in shards."""
    names, inner = [], None
    for one in _dictionaries(value):
        about = one.get("configuration")
        about = about if isinstance(about, dict) else {}
        if one.get("name") == "sharding_indexed":
            inner = about.get("chunk_shape")
            for part in ("codecs", "index_codecs"):
                names += _codecs(about.get(part))[0]
        elif one.get("name") != "transpose":
            names.append(str(one.get("name")))
    return names, inner


def _lengths(store: _Store, place: str, value: Any) -> tuple[int, ...]:
    sides = value if isinstance(value, list) else []
    if not 2 <= len(sides) <= 5 or not all(type(one) is int and 0 < one < 2**31 for one in sides):
        raise InputError(
            f"{store.name}: its array '{place}' has sides of {shown(value)}, expected two to five "
            f"whole numbers from 1; it is damaged, export it again"
        )
    return tuple(sides)


def _spacing(
    told: list[Any], axes: str, scaled: list[dict[str, Any]]
) -> tuple[float, float, float]:
    """Return the size of a pixel in micrometres, 0 along axes without a unit of length.

    Args:
        scaled: the multiscale image and its first level, whose scales are multiplied.
    """
    sizes = dict.fromkeys(axes, 1.0)
    for one in scaled:
        for change in _dictionaries(one.get("coordinateTransformations")):
            scale = change.get("scale")
            if change.get("type") == "scale" and isinstance(scale, list):
                for axis, factor in zip(axes, scale, strict=False):
                    sizes[axis] *= float(factor)
    units = {
        axis: _UNITS.get(str(one.get("unit", "")), 0.0) if isinstance(one, dict) else 0.0
        for axis, one in zip(axes, told, strict=False)
    }
    x, y, z = (sizes.get(axis, 0.0) * units.get(axis, 0.0) for axis in "XYZ")
    return (x, y, z)


def _dictionaries(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
