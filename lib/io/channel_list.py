"""Which channels an image has to choose from, from its header alone: what viewers offer."""

from __future__ import annotations

import os
from pathlib import Path

from lib.errors import InputError
from lib.image import MICROSCOPY_EXTENSIONS, PICTURE_EXTENSIONS, VOLUME_EXTENSIONS, has_extension
from lib.io.channels import choose_channel
from lib.io.read import default_channel, image_files
from lib.isolation.calls import isolated


@isolated(image_files, remember=True)
def image_channels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return by what each channel of an image is chosen, in the order of the file.

    That is its name, or its number from 1 where it has no name of its own. Empty for grey and
    colour, and for DICOM, whose frames viewers show one by one.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(path)
    if has_extension(path, PICTURE_EXTENSIONS):
        from lib.io.planes import picture_channels

        return picture_channels(path, default_channel(path))
    if has_extension(path, VOLUME_EXTENSIONS):
        from lib.io.components import volume_channels

        return volume_channels(path, default_channel(path))
    if has_extension(path, MICROSCOPY_EXTENSIONS):
        from lib.io.microscopy import microscopy_channels

        return microscopy_channels(path)
    return ()


def first_channel(path: Path, channels: tuple[str, ...]) -> int:
    """Return the index of the channel that ``channels.csv`` chooses for an image, else 0."""
    try:
        return choose_channel(path.name, channels, default_channel(path))
    except InputError:
        return 0
