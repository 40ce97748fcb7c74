"""Pictures and TIFF stacks, read by Pillow, or by tifffile where Pillow loses bits or fails."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.files import write_atomically
from lib.image import (
    MAX_BYTES,
    MAX_PICTURE_BYTES,
    TIFF_EXTENSIONS,
    check_decoded_bytes,
    check_pixel_count,
    damaged,
    has_extension,
    not_a_volume,
)
from lib.io.axes import tiff_layout
from lib.io.opening import (
    bits_per_channel,
    check_inflated,
    check_picture_bytes,
    count_pages,
    open_picture,
)
from lib.io.orientation import as_shown, as_stored

# both readers warn of what they find in damaged files; the error says it in one line
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
PillowImage.MAX_IMAGE_PIXELS = None  # sizes are checked here, against a limit that errors can state

_WIDTH, _LENGTH, _COMPRESSION, _SAMPLE_FORMAT = 256, 257, 259, 339  # tags of a TIFF
_PNG_GREY_ALPHA, _PNG_RGBA = 4, 6  # colour types in the header
_COLOUR_MODES = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}


def read_picture(path: Path, max_pixels: int) -> np.ndarray:
    """Read a picture of one page, `(rows, columns)` or `(rows, columns, channels)`.

    Raises:
        InputError: damaged, of several pages, or larger than `max_pixels`.
    """
    try:
        with open_picture(as_stored(path)) as picture:
            check_pixel_count(path.name, picture.size, max_pixels)
            check_picture_bytes(path, picture)
            frames = _page_count(path, picture)
            if frames > 1:
                raise InputError(
                    f"{path.name}: holds {frames} pages, expected one 2D image; save the page to "
                    f"annotate as its own file"
                )
            return as_shown(path, _decode(path, picture))
    except (InputError, ImportError):
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        return as_shown(path, _read_by_tifffile(path, error, max_pixels, 1)[0])


def read_stack(path: Path, max_pixels: int) -> np.ndarray:
    """Read a TIFF of several pages, `(slices, rows, columns)` or `(..., channels)`.

    Raises:
        InputError: damaged, of one page, of different pages, or of more than `max_pixels` voxels.
    """
    if not has_extension(path, TIFF_EXTENSIONS):
        raise not_a_volume(path, "a 2D picture")
    size = picture_size(path)
    if len(size) == 2:
        raise not_a_volume(path, "a TIFF of one page")
    check_pixel_count(path.name, size, max_pixels)
    stack: np.ndarray | None = None
    try:
        with open_picture(as_stored(path)) as picture:
            for page in range(size[2]):
                picture.seek(page)
                check_pixel_count(path.name, picture.size, max_pixels)
                check_picture_bytes(path, picture, size[2])
                pixels = _decode(path, picture, page)
                if stack is None:
                    stack = np.empty((size[2], *pixels.shape), pixels.dtype)
                _check_alike(path, page, pixels, stack[0])
                stack[page] = pixels
    except (InputError, ImportError):
        raise
    except Exception as error:
        stack = _read_by_tifffile(path, error, max_pixels, size[2])
    assert stack is not None
    return as_shown(path, stack, rows=1)


def picture_size(path: Path, channel: str = "") -> tuple[int, ...]:
    """Return columns and rows from the header alone; of a TIFF also slices, frames or pages.

    Args:
        channel: the one asked for, see `lib.io.axes.tiff_layout`; channels are no part of the size.

    Raises:
        InputError: damaged.
    """
    tiff = has_extension(path, TIFF_EXTENSIONS)
    if tiff and (layout := tiff_layout(path, channel)):
        return layout.size
    try:
        with open_picture(path) as picture:
            tags = getattr(picture, "tag_v2", None)  # Pillow's own size is that of the turned image
            size = [int(tags[_WIDTH]), int(tags[_LENGTH])] if tags else list(picture.size)
            pages = count_pages(path) if tiff else 1
    except InputError:
        raise
    except Exception as error:
        *size, pages = _size_by_tifffile(path, error)
    return (*size, pages) if pages > 1 else tuple(size)


def save_picture(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as a picture whose type is that of the suffix; whole or not at all."""
    suffix = PillowImage.registered_extensions()[path.suffix.lower()]
    return write_atomically(
        path, lambda file: PillowImage.fromarray(pixels).save(file, format=suffix)
    )


def _page_count(path: Path, picture: PillowImage.Image) -> int:
    """Return the number of pages of a TIFF, or of pictures in another file."""
    if picture.format == "TIFF":  # Pillow takes seconds to count thousands
        return count_pages(path)
    return int(getattr(picture, "n_frames", 1))


def _decode(path: Path, picture: PillowImage.Image, page: int = 0) -> np.ndarray:
    """Return the pixels of the current page of `picture`.

    Args:
        page: number of that page, from 0.
    """
    wide = bits_per_channel(path, picture) > 8
    _refuse_misread(picture, wide)
    picture.load()
    if wide and picture.mode in ("RGB", "RGBA"):  # Pillow keeps the upper 8 bits only
        return _read_wide_colour(path, picture, page)
    if picture.mode in _COLOUR_MODES:
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L"))
    if picture.mode == "1":
        return np.asarray(picture.convert("L"))
    return np.asarray(picture)


def _refuse_misread(picture: PillowImage.Image, wide: bool) -> None:
    """Raise `ValueError` for numbers of a TIFF that Pillow misreads, so that tifffile reads them.

    Pillow takes signed numbers of 8 bits for unsigned ones, and swaps the bytes of compressed
    big-endian signed and real numbers twice.
    """
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return
    swapped = tags.prefix == b"MM" and tags.get(_COMPRESSION, 1) != 1
    sample_format = tags.get(_SAMPLE_FORMAT, (1,))[0]
    if sample_format in (2, 3) and wide and swapped or sample_format == 2 and not wide:
        raise ValueError("its numbers are signed or real, and stored in a way that is not read")


def _read_wide_colour(path: Path, picture: PillowImage.Image, page: int) -> np.ndarray:
    """Read 16-bit colour, or grey with alpha, without loss."""
    if picture.format == "TIFF":
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            pixels = tiff.asarray(key=page)
        planar = pixels.ndim == 3 and pixels.shape[1:] == picture.size[::-1]
        return np.moveaxis(pixels, 0, 2) if planar else pixels
    content = bytearray(path.read_bytes())
    if picture.format == "PNG" and content[25] == _PNG_GREY_ALPHA:
        # no reader keeps all 16 bits; two 16-bit channels are stored as four of 8 bits would be
        content[24:26] = 8, _PNG_RGBA
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        with open_picture(io.BytesIO(content)) as octets:
            high, low = np.moveaxis(np.asarray(octets), 2, 0)[:2].astype(np.uint16)
        return high << 8 | low
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _read_by_tifffile(path: Path, error: Exception, max_pixels: int, pages: int) -> np.ndarray:
    """Return all pages of a TIFF that Pillow cannot read (64-bit floats, planes of floats).

    Args:
        error: that of Pillow; reported where tifffile fails too.
    """
    *size, found = _size_by_tifffile(path, error)
    if found != pages:
        raise damaged(path, error)
    check_pixel_count(path.name, (*size, pages) if pages > 1 else size, max_pixels)
    try:
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            first = tiff.pages.first
            shape, most = ((*size, pages), MAX_BYTES) if pages > 1 else (size, MAX_PICTURE_BYTES)
            check_decoded_bytes(path.name, shape, first.dtype.itemsize, first.samplesperpixel, most)
            stack = []
            for page in list(tiff.pages)[:pages]:
                check_inflated(path, page)
                stack.append(page.asarray())
    except InputError:
        raise
    except Exception:
        raise damaged(path, error) from None  # the error of Pillow says more
    for number, page in enumerate(stack):
        _check_alike(path, number, page, stack[0])
    return np.stack(stack)


def _size_by_tifffile(path: Path, error: Exception) -> tuple[int, int, int]:
    """Return columns, rows and pages of a TIFF that Pillow refused with `error`."""
    if has_extension(path, TIFF_EXTENSIONS):
        import tifffile

        try:
            with tifffile.TiffFile(path) as tiff:
                first = tiff.pages[0]
                return int(first.imagewidth), int(first.imagelength), count_pages(path)
        except InputError:
            raise
        except Exception:
            pass  # the error of Pillow says more
    raise damaged(path, error)


def _check_alike(path: Path, page: int, pixels: np.ndarray, first: np.ndarray) -> None:
    if pixels.shape != first.shape or pixels.dtype != first.dtype:
        raise InputError(
            f"{path.name}: page {page + 1} holds {pixels.dtype} of shape {pixels.shape}, the first "
            f"{first.dtype} of {first.shape}; expected pages of one size and type; export it again"
        )
