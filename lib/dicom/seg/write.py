"""Labels written as DICOM Segmentation objects; values, names, frames and emptiness are kept.

highdicom describes segments, patient, study and equipment. The frames are written by hand: its
`Segmentation` refuses loops and volumes without a Frame of Reference, and multi-frame files without
functional groups; ultrasound is both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

from lib.dicom.header import tag_value
from lib.dicom.objects import (
    Author,
    Coded,
    coded,
    common_arguments,
    item,
    reference,
    stamp,
    subject,
)
from lib.dicom.seg.codes import property_of
from lib.dicom.seg.functional_groups import set_frames
from lib.dicom.sources import Source, Sources, read_sources
from lib.errors import InputError

MAX_OBJECTS = 255  # label maps of viewers hold no more, and files stay small
_VALUE_TEXT = "Label value {}"  # SegmentDescription, where value and segment number differ

_AI: Coded = ("123110", "DCM", "Artificial Intelligence")


def make_seg(
    label: np.ndarray,
    sources: Source | Sequence[Source] | Sources,
    labels: Mapping[str, int],
    author: Author,
    *,
    instances: bool = False,
    too_many: Literal["refuse", "merge"] = "refuse",
    when: datetime | None = None,
) -> Dataset:
    """Return a label as DICOM Segmentation (BINARY) over its source images.

    Every label of `labels` becomes a segment, with one empty frame where nothing of it was found.
    So an empty label is an answer, and is read back as one. Other empty frames are not stored.

    Args:
        label: `(rows, columns)` of one image, or `(frames, rows, columns)` of a loop, a volume, or
            a series in the order of `sources`. 0 is background.
        sources: the labelled images: one of one or several frames, or the slices of a series.
        author: who made the label.
        labels: name to value. With `instances`, the one name of all objects.
        instances: whether each value is an object of its own. Up to `MAX_OBJECTS` objects become a
            segment each.
        too_many: "refuse" more objects, or "merge" them into one segment, which loses their values.
        when: time of the answer; now if None.

    Raises:
        InputError: the label does not fit its sources, holds values without a name, or more objects
            than can be kept.
    """
    found = read_sources(sources)
    label = _fitting(label, found)
    if instances and too_many == "merge" and np.count_nonzero(np.unique(label)) > MAX_OBJECTS:
        label, labels, instances = label > 0, dict.fromkeys(labels, 1), False
    segments = _segments(label, labels, instances)
    seg = _empty(found, author, list(labels))
    seg.SegmentSequence = [_described(*segment, author, list(labels)) for segment in segments]
    set_frames(seg, label, segments, found)
    stamp(seg, subject(found.datasets[0]), when)
    return seg


def _fitting(label: np.ndarray, sources: Sources) -> np.ndarray:
    """Return the label as `(frames, rows, columns)`, whole numbers."""
    label = np.asarray(label)
    expected = (len(sources.frames), sources.rows, sources.columns)
    shape = label.shape if label.ndim == 3 else (1, *label.shape)
    if shape != expected:
        raise InputError(
            f"label of shape {label.shape}, its source images are {sources.shape}; label them at "
            f"their own size, one slice for each of {len(sources.frames)}"
        )
    if label.dtype.kind not in "bui":
        raise InputError(f"label of type {label.dtype}, expected whole numbers; round it first")
    if label.size and label.dtype.kind == "i" and label.min() < 0:
        raise InputError(
            f"label values from {label.min()}, expected 0 and above; correct the label"
        )
    return label.reshape(expected)


def _segments(
    label: np.ndarray, labels: Mapping[str, int], instances: bool
) -> list[tuple[str, int, int]]:
    """Return name, segment number and label value of each segment."""
    values = [int(value) for value in np.unique(label) if value]
    if not labels or (instances and len(labels) != 1):
        raise InputError(
            f"labels {dict(labels)}: expected {'one name' if instances else 'at least one name'}; "
            f"name what the label shows"
        )
    if instances:
        name = next(iter(labels))
        if len(values) > MAX_OBJECTS:
            raise InputError(
                f"{len(values)} objects of '{name}', a DICOM segmentation keeps up to "
                f"{MAX_OBJECTS} apart; store it as a label image, or merge them into one segment"
            )
        numbered = enumerate(values, start=1)
        return [(f"{name} {value}", number, value) for number, value in numbered] or [(name, 1, 1)]
    if min(labels.values()) < 1 or len(set(labels.values())) < len(labels):
        raise InputError(f"labels {dict(labels)}: expected a different value above 0 for each name")
    if unnamed := sorted(set(values) - set(labels.values())):
        raise InputError(
            f"label values {', '.join(map(str, unnamed[:8]))} have no name, expected "
            f"{', '.join(f'{value} ({name})' for name, value in labels.items())}; correct the label"
        )
    ordered = sorted(labels.items(), key=lambda item: item[1])
    return [(name, number, value) for number, (name, value) in enumerate(ordered, start=1)]


def _empty(sources: Sources, author: Author, names: Sequence[str]) -> Dataset:
    """Return a segmentation without segments and frames."""
    from highdicom.base import SOPClass

    first = sources.datasets[0]
    about = subject(first)
    arguments = common_arguments(first, author, ", ".join(names), series_step=1)
    seg: Any = SOPClass(
        study_instance_uid=about.StudyInstanceUID,
        sop_class_uid=SegmentationStorage,
        modality="SEG",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id=about.PatientID,
        patient_name=about.PatientName,
        patient_birth_date=about.PatientBirthDate,
        patient_sex=about.PatientSex,
        accession_number=about.AccessionNumber,
        study_id=about.StudyID,
        study_date=about.StudyDate,
        study_time=about.StudyTime,
        referring_physician_name=about.ReferringPhysicianName,
        **arguments,
    )
    seg.ImageType = ["DERIVED", "PRIMARY"]
    seg.SamplesPerPixel, seg.PhotometricInterpretation = 1, "MONOCHROME2"
    seg.Rows, seg.Columns = sources.rows, sources.columns
    seg.BitsAllocated = seg.BitsStored = 1
    seg.HighBit = seg.PixelRepresentation = 0
    seg.SegmentationType, seg.SegmentsOverlap = "BINARY", "NO"
    seg.ContentLabel, seg.ContentDescription = "SEGMENTATION", seg.SeriesDescription
    seg.ContentCreatorName = author.person
    _copy_compression(seg, first)
    references = [reference(data) for data in sources.datasets]
    seg.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=first.SeriesInstanceUID, ReferencedInstanceSequence=references)
    ]
    return seg


def _copy_compression(seg: Dataset, source: Dataset) -> None:
    """Copy how the images were compressed with loss, where they give it completely."""
    seg.LossyImageCompression = "00"
    details = {
        tag: tag_value(source, tag)
        for tag in ("LossyImageCompressionRatio", "LossyImageCompressionMethod")
    }
    if tag_value(source, "LossyImageCompression") == "01" and all(details.values()):
        seg.LossyImageCompression = "01"
        for tag, value in details.items():
            setattr(seg, tag, value)


def _described(
    name: str, number: int, value: int, author: Author, labels: Sequence[str]
) -> Dataset:
    """Return the item that describes a segment."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    shown = property_of(labels[0] if len(labels) == 1 else name)
    algorithm = None
    if author.model:
        algorithm = AlgorithmIdentificationSequence(
            author.model[:64], family=coded(_AI), version=(author.version or "unversioned")[:64]
        )
    segment: Any = SegmentDescription(
        number,
        name[:64],
        coded(shown.category),
        coded(shown.type),
        author.algorithm_type,
        algorithm,
        tracking_uid=generate_uid(prefix=None),
        tracking_id=name[:64],
        anatomic_regions=[coded(shown.region)] if shown.region else None,
    )
    if value != number or name not in labels:
        segment.SegmentDescription = _VALUE_TEXT.format(value)
    return segment
