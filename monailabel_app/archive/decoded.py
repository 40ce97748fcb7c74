"""Frames that viewers cannot show, or that the archive does not give, made here from its files.

OHIF (3.10) shows no palette with segmented tables, and fetches the others from the archive's own
address, which a browser may not reach: palettes become RGB, in the metadata too. A palette beside
grey (supplemental, of enhanced CT and MR) leaves its volumes black: it is left out. Archives refuse
frames that they cannot take out of a file, Orthanc (1.10) those in big endian and uncompressed YBR
with shared chrominance: such are taken out here.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from lib.dicom.stored_frame import stored_frame
from lib.errors import NotFoundError
from lib.io.shown_frames import ShownFrames
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.dicomweb import Archive
from monailabel_app.studies.dicomweb.cache import FrameCache

_FRAMES = re.compile(
    r"studies/(?P<study>[0-9.]+)/series/(?P<series>[0-9.]+)/instances/(?P<instance>[0-9.]+)"
    r"/frames/(?P<frames>\d{1,6}(?:,\d{1,6})*)/?"
)
_METADATA = re.compile(r"studies/[0-9.]+(?:/series/[0-9.]+(?:/instances/[0-9.]+)?)?/metadata/?")
_SERIES, _INSTANCE = "0020000E", "00080018"
_SAMPLES, _INTERPRETATION, _PLANES = "00280002", "00280004", "00280006"
_BITS = ("00280100", "00280101", "00280102", "00280103")
_PALETTE = re.compile(r"0028(11|12)\d\d")  # descriptors and tables
_LARGEST = 1 << 26  # bytes of metadata that are looked through
_REMEMBERED = 10_000  # series

Row = dict[str, Any]  # an instance in the JSON model of DICOM


class DecodedFrames:
    """Makes frames for viewers.

    Args:
        cache: for the downloaded files.
    """

    def __init__(self, archive: Archive, cache: FolderCache) -> None:
        self.archive, self.files, self._frames = archive, cache, FrameCache()
        self._series: OrderedDict[str, frozenset[str]] = OrderedDict()  # instances with a palette
        self._guard = threading.Lock()

    def metadata(self, body: bytes) -> bytes:
        """Return metadata in which images by a palette are described as RGB, and none has one.

        Args:
            body: JSON of an archive; what is no list of instances is returned as it is.
        """
        if len(body) > _LARGEST:
            return body
        try:
            rows = json.loads(body)
            series: dict[str, list[Row]] = {}
            for row in rows:
                series.setdefault(str(_value(row, _SERIES)), []).append(row)
            for uid, own in series.items():
                self._remember(uid, own)
            shown = [_as_rgb(row) if _has_palette(row) else _without_palette(row) for row in rows]
        except (ValueError, TypeError, AttributeError):
            return body
        return json.dumps(shown).encode() if shown and shown != rows else body

    def coloured(self, path: str) -> list[bytes] | None:
        """Return the frames that a path asks for, in RGB, if they have a palette; else None.

        Raises:
            NotFoundError: the instance has no such frame.
            InputError: they cannot be decoded.
            ArchiveError: no answer.
        """
        asked = _FRAMES.fullmatch(path)
        if asked is None:
            return None
        study, series, instance = asked["study"], asked["series"], asked["instance"]
        with self._guard:
            if series not in self._series:  # shown since before a restart
                self._remember(series, self.archive.metadata(study, series))
        if instance not in self._series[series]:
            return None
        found = self._frames.get(self._file(study, series, instance))
        return [_frame(found, int(number), instance) for number in asked["frames"].split(",")]

    def stored(self, path: str) -> list[bytes] | None:
        """Return the frames that a path asks for as they are stored; None if it asks for none.

        Raises:
            NotFoundError: the instance has no such frame.
            InputError: they are compressed, or damaged.
            ArchiveError: no answer.
        """
        asked = _FRAMES.fullmatch(path)
        if asked is None:
            return None
        file = self._file(asked["study"], asked["series"], asked["instance"])
        return [stored_frame(file, int(number)) for number in asked["frames"].split(",")]

    def _file(self, study: str, series: str, instance: str) -> Path:
        folder = self.files.get(
            "viewed",
            instance,
            lambda new: self.archive.download(study, series, new, instance),
        )
        return folder / f"{instance}.dcm"

    def _remember(self, series: str, rows: list[Row]) -> frozenset[str]:
        """Return, and remember, the instances of a series that have a palette."""
        found = frozenset(str(_value(row, _INSTANCE)) for row in rows if _has_palette(row))
        self._series[series] = self._series.pop(series, frozenset()) | found
        while len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)
        return self._series[series]


def is_metadata(path: str) -> bool:
    """Tell whether a path of DICOMweb asks for metadata."""
    return bool(_METADATA.fullmatch(path))


def _has_palette(row: Row) -> bool:
    return str(_value(row, _INTERPRETATION)).strip() == "PALETTE COLOR"


def _value(row: Row, tag: str) -> Any:
    values = row.get(tag, {}).get("Value")
    return values[0] if values else None


def _as_rgb(row: Row) -> Row:
    """Return the description of an instance with a palette after its frames are decoded."""
    numbers = {_SAMPLES: 3, _PLANES: 0, **dict(zip(_BITS, (8, 8, 7, 0), strict=True))}
    return {
        **_without_palette(row),
        **{tag: {"vr": "US", "Value": [number]} for tag, number in numbers.items()},
        _INTERPRETATION: {"vr": "CS", "Value": ["RGB"]},
    }


def _without_palette(row: Row) -> Row:
    return {tag: value for tag, value in row.items() if not _PALETTE.fullmatch(tag)}


def _frame(frames: ShownFrames, number: int, instance: str) -> bytes:
    """Return a frame, from 1, row by row in little endian."""
    count = len(frames.pixels)
    if not 1 <= number <= count:
        raise NotFoundError(f"frame {number} of instance {instance}: it has frames 1 to {count}")
    frame = frames.pixels[number - 1]
    return frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()
