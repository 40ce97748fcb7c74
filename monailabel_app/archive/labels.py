"""Labels in the archive: segmentations and density reports, of this app and of other programs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pydicom

from lib.data.label_names import Labels, common_name
from lib.data.label_records import labelled_channel
from lib.data.structures import values_by_name
from lib.dicom.header import tag_value
from lib.dicom.objects import written_at
from lib.dicom.parse import parse_file
from lib.dicom.seg.read import read_seg, read_segments
from lib.errors import InputError
from lib.image import MAX_VOXELS
from lib.io.channels import Chooser
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.mammography.density_labels import write_density
from lib.mammography.report.read import DensityReport, read_density_report
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.dicomweb import Archive, Series
from monailabel_app.archive.images import ArchiveImage, ImageFiles
from monailabel_app.archive.private_tags import read_label_info, read_label_tag
from monailabel_app.studies.protocol import FINAL, ORIGINAL

logger = logging.getLogger(__name__)

LABEL_MODALITIES = ("SEG", "SR")
DENSITY_MODALITY = "MG"
_OBJECTS, _LABELS = "objects", "labels"

Content = Literal["mask", "density"]


@dataclass(frozen=True, kw_only=True)
class ArchivedLabel:
    """One label as it is in the archive.

    Attributes:
        uid: SOPInstanceUID.
        series: the series of the label; its study is that of the image.
        content: a mask (SEG), or the density of an exam (SR).
        tag: final, original ...
        from_this_app: whether this app wrote it.
        when: time of writing.
        references: UIDs of the series and instances that it is about.
        info: information that the client sent with it.
        author: name of the person who made it; empty where none is named.
    """

    uid: str
    series: Series
    content: Content
    tag: str
    from_this_app: bool
    when: datetime
    references: frozenset[str]
    info: Mapping[str, Any]
    author: str = ""

    @property
    def extension(self) -> str:
        """Extension of the label file."""
        return ".nrrd" if self.content == "mask" else ".json"

    @property
    def age(self) -> tuple[datetime, str]:
        """Key for sorting by age; the newest label is the greatest."""
        return self.when, self.uid


def read_label_object(file: Path, series: Series) -> ArchivedLabel:
    """Return the label in a SEG or SR object.

    A label of another program is final if a person made or verified it, else original.

    Raises:
        InputError: the file is damaged, or no SEG or density report.
    """
    try:
        data = parse_file(file)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{file.name}: not a DICOM file ({type(error).__name__})") from None
    tag = read_label_tag(data)
    content: Content
    if series.modality == "SR":
        report = read_density_report(data)
        content, references = "density", frozenset(report.images)
        author = report.author.person
        person = bool(author) or tag_value(data, "VerificationFlag") == "VERIFIED"
    else:
        segments = read_segments(data)
        content, references = "mask", _references(data)
        author = str(tag_value(data, "ContentCreatorName") or "")
        person = any(segment.algorithm != "AUTOMATIC" for segment in segments)
        if not references:
            raise InputError(f"{file.name}: refers to no image; store it again with references")
    return ArchivedLabel(
        uid=str(data.SOPInstanceUID),
        series=series,
        content=content,
        tag=tag or (FINAL if person else ORIGINAL),
        from_this_app=bool(tag),
        when=written_at(data),
        references=references,
        info=read_label_info(data),
        author=author,
    )


def _references(data: pydicom.Dataset) -> frozenset[str]:
    """Return the UIDs of the series and instances that a segmentation refers to."""
    found = set()
    for series in tag_value(data, "ReferencedSeriesSequence") or []:
        found.add(str(tag_value(series, "SeriesInstanceUID") or ""))
        for one in tag_value(series, "ReferencedInstanceSequence") or []:
            found.add(str(tag_value(one, "ReferencedSOPInstanceUID") or ""))
    return frozenset(found - {""})


class LabelFiles:
    """Label objects of an archive, and the label files made of them.

    Args:
        tasks: returns the structures of each task that fits an image, with their values, to read
            segmentations of other programs.
    """

    def __init__(
        self,
        archive: Archive,
        cache: FolderCache,
        images: ImageFiles,
        tasks: Callable[[ArchiveImage], Sequence[Labels]],
    ) -> None:
        self.archive, self.cache, self.images, self.tasks = archive, cache, images, tasks
        self._read: dict[tuple[str, int], tuple[ArchivedLabel, ...]] = {}
        self._damaged: dict[tuple[str, str], str] = {}

    def of_series(self, series: Iterable[Series]) -> list[ArchivedLabel]:
        """Return the labels in these series; other and damaged objects are logged once.

        Raises:
            ArchiveError: the archive does not answer.
        """
        found = {}
        for one in series:
            key = one.uid, one.count
            found[key] = self._read[key] if key in self._read else self._labels_in(one)
        self._read = found
        return [label for labels in found.values() for label in labels]

    def file(self, label: ArchivedLabel, image: ArchiveImage) -> Path | None:
        """Return the label file on the grid of its image; None, logged once, if it is damaged."""
        key = label.uid, image.id
        if key in self._damaged:
            return None
        try:
            folder = self.cache.get(
                _LABELS, f"{label.uid}-{image.id}", lambda new: self._write(label, image, new)
            )
        except InputError as error:
            self._damaged[key] = str(error)
            logger.warning(f"Label {label.uid} of '{image.id}' is left out: {error}")
            return None
        return folder / f"{image.id}{label.extension}"

    def report(self, label: ArchivedLabel) -> DensityReport:
        """Read the density report of a label."""
        return read_density_report(self._objects(label.series) / f"{label.uid}.dcm")

    def is_damaged(self, label: ArchivedLabel, image: ArchiveImage) -> bool:
        """Tell whether a label was found damaged."""
        return (label.uid, image.id) in self._damaged

    def _objects(self, series: Series) -> Path:
        return self.cache.get(
            _OBJECTS,
            f"{series.uid}-{series.count}",
            lambda new: self.archive.download(series.study, series.uid, new),
        )

    def _labels_in(self, series: Series) -> tuple[ArchivedLabel, ...]:
        found = []
        for file in sorted(self._objects(series).glob("*.dcm")):
            try:
                found.append(read_label_object(file, series))
            except InputError as error:
                # most reports are not about density
                level = logging.INFO if series.modality == "SR" else logging.WARNING
                logger.log(level, f"{series.modality} {file.stem} is no label here: {error}")
        return tuple(found)

    def _write(self, label: ArchivedLabel, image: ArchiveImage, folder: Path) -> None:
        source = self._objects(label.series) / f"{label.uid}.dcm"
        path = folder / f"{image.id}{label.extension}"
        if label.content == "density":
            report = read_density_report(source)
            answer = label.info.get("answer")
            facts = dict(answer) if isinstance(answer, dict) else {}
            facts.pop("density", None)
            facts.pop("scale", None)
            write_density(path, report.density, report.scale, **facts)
            # if the labels of an exam differ, the newest file counts
            os.utime(path, (report.when.timestamp(), report.when.timestamp()))
            return
        segments = [(one.name, one.value or one.number) for one in read_segments(source)]
        labels = None
        if label.from_this_app:
            names = common_name(segments)
        else:
            labels = values_by_name([name for name, _ in segments], self.tasks(image))
            names = common_name(tuple((labels or {}).items()))
        channel = labelled_channel(label.info)
        choose = Chooser(channel) if channel else None
        mask = read_seg(source, self.images.sources(image), labels, choose=choose)
        geometry = read_image(self.images.path(image), MAX_VOXELS, None, channel).geometry
        write_mask(path, mask, geometry, names=names)
