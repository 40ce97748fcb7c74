"""What a TIFF tells of its axes and channels: OME-TIFF, ImageJ, tifffile's own, and plain tags.

The letters of axes are tifffile's: Z slices, T time, C channels, Y rows, X columns, S samples of a
pixel; I and Q are pages of which nothing is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from lib.errors import InputError
from lib.io.channels import ALPHA, RGB
from lib.io.opening import count_pages, open_picture

if TYPE_CHECKING:
    import tifffile

UNTOLD = "I"
_SAMPLES, _EXTRA_SAMPLES, _DESCRIPTION, _PHOTOMETRIC = 277, 338, 270, 262  # tags
_PLANES = 284  # PlanarConfiguration: 1 for the samples of a pixel together
_ALPHA = (1, 2)  # ExtraSamples: associated, unassociated
_RGB = 2
_COLOURS = {_RGB: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}  # samples, by PhotometricInterpretation
_TELLS_AXES = re.compile(r'OME|ImageJ|"axes"|"truncated"')
_MOST_TOLD = 1_000_000  # planes, of which most may lie in other files
_PLANE = re.compile(r"^(?:[czt]:\d+/\d+\s*)+-?\s*", re.IGNORECASE)  # as in "c:1/3 z:1/5 - DAPI"


@dataclass(frozen=True, kw_only=True)
class TiffLayout:
    """The axes of the pixels of a TIFF.

    Attributes:
        axes: a letter for each axis longer than 1, in the order of the file; all pages of which
            nothing is told are one axis "I".
        shape: the length of each.
        channel: letter of the axis of channels; empty for one channel, and for colour.
        names: of the channels, each empty where the file tells none; of the one channel, if one is
            asked for.
        samples: samples of a pixel that are read where these are no channels: 1, or 3 for colour.
    """

    axes: str
    shape: tuple[int, ...]
    channel: str = ""
    names: tuple[str, ...] = ()
    samples: int = 1

    @property
    def depth(self) -> str:
        """The axes that become the slices of a volume or the frames of a loop."""
        return "".join(axis for axis in self.axes if axis not in "YXS" and axis != self.channel)

    @property
    def size(self) -> tuple[int, ...]:
        """The size without channels, x first."""
        return tuple(self.shape[self.axes.index(axis)] for axis in "XY" + self.depth[::-1])


def tiff_layout(path: Path, asked: str = "") -> TiffLayout | None:
    """Return what a TIFF tells of its axes; None for one plain picture, and a damaged file.

    Args:
        asked: the channel asked for. By a number pages of which nothing is told are channels, by
            a number or a name so are the samples of colour with alpha.

    Raises:
        InputError: axes that are no image, volume or loop; or planes that lie in other files.
    """
    if _is_plain(path, bool(asked)):
        return None
    count_pages(path)
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            if tiff.is_ome:
                _check_ome(path.name, tiff.ome_metadata or "")
            return _layout(path, tiff, asked.strip().lower())
    except InputError:
        raise
    except Exception:
        return None  # the reader of pictures says what is wrong


def _check_ome(name: str, text: str) -> None:
    """Refuse OME-XML that tells of far more planes than there are: tifffile lists each of them."""
    for element in ElementTree.fromstring(text).iter():
        tag = element.tag.rpartition("}")[2]
        planes = 0.0
        if tag == "Pixels":
            planes = math.prod(max(int(element.get(f"Size{axis}", 1)), 1) for axis in "CTZ")
        elif tag.startswith("ModuloAlong"):
            start, end, step = (float(element.get(key, 1)) for key in ("Start", "End", "Step"))
            planes = (end - start) / step
        if not planes <= _MOST_TOLD:
            raise InputError(
                f"{name}: tells of {planes:.0f} planes, at most {_MOST_TOLD} are accepted; export "
                f"it in parts"
            )


def _is_plain(path: Path, asked: bool) -> bool:
    """Tell whether a TIFF has one page of grey, palette or colour, with alpha only by its tag."""
    try:
        with open_picture(path) as picture:
            tags = picture.tag_v2  # type: ignore[attr-defined]
    except Exception:
        return False
    base, extra = _samples(tags.get(_SAMPLES, 1), tags.get(_PHOTOMETRIC, 1))
    marked = tags.get(_EXTRA_SAMPLES, ())
    kinds = (marked if isinstance(marked, tuple) else (marked,))[:extra]
    opaque = extra == 0 or (not asked and _is_alpha(kinds) and tags.get(_PLANES, 1) == 1)
    return (
        count_pages(path) == 1
        and opaque
        and not _TELLS_AXES.search(str(tags.get(_DESCRIPTION, "")))
    )


def _samples(samples: int, photometric: int) -> tuple[int, int]:
    """Return the number of samples that are grey or colour, and that of further ones."""
    base = _COLOURS.get(photometric, 1)
    return (base, samples - base) if samples >= base else (samples, 0)


def _layout(path: Path, tiff: tifffile.TiffFile, asked: str) -> TiffLayout | None:
    first = tiff.series[0]
    axes, shape = first.axes, first.shape
    if len(tiff.series) > 1:
        if first.kind == "ome":
            raise InputError(
                f"{path.name}: holds {len(tiff.series)} images, expected one; save each as its "
                f"own file"
            )
        if axes != "YX" or any(series.shape != shape for series in tiff.series):
            return None  # the reader of pictures says how its pages differ
        axes, shape = UNTOLD + axes, (len(tiff.series), *shape)
    long = [n for n, axis in enumerate(axes) if shape[n] > 1 or axis in "YX"]
    axes, shape = _joined("".join(axes[n] for n in long), tuple(shape[n] for n in long))
    if (
        set(axes) - set("TZCYXS" + UNTOLD)
        or len(set(axes)) < len(axes)
        or not set("YX") <= set(axes)
    ):
        raise InputError(
            f"{path.name}: axes {axes} of {' x '.join(map(str, shape))}, expected rows and columns "
            f"with slices, frames or channels; export one image, volume or loop"
        )
    told = int((tiff.imagej_metadata or {}).get("images", 1)) if tiff.is_imagej else 1
    planes = math.prod(n for axis, n in zip(axes, shape, strict=True) if axis not in "YXS")
    if told > max(planes, len(tiff.pages)):
        raise InputError(
            f"{path.name}: tells of {told} planes, found {planes}; it is truncated, copy it again"
        )
    page = first.keyframe
    base, extra = _samples(page.samplesperpixel, int(page.photometric))
    alpha = _is_alpha(page.extrasamples)
    names, channel, samples = _sample_names(page), "", 3 if base >= 3 else 1
    if "C" in axes:
        channel = "C"
    elif "S" in axes and (
        extra > alpha or extra and (asked.isdecimal() or asked and asked in names)
    ):
        channel, samples = "S", 1
    elif asked.isdecimal() and UNTOLD in axes:
        channel = UNTOLD
    if channel == "C" and "S" in axes and extra > alpha:
        raise InputError(
            f"{path.name}: has channels of {base + extra} samples each, expected grey or colour; "
            f"export each channel as a page of its own"
        )
    if channel != "S":
        count = shape[axes.index(channel)] if channel else 0
        if channel == "C" or asked and "S" not in axes:
            names = _told_names(tiff, count or 1) or ("",) * count
        else:
            names = ("",) * count
    return TiffLayout(axes=axes, shape=shape, channel=channel, names=names, samples=samples)


def _joined(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape with the leading pages of which nothing is told as one axis."""
    count = len(axes) - len(axes.lstrip("IQ"))
    if not count:
        return axes, shape
    return UNTOLD + axes[count:], (math.prod(shape[:count]), *shape[count:])


def _sample_names(page: Any) -> tuple[str, ...]:
    """Return the names of samples of a pixel: those of colours and alpha."""
    base, extra = _samples(page.samplesperpixel, int(page.photometric))
    first = RGB if int(page.photometric) == _RGB else ("",) * base
    marked = [kind in _ALPHA for kind in (*map(int, page.extrasamples), *[0] * extra)][:extra]
    return (*first, *(ALPHA if alpha and sum(marked) == 1 else "" for alpha in marked))


def _is_alpha(extra: Sequence[int]) -> bool:
    """Tell whether the samples beyond grey or colour, by their ExtraSamples, are alpha and no more.

    A pixel has one alpha: several samples that are all marked so are channels.
    """
    return len(extra) == 1 and int(extra[0]) in _ALPHA


def _told_names(tiff: tifffile.TiffFile, count: int) -> tuple[str, ...]:
    """Return the names of channels in the metadata; none unless there is one for each."""
    if tiff.is_ome:
        names = _ome_names(tiff.ome_metadata or "")
    elif tiff.is_imagej:
        labels = (tiff.imagej_metadata or {}).get("Labels") or ()
        labels = [labels] if isinstance(labels, str) else labels
        names = [_PLANE.sub("", str(label)) for label in labels[:count]]
        if len(set(names)) < len(names):  # such as the name of the file for each plane
            return ()
    else:
        told: Any = (tiff.shaped_metadata or ({},))[0]
        channel = told.get("Channel")
        of_ome = channel.get("Name") if isinstance(channel, dict) else None
        names = of_ome or told.get("channel_names") or told.get("Labels") or told.get("channels")
    if not isinstance(names, (list, tuple)) or len(names) != count:
        return ()
    return tuple(str(name or "") for name in names)


def _ome_names(text: str) -> list[str]:
    """Return the names of the channels of the first image of OME-XML."""
    image = next(ElementTree.fromstring(text).iterfind("{*}Image"), None)
    channels = [] if image is None else image.iterfind("{*}Pixels/{*}Channel")
    return [channel.get("Name") or channel.get("Fluor") or "" for channel in channels]
