"""Files of microscopes: CZI, ND2, LIF and OME-Zarr, each by its library, into the same image.

A channel of a scene is read. Where a file has several scenes, the name of each channel has its
scene's before it, so that one choice is enough: ``scene 2 / DAPI``. The libraries are optional
(requirements-microscopy.txt) and imported when a file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.image import (
    MAX_BYTES,
    MAX_PICTURE_BYTES,
    MICROSCOPY_EXTENSIONS,
    Geometry,
    Image,
    check_decoded_bytes,
    check_dimensions,
    check_pixel_count,
    damaged,
)
from lib.io.channels import channel_choices, channel_name, choose_channel, listed_channel
from lib.io.scenes import BETWEEN, Choice, Scene, choices_of

MOST_SCENES = 1024
_READERS = {
    ".czi": "lib.io.czi_files",
    ".nd2": "lib.io.nd2_files",
    ".lif": "lib.io.lif_files",
    **dict.fromkeys((".ozx", ".zarr.zip", ".zarr"), "lib.io.zarr_files"),
}


def microscopy_size(path: Path, channel: str = "") -> tuple[int, ...]:
    """Return the size of the chosen scene, of the first without a choice; see `image_size`.

    Raises:
        InputError: damaged, or its library is missing.
    """
    with _choices(path) as choices:
        return _chosen(path, choices, channel).scene.size


def microscopy_geometry(path: Path) -> Geometry:
    """Return the grid of the scene that ``channels.csv`` chooses, of the first without a choice."""
    channel = listed_channel(path, path.name[: -len(_ending(path))])
    with _choices(path) as choices:
        scene = _chosen(path, choices, channel).scene
        return _geometry(scene, len(scene.size))


def microscopy_channels(path: Path) -> tuple[str, ...]:
    """Return by what each channel is chosen; empty for grey and colour."""
    with _choices(path) as choices:
        if len(choices) == 1:
            return ()
        return channel_choices([choice.name for choice in choices])


def scene_of(channel: str) -> str:
    """Return the scene in the name of a channel; empty where it has none."""
    return channel.rpartition(BETWEEN)[0]


def read_microscopy(path: Path, max_pixels: int, spatial_dims: int, channel: str) -> Image:
    """Read one channel of one scene; see `lib.io.read.read_image`.

    Raises:
        SeveralChannelsError: there are several, and none is chosen.
        InputError: damaged, of other dimensions, too large, or its library is missing.
    """
    with _choices(path) as choices:
        chosen, name = choices[0], ""
        names = [choice.name for choice in choices]
        if len(choices) > 1:
            index = choose_channel(path.name, names, channel)
            chosen, name = choices[index], channel_name(names, index)
        elif channel and names[0].casefold() == channel.casefold():
            name = names[0]
        scene = chosen.scene
        check_dimensions(path, scene.size, spatial_dims)
        check_pixel_count(path.name, scene.size, max_pixels)
        most = MAX_PICTURE_BYTES if len(scene.size) == 2 else MAX_BYTES
        samples = 3 if scene.colour else 1
        check_decoded_bytes(path.name, scene.size, scene.dtype.itemsize, samples, most)
        pixels = np.asarray(scene.read(chosen.index))
    shape = (*scene.shape, 3) if scene.colour else scene.shape
    if pixels.size != np.prod(shape):
        raise damaged(path, ValueError(f"pixels of {pixels.shape}, its header says {shape}"))
    pixels = np.ascontiguousarray(pixels.reshape(shape), pixels.dtype.newbyteorder("="))
    return Image(
        pixels,
        _geometry(scene, spatial_dims),
        path,
        colour=scene.colour,
        over_time=scene.depth == "T" and spatial_dims == 3,
        channel=name,
    )


def _geometry(scene: Scene, spatial_dims: int) -> Geometry:
    flat = Geometry.flat(*scene.shape)
    return Geometry(flat.size, scene.spacing_mm(spatial_dims), flat.origin, flat.direction)


def _chosen(path: Path, choices: list[Choice], channel: str) -> Choice:
    """Return the channel asked for, of which only the scene matters; else the first."""
    if not channel or len(choices) == 1:
        return choices[0]
    return choices[choose_channel(path.name, [choice.name for choice in choices], channel)]


def _ending(path: Path) -> str:
    name = path.name.lower()
    return max((end for end in MICROSCOPY_EXTENSIONS if name.endswith(end)), key=len)


@contextmanager
def _choices(path: Path) -> Iterator[list[Choice]]:
    """Yield all channels of all scenes; what a library says of a damaged file is one line.

    Raises:
        InputError: damaged, without an image, of too many scenes, or its library is missing.
    """
    scenes_in: Callable[[Path], Any] = import_module(_READERS[_ending(path)]).scenes_in
    try:
        with scenes_in(path) as scenes:
            if not scenes:
                raise InputError(f"{path.name}: holds no image; export it again")
            if len(scenes) > MOST_SCENES:
                raise InputError(
                    f"{path.name}: holds {len(scenes)} scenes, at most {MOST_SCENES} are read; "
                    f"export it in parts"
                )
            yield choices_of(scenes)
    except (InputError, MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno is None:  # of a library, not of the system
            raise damaged(path, error) from None
        raise
    except Exception as error:  # each library has errors of its own
        raise damaged(path, error) from None
