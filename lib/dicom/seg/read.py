"""DICOM Segmentation objects as labels on the grid of their source images, whoever wrote them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import SegmentationStorage

from lib.dicom.pixels import tag_value
from lib.dicom.seg.alignment import put, source_frame
from lib.dicom.seg.codes import plain
from lib.dicom.seg.frames import SegFrames
from lib.dicom.sources import Source, Sources, plane_of, read_sources
from lib.errors import InputError

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_VALUE = re.compile(r"Label value (\d{1,9})")
_OBJECT = re.compile(r"\s\d+$")  # of "nuclei 7"


@dataclass(frozen=True)
class Segment:
    """What a segmentation says of one of its segments.

    Attributes:
        number: of the segment in its file.
        name: its label.
        value: label value that the file keeps beside the number; None where it keeps none.
        algorithm: AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        author: name and version of the algorithm, empty of a segment drawn by hand.
    """

    number: int
    name: str
    value: int | None = None
    algorithm: str = ""
    author: str = ""


def read_segments(seg: str | os.PathLike[str] | pydicom.Dataset) -> tuple[Segment, ...]:
    """Return the segments of a file, by number.

    Raises:
        InputError: no segmentation, damaged, or with two segments of one number.
    """
    name, data = _open(seg)
    return _guarded(name, lambda: _segments(name, data))


def read_seg(
    seg: str | os.PathLike[str] | pydicom.Dataset,
    sources: Source | Sequence[Source] | Sources,
    labels: Mapping[str, int] | None = None,
    *,
    instances: bool = False,
) -> np.ndarray:
    """Return a segmentation as label on the grid of its source images.

    Each frame goes to the image and frame that it refers to, else to the one at its place. Where
    segments overlap the higher number counts; of FRACTIONAL ones the larger share, from a half on.

    Args:
        seg: file or dataset: BINARY, FRACTIONAL or LABELMAP.
        sources: the images, in the order wanted; see `lib.dicom.sources.read_sources`.
        labels: name to value. Segments are taken by their names, whatever their numbers; by number
            where no name is known. None: by the value kept in the file, else by number.
        instances: each segment is an object; as with `labels` of None.

    Returns:
        int32 `(rows, columns)` of one frame, else `(frames, rows, columns)`, 0 is background.

    Raises:
        InputError: whatever is wrong with the file, and only that; the message names the file.
    """
    found = read_sources(sources)
    name, data = _open(seg)
    return _guarded(name, lambda: _read(name, data, found, None if instances else labels))


def _guarded(name: str, read: Callable[[], Any]) -> Any:
    """Return what `read` returns; a file can be wrong in more ways than can be foreseen."""
    try:
        return read()
    except InputError:
        raise
    except Exception as error:
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise InputError(
            f"{name}: damaged DICOM segmentation ({type(error).__name__}: {cause[0][:160]}); store "
            f"the label again"
        ) from None


def _open(seg: str | os.PathLike[str] | pydicom.Dataset) -> tuple[str, pydicom.Dataset]:
    if isinstance(seg, pydicom.Dataset):
        name, data = str(tag_value(seg, "SOPInstanceUID") or "segmentation"), seg
    else:
        path = Path(seg)
        name = path.name
        try:
            data = pydicom.dcmread(path)
        except FileNotFoundError:
            raise InputError(f"{name}: no such file") from None
        except Exception as error:
            raise InputError(
                f"{name}: not a DICOM file ({type(error).__name__}); expected a segmentation"
            ) from None
    kind = str(tag_value(data, "SOPClassUID") or "")
    if kind not in (SegmentationStorage, LABEL_MAP_STORAGE):
        shown = pydicom.uid.UID(kind).name or "no class at all"
        raise InputError(f"{name}: {shown}, expected a DICOM segmentation; give the SEG object")
    return name, data


def _segments(name: str, data: pydicom.Dataset) -> tuple[Segment, ...]:
    segments: dict[int, Segment] = {}
    for item in tag_value(data, "SegmentSequence") or []:
        number = int(item.SegmentNumber)
        if number in segments or number < 0:
            raise InputError(
                f"{name}: segment number {number} is below 0 or there twice; expected a number of "
                f"its own for each segment; store the label again"
            )
        kept = _VALUE.fullmatch(str(tag_value(item, "SegmentDescription") or "").strip())
        identified = tag_value(item, "SegmentationAlgorithmIdentificationSequence") or []
        version = [str(tag_value(one, "AlgorithmVersion") or "") for one in identified[:1]]
        segments[number] = Segment(
            number,
            str(tag_value(item, "SegmentLabel") or "").strip(),
            int(kept[1]) if kept else None,
            str(tag_value(item, "SegmentAlgorithmType") or ""),
            " ".join([str(tag_value(item, "SegmentAlgorithmName") or ""), *version]).strip(),
        )
    if not segments:
        raise InputError(f"{name}: describes no segment; expected at least one; store it again")
    return tuple(segments[number] for number in sorted(segments))


def _read(
    name: str, data: pydicom.Dataset, sources: Sources, labels: Mapping[str, int] | None
) -> np.ndarray:
    segments = _segments(name, data)
    values = _values(segments, labels)
    frames = SegFrames(name, data)
    shape = (len(sources.frames), sources.rows, sources.columns)
    label, share = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    unknown: set[int] = set()
    empty = True
    for index in frames.by_segment:
        numbers = frames.numbers(index)
        shares = [(number, frames.share(index, number)) for number in numbers]
        shares = [(number, found) for number, found in shares if found.any()]
        if not shares:
            continue
        empty = False
        unknown |= {number for number, _ in shares if values.get(number) is None}
        target = source_frame(name, data, index, sources)
        for number, found in shares:
            placed = put(name, found, plane_of(data, index), sources, target)
            wins = (placed > 0) & (placed >= share[target])
            label[target][wins] = values.get(number) or 0
            share[target][wins] = placed[wins]
    if empty:
        _check_subject(name, data, sources)
    if unknown:
        named = {segment.number: segment.name for segment in segments}
        shown = ", ".join(f"{number} '{named.get(number, '')}'" for number in sorted(unknown)[:8])
        raise InputError(
            f"{name}: segments {shown} are no label of this task, expected "
            f"{', '.join(labels or {}) or 'described segments'}; rename or remove them"
        )
    return label.reshape(sources.shape)


def _check_subject(name: str, data: pydicom.Dataset, sources: Sources) -> None:
    """Refuse an empty segmentation of other images, which would say that there is nothing here."""
    series = {
        str(tag_value(item, "SeriesInstanceUID"))
        for item in tag_value(data, "ReferencedSeriesSequence") or []
    }
    if str(sources.datasets[0].SeriesInstanceUID) not in series:
        source_frame(name, data, 0, sources)


def _values(segments: Sequence[Segment], labels: Mapping[str, int] | None) -> dict[int, int | None]:
    """Return the label value of each segment number; None where there is no such label."""
    if labels is None:
        return {one.number: one.number if one.value is None else one.value for one in segments}
    names = {plain(name): value for name, value in labels.items()}
    found = {
        one.number: names.get(plain(one.name), names.get(_OBJECT.sub("", plain(one.name))))
        for one in segments
    }
    if all(value is None for value in found.values()):  # names of the viewer's own
        return {
            one.number: one.number if one.number in labels.values() else None for one in segments
        }
    return found
