"""All channels of an image of which one was read, for measurements."""

from __future__ import annotations

import numpy as np

from lib.errors import InputError
from lib.image import MAX_PIXELS, MAX_VOXELS, Image
from lib.io.channels import RGB
from lib.io.microscopy import scene_of
from lib.io.read import read_image

MOST_CHANNELS = 64


def read_channels(image: Image) -> dict[str, np.ndarray]:
    """Return the pixels of every channel of an image's file, `(*spatial)` each, by name.

    The one channel of a grey image has the name "". Colour has red, green and blue. Of an image
    read in a chosen channel, the others are read from its file.

    Raises:
        InputError: a channel cannot be read any more.
    """
    if image.colour:
        return {name: image.pixels[..., n] for n, name in enumerate(RGB)}
    if not image.channel:
        return {"": image.pixels}
    most = MAX_PIXELS if image.spatial_dims == 2 else MAX_VOXELS
    names = RGB if image.channel in RGB else tuple(map(str, range(1, MOST_CHANNELS + 1)))
    found = {image.channel: image.pixels}
    ordered: dict[str, np.ndarray] = {}
    for name in names:
        try:
            one = read_image(image.path, most, image.spatial_dims, name)
        except InputError:
            break  # there is no further one
        if scene_of(one.channel) != scene_of(image.channel):
            continue  # of another image in the same file
        ordered.setdefault(one.channel or name, one.pixels)
    return ordered if image.channel in ordered else found | ordered
