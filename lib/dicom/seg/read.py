"""DICOM Segmentation objects of any program, read as labels on the grid of their source images."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import SegmentationStorage

from lib.dicom.frames import Choose
from lib.dicom.header import tag_value
from lib.dicom.objects import input_errors_only, open_object
from lib.dicom.seg.alignment import align, source_frame
from lib.dicom.seg.frames import SegFrames
from lib.dicom.sources import Source, Sources, plane_of, read_sources
from lib.errors import InputError
from lib.isolation.calls import isolated
from lib.tasks.spec import plain

logger = logging.getLogger(__name__)

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_WHAT = "segmentation"
_VALUE = re.compile(r"Label value (\d{1,9})")
_OBJECT = re.compile(r"\s\d+$")  # of "nuclei 7"
_UNNAMED = re.compile(r"(segment|label)?\s?\d*")  # as viewers name a new segment


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The description of a segment in a segmentation.

    Attributes:
        number: of the segment in its file.
        name: its label.
        value: label value that the file keeps beside the number; None where it keeps none.
        algorithm: AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        author: name and version of the algorithm; empty for a segment drawn by hand.
    """

    number: int
    name: str
    value: int | None = None
    algorithm: str = ""
    author: str = ""


@isolated()
def read_segments(seg: str | os.PathLike[str] | pydicom.Dataset) -> tuple[Segment, ...]:
    """Return the segments of a file, sorted by number.

    Raises:
        InputError: no segmentation, damaged, or with two segments of one number.
    """
    name, data = _open(seg)
    with input_errors_only(name, _WHAT):
        return _segments(name, data)


def _files(seg: Any, sources: Any, *_: object, **__: object) -> list[Path]:
    """Return the files to read; none where sources or segmentation are in memory already."""
    given = [seg, *(sources if isinstance(sources, (list, tuple)) else [sources])]
    on_disk = all(isinstance(one, (str, os.PathLike)) for one in given)
    return [Path(one) for one in given] if on_disk else []


@isolated(_files)
def read_seg(
    seg: str | os.PathLike[str] | pydicom.Dataset,
    sources: Source | Sequence[Source] | Sources,
    labels: Mapping[str, int] | None = None,
    *,
    instances: bool = False,
    choose: Choose | None = None,
) -> np.ndarray:
    """Return a segmentation as label on the grid of its source images.

    Each frame goes to the image and frame that it refers to, else to the one in its plane. Where
    segments overlap, the higher number counts, which the log says. In FRACTIONAL ones a pixel
    belongs to the segment with the largest share, if it is a half or more.

    Args:
        seg: file or dataset: BINARY, FRACTIONAL or LABELMAP.
        sources: the images, in the order of the label; see `lib.dicom.sources.read_sources`.
        labels: name to value. Segments get their value by their names, or by their numbers where
            the viewer has named them by these, as "Segment 1". None takes the value kept in the
            file, else the number. Segments of other names are left out, which the log says.
        instances: each segment is an object of its own, as with `labels` of None.
        choose: which volume of source files of several; None takes all frames.

    Returns:
        int32 `(rows, columns)` of one frame, else `(frames, rows, columns)`, 0 is background.

    Raises:
        InputError: whatever is wrong with the file, and only that; the message names the file.
    """
    found = read_sources(sources, choose)
    name, data = _open(seg)
    with input_errors_only(name, _WHAT):
        return _read(name, data, found, None if instances else labels)


def _open(seg: str | os.PathLike[str] | pydicom.Dataset) -> tuple[str, pydicom.Dataset]:
    return open_object(seg, _WHAT, (SegmentationStorage, LABEL_MAP_STORAGE))


def _segments(name: str, data: pydicom.Dataset) -> tuple[Segment, ...]:
    segments: dict[int, Segment] = {}
    for item in tag_value(data, "SegmentSequence") or []:
        number = int(item.SegmentNumber)
        if number in segments or number < 0:
            raise InputError(
                f"{name}: segment number {number} is below 0 or there twice; expected a number of "
                f"its own for each segment; store the label again"
            )
        value = _VALUE.fullmatch(str(tag_value(item, "SegmentDescription") or "").strip())
        algorithms = tag_value(item, "SegmentationAlgorithmIdentificationSequence") or []
        version = [str(tag_value(one, "AlgorithmVersion") or "") for one in algorithms[:1]]
        segments[number] = Segment(
            number=number,
            name=str(tag_value(item, "SegmentLabel") or "").strip(),
            value=int(value[1]) if value else None,
            algorithm=str(tag_value(item, "SegmentAlgorithmType") or ""),
            author=" ".join([str(tag_value(item, "SegmentAlgorithmName") or ""), *version]).strip(),
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
    drawn: set[int] = set()
    twice = 0
    for index in frames.by_segment:
        numbers = frames.numbers(index)
        shares = [(number, frames.share(index, number)) for number in numbers]
        shares = [(number, found) for number, found in shares if found.any()]
        if not shares:
            continue
        drawn |= {number for number, _ in shares}
        target = source_frame(name, data, index, sources)
        for number, found in shares:
            aligned = align(name, found, plane_of(data, index), sources, target)
            if (value := values.get(number)) is None:
                continue
            wins = (aligned > 0) & (aligned >= share[target])
            other = (label[target] > 0) & (label[target] != value)
            twice += int((wins & other & (aligned == share[target])).sum())
            label[target][wins] = value
            share[target][wins] = aligned[wins]
    if not drawn:
        _check_images(name, data, sources)
    if unknown := {number for number in drawn if values.get(number) is None}:
        named = {segment.number: segment.name for segment in segments}
        shown = ", ".join(f"{number} '{named.get(number, '')}'" for number in sorted(unknown)[:8])
        expected = ", ".join(labels or {}) or "described segments"
        if unknown == drawn:
            raise InputError(
                f"{name}: segments {shown} are no label of this task, expected {expected}; rename "
                f"or remove them"
            )
        logger.warning(f"{name}: segments {shown} are left out, as they are none of {expected}")
    if twice:
        logger.warning(
            f"{name}: {twice} pixels lie in two segments alike; those of the higher number count"
        )
    return label.reshape(sources.shape)


def _check_images(name: str, data: pydicom.Dataset, sources: Sources) -> None:
    """Refuse an empty segmentation of other images: it does not mean that these show nothing."""
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
    if all(_UNNAMED.fullmatch(plain(one.name)) for one in segments):
        return {
            one.number: one.number if one.number in labels.values() else None for one in segments
        }
    return found
