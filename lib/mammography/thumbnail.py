"""Small pictures of mammograms, for lists and for a first look."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.io.read import image_files
from lib.isolation.calls import isolated
from lib.mammography.mammogram import read_mammogram

_QUALITY = 88


@isolated(image_files)
def thumbnail(path: Path, side: int) -> bytes:
    """Return a mammogram as a grey JPEG, dense tissue bright; small ones keep their size.

    Args:
        side: the longer one of the picture at most, pixels.

    Raises:
        InputError: as `lib.mammography.mammogram.read_mammogram` refuses.
    """
    pixels = read_mammogram(path).pixels
    picture = PillowImage.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    picture.thumbnail((side, side), PillowImage.Resampling.BOX)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()
