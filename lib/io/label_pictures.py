"""Pictures of labels: palettes, greys of few bits, greys stored as colours, transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.image import MAX_PIXELS, MAX_VOXELS, Geometry, check_pixel_count
from lib.io.channels import SeveralChannelsError
from lib.io.opening import bits_per_channel, check_picture_bytes, count_pages, open_picture
from lib.io.orientation import as_shown, as_stored
from lib.io.read import image_size, read_image

MOST_CHANNELS = 64
_PALETTE = ("P", "PA")
_TRANSPARENT = ("LA", "RGBA", "PA")
_PLAIN = ("1", "L", "I", "I;16", "I;16B", "I;16L")
_PHOTOMETRIC, _ORIENTATION, _SAMPLES = 262, 274, 277  # tags of TIFF
_WHITE_IS_ZERO, _UPRIGHT = 0, 1  # values of these
_STEPS = {1: 255, 2: 85, 4: 17}  # by the bits of a grey


def is_plain_picture(path: Path) -> bool:
    """Tell whether a picture holds one integer for each pixel, as any program reads it."""
    try:
        with open_picture(path) as picture:
            if picture.mode not in _PLAIN or (
                picture.mode == "L" and _grey_step(path, picture) > 1
            ):
                return False
            return picture.format != "TIFF" or _is_plain_tiff(path, picture)
    except (OSError, ValueError, SyntaxError):
        return False  # a TIFF that not even Pillow reads


def _is_plain_tiff(path: Path, picture: PillowImage.Image) -> bool:
    """Tell whether a TIFF has no bits, turns or channels that programs read differently."""
    tags = picture.tag_v2  # type: ignore[attr-defined]
    pages = count_pages(path)
    return (
        picture.mode != "1"
        and tags.get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
        and tags.get(_SAMPLES, 1) == 1
        and pages == (image_size(path)[2:] or (1,))[0]
    )


def palette_indices(path: Path, spatial_dims: int) -> np.ndarray | None:
    """Return the indices of a picture with a palette: they are the labels, whatever the colours.

    None for other pictures, and for those that `read_image` refuses with the reason.
    """
    try:
        with open_picture(as_stored(path)) as picture:
            pages = count_pages(path)
            if picture.mode not in _PALETTE or (pages > 1) != (spatial_dims == 3):
                return None
            most = MAX_VOXELS if spatial_dims == 3 else MAX_PIXELS
            check_pixel_count(path.name, (*picture.size, pages)[:spatial_dims], most)
            check_picture_bytes(path, picture, pages)
            found = []
            for page in range(pages):
                picture.seek(page)
                indices = np.asarray(picture)
                found.append(indices[..., 0] if picture.mode == "PA" else indices)
            stack = as_shown(path, np.stack(found), rows=1)
            return stack[0] if spatial_dims == 2 else stack
    except InputError:
        raise
    except Exception:
        return None


def read_drawing(path: Path, max_pixels: int, spatial_dims: int) -> tuple[np.ndarray, Geometry]:
    """Read a picture of labels; several channels, as of a one-hot label, are its last axis.

    Raises:
        InputError: unreadable, of other dimensions, or in colours.
    """
    try:
        image = read_image(path, max_pixels, spatial_dims)
    except SeveralChannelsError as error:
        if error.count > MOST_CHANNELS:  # each is a pass over the file
            raise InputError(
                f"{path.name}: a label of {error.count} channels, expected one, or up to "
                f"{MOST_CHANNELS} with a structure each; save it as one label image"
            ) from None
        channels = [
            read_image(path, max_pixels, spatial_dims, str(number + 1))
            for number in range(error.count)
        ]
        return np.stack([one.pixels for one in channels], axis=-1), channels[0].geometry
    if image.colour and not is_grey(image.pixels):
        raise coloured(path, image.pixels)
    return image.pixels, image.geometry


def is_grey(pixels: np.ndarray) -> bool:
    """Tell whether three channels are all the same: a grey picture stored as colours."""
    return pixels.shape[-1] == 3 and bool((pixels == pixels[..., :1]).all())


def coloured(path: Path, pixels: np.ndarray) -> InputError:
    """Return the error for a label file in colours."""
    colours = len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0))
    return InputError(
        f"{path.name}: a label image holds one integer per pixel, found {colours} colours, which "
        f"two objects may share; save the label map itself, or an indexed PNG, not a picture of it"
    )


def check_drawing(path: Path, label: np.ndarray) -> np.ndarray:
    """Return the values of a picture of one channel, as they are in the file.

    Raises:
        InputError: labels are hidden, as where the drawing is in the picture's transparency alone,
            or it is not clear which pixels are 0.
    """
    try:
        with open_picture(as_stored(path)) as picture:
            _refuse_white_zero(path, picture)
            if (step := _grey_step(path, picture)) > 1:
                label = label // step
            if picture.mode not in _TRANSPARENT or picture.size != label.shape[::-1]:
                return label
            alpha = as_shown(path, np.asarray(picture.getchannel("A")))
            hidden = (alpha == 0) & (label > 0)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError):
        return label  # a TIFF that Pillow cannot read has neither few bits nor transparency
    if hidden.any():
        raise InputError(
            f"{path.name}: {int(hidden.sum())} pixels with a label are fully transparent, so it is "
            f"not clear what is labelled; expected a label image without transparency; save it so"
        )
    return label


def _refuse_white_zero(path: Path, picture: PillowImage.Image) -> None:
    """Refuse a TIFF of up to 8 bits that calls white 0: half of all programs read it inverted."""
    tags = getattr(picture, "tag_v2", {})
    if picture.mode in ("1", "L") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise InputError(
            f"{path.name}: its values count down from white (MinIsWhite), so it is not clear what "
            f"is background; expected 0 for it and black (MinIsBlack); save it so"
        )


def _grey_step(path: Path, picture: PillowImage.Image) -> int:
    """Return what a value of 1 in the file is when read: greys of few bits are spread to 0..255."""
    return _STEPS.get(bits_per_channel(path, picture), 1)
