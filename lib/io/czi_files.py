"""Zeiss's CZI, by pylibCZIrw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.io.scenes import Scene, check_axes, require

_DTYPES = {
    **{"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4"},
    **{"Bgr24": "u1", "Bgr48": "u2"},
}
_READ = "XYCTZ"  # axes; the mosaic (M) is joined, scenes (S) are images
_MICRO = 1e6  # metres


@contextmanager
def scenes_in(path: Path) -> Iterator[list[Scene]]:
    """Yield the scenes of a file; they are read while it is open.

    Raises:
        InputError: the library is missing, or pixels of a kind that is not read.
    """
    require("pylibCZIrw", path, "CZI")
    from pylibCZIrw import czi

    with czi.open_czi(str(path)) as file:
        box = {axis: int(last - first) for axis, (first, last) in file.total_bounding_box.items()}
        check_axes(path, box, {axis: size for axis, size in box.items() if axis not in _READ})
        kinds = dict(file.pixel_types)
        if unread := set(kinds.values()) - set(_DTYPES):
            raise InputError(
                f"{path.name}: its pixels are of the kind {', '.join(sorted(unread))}, expected "
                f"{', '.join(_DTYPES)}; export it as OME-TIFF"
            )
        if len(set(kinds.values())) > 1:
            raise InputError(
                f"{path.name}: its channels are of the kinds {', '.join(sorted(kinds.values()))}, "
                f"expected one; export each channel as its own file"
            )
        (kind,) = set(kinds.values())
        told = _Told(file.metadata)
        places = file.scenes_bounding_rectangle or {None: file.total_bounding_rectangle}
        yield [
            Scene(
                name=told.scenes.get(number, "") if len(places) > 1 else "",
                sizes={"T": box.get("T", 1), "Z": box.get("Z", 1), "Y": place.h, "X": place.w},
                channels=tuple(told.channels.get(index, "") for index in range(box.get("C", 1))),
                dtype=np.dtype(_DTYPES[kind]),
                read=partial(_read, file, number, tuple(place), box),
                colour=kind.startswith("Bgr"),
                spacing=told.spacing,
            )
            for number, place in places.items()
        ]


def _read(
    file: Any, scene: int | None, place: tuple[int, int, int, int], box: dict[str, int], index: int
) -> np.ndarray:
    """Return the planes of a channel, `(T, Z, Y, X)`, in colour `(..., 3)`."""
    first = {axis: begin for axis, (begin, _) in file.total_bounding_box.items()}
    times = []
    for time in range(box.get("T", 1)):
        planes = []
        for depth in range(box.get("Z", 1)):
            at = {"C": index, "T": time, "Z": depth}
            plane = {axis: first.get(axis, 0) + number for axis, number in at.items()}
            planes.append(file.read(roi=place, plane=plane, scene=scene))
        times.append(np.stack(planes))
    pixels = np.stack(times)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., ::-1]  # blue is first


class _Told:
    """What the metadata of a file tell, as far as they can be read.

    Attributes:
        channels: name of each channel, by its index.
        scenes: name of each scene, by its index.
        spacing: size of a pixel along X, Y, Z in micrometres, 0 where it is unknown.
    """

    def __init__(self, metadata: Any) -> None:
        about = _at(metadata, "ImageDocument", "Metadata")
        image = _at(about, "Information", "Image", "Dimensions")
        channels = _listed(_at(image, "Channels", "Channel"))
        self.channels = {index: str(one.get("@Name") or "") for index, one in enumerate(channels)}
        scenes = _listed(_at(image, "S", "Scenes", "Scene"))
        self.scenes = {index: str(one.get("@Name") or "") for index, one in enumerate(scenes)}
        sizes = {
            one.get("@Id"): _number(one.get("Value")) * _MICRO
            for one in _listed(_at(about, "Scaling", "Items", "Distance"))
        }
        self.spacing = (sizes.get("X", 0.0), sizes.get("Y", 0.0), sizes.get("Z", 0.0))


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _listed(value: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, dict)]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
