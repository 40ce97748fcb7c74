"""What every reader of microscopy files returns: the scenes of a file, and how planes are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lib.errors import InputError, shown
from lib.io.channels import channel_choices

BETWEEN = " / "  # a scene and its channel
REQUIREMENTS = "requirements-microscopy.txt"
_AXES = "TZYX"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One image of a file.

    Attributes:
        name: as the file has it; empty where it has none.
        sizes: length of the axes T, Z, Y, X, as far as it has them; Y and X always.
        channels: name of each channel, empty where the file tells none. One for colour.
        colour: whether a pixel is red, green, blue.
        dtype: of a value.
        spacing: size of a pixel along X, Y and Z in micrometres; 0 where it is unknown.
        read: takes the index of a channel; returns its pixels, axes in the order of T, Z, Y, X,
            those of length 1 at liberty, in colour `(..., 3)`.
    """

    name: str
    sizes: dict[str, int]
    channels: tuple[str, ...]
    dtype: np.dtype
    read: Callable[[int], np.ndarray]
    colour: bool = False
    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def depth(self) -> str:
        """The axes that become the slices of a volume or the frames of a loop."""
        return "".join(axis for axis in "TZ" if self.sizes.get(axis, 1) > 1)

    @property
    def size(self) -> tuple[int, ...]:
        """The size, x first."""
        return tuple(self.sizes[axis] for axis in "XY" + self.depth[::-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the pixels of one channel, without colour."""
        return self.size[::-1]

    def spacing_mm(self, spatial_dims: int) -> tuple[float, ...]:
        """Return the size of a pixel in millimetres, x first; 1 along all axes if it is unknown."""
        in_space = "XYZ"[: 2 if self.depth != "Z" else spatial_dims]
        known = [size / 1000 for size, _ in zip(self.spacing, in_space, strict=False)]
        if not all(0 < size < float("inf") for size in known):
            return (1.0,) * spatial_dims
        return (*known, *[1.0] * (spatial_dims - len(known)))


@dataclass(frozen=True)
class Choice:
    """A channel of a scene, as it is chosen.

    Attributes:
        name: under which it is chosen; empty where nothing tells one.
        scene: the scene.
        index: of the channel, from 0.
    """

    name: str
    scene: Scene
    index: int


def choices_of(scenes: Sequence[Scene]) -> list[Choice]:
    """Return all channels of all scenes; the name of each has its scene's, where there are several.

    Scenes without a name, or with the name of another, have their number from 1.
    """
    found, names = [], channel_choices([scene.name for scene in scenes])
    for scene, name in zip(scenes, names, strict=True):
        for index, channel in enumerate(scene.channels):
            own = channel.strip()
            if len(scenes) > 1 and len(scene.channels) > 1:
                own = f"{name}{BETWEEN}{own or index + 1}"
            elif len(scenes) > 1:
                own = name
            found.append(Choice(own, scene, index))
    return found


def require(package: str, file: Path, kind: str) -> None:
    """Refuse a file whose reader is not installed.

    Args:
        package: name by which it is imported.
        kind: of the file, such as "CZI".

    Raises:
        InputError: it is not.
    """
    if find_spec(package) is None:
        raise InputError(
            f"{file.name}: {kind} is read by {package}, which is not installed; pip install -r "
            f"{REQUIREMENTS}"
        )


def check_axes(path: Path, sizes: dict[str, int], others: dict[str, int]) -> None:
    """Refuse axes that are neither space, time nor channels.

    Args:
        sizes: of the axes that are read.
        others: of all others.

    Raises:
        InputError: one of the others is longer than 1, or rows or columns are missing.
    """
    if long := [f"{shown(axis, 40)} of {size}" for axis, size in others.items() if size > 1]:
        raise InputError(
            f"{path.name}: has the axes {', '.join(long)}, expected rows and columns with slices, "
            f"frames or channels; export one image, volume or loop"
        )
    if any(sizes.get(axis, 0) < 1 for axis in "YX"):
        raise InputError(f"{path.name}: holds no image; export it again")


def as_planes(pixels: np.ndarray, axes: str, colour: bool) -> np.ndarray:
    """Return pixels with their axes in the order T, Z, Y, X, in colour S last.

    Args:
        axes: a letter for each axis of `pixels`.
    """
    wanted = [axis for axis in _AXES + "S" * colour if axis in axes]
    return pixels.transpose([axes.index(axis) for axis in wanted])
