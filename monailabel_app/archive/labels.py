"""Labels in the archive: segmentations and density reports, of this app and of others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pydicom

from lib.dicom.objects import written_at
from lib.dicom.pixels import tag_value
from lib.dicom.seg.read import read_seg, read_segments
from lib.errors import InputError
from lib.image import MAX_VOXELS
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.mammography.density_labels import write_density
from lib.mammography.report.read import DensityReport, read_density_report
from monailabel_app.archive.cache import Folders
from monailabel_app.archive.dicomweb import Archive, Series
from monailabel_app.archive.images import ArchiveImage, ImageFiles
from monailabel_app.archive.private_tags import info_of, tag_of
from monailabel_app.studies.protocol import FINAL, ORIGINAL

logger = logging.getLogger(__name__)

LABEL_MODALITIES = ("SEG", "SR")
DENSITY_MODALITY = "MG"
_OBJECTS, _LABELS = "objects", "labels"

Kind = Literal["mask", "density"]


@dataclass(frozen=True)
class ArchivedLabel:
    """One label as it is in the archive.

    Attributes:
        uid: of its instance.
        series: the one it is in; its study is that of the image.
        kind: a mask (SEG), or the density of an exam (SR).
        own: whether this app wrote it.
        when: it was written.
        about: UIDs of the series and instances that it is about.
        info: what the client said of it.
    """

    uid: str
    series: Series
    kind: Kind
    tag: str
    own: bool
    when: datetime
    about: frozenset[str]
    info: Mapping[str, Any]

    @property
    def extension(self) -> str:
        """Of its file."""
        return ".nrrd" if self.kind == "mask" else ".json"

    @property
    def age(self) -> tuple[datetime, str]:
        """What the newest has most of."""
        return self.when, self.uid

    def is_of(self, image: ArchiveImage) -> bool:
        """Tell whether it is a label of the image: a density counts for all views of its exam."""
        if self.kind == "density":
            series = image.series
            return series.modality == DENSITY_MODALITY and series.study == self.series.study
        if image.instance:
            return image.instance in self.about
        return image.series.uid in self.about


def read_label_object(file: Path, series: Series) -> ArchivedLabel:
    """Return what a SEG or SR says of itself.

    What others wrote is final where a person made it or looked at it, else original.

    Raises:
        InputError: damaged, or none of these.
    """
    try:
        data = pydicom.dcmread(file)
    except Exception as error:
        raise InputError(f"{file.name}: not a DICOM file ({type(error).__name__})") from None
    tag = tag_of(data)
    kind: Kind
    if series.modality == "SR":
        report = read_density_report(data)
        kind, about = "density", frozenset(report.images)
        person = bool(report.author.person) or tag_value(data, "VerificationFlag") == "VERIFIED"
    else:
        segments = read_segments(data)
        kind, about = "mask", _references(data)
        person = any(segment.algorithm != "AUTOMATIC" for segment in segments)
        if not about:
            raise InputError(f"{file.name}: tells no image that it is about; store it again")
    return ArchivedLabel(
        str(data.SOPInstanceUID),
        series,
        kind,
        tag or (FINAL if person else ORIGINAL),
        bool(tag),
        written_at(data),
        about,
        info_of(data),
    )


def _references(data: pydicom.Dataset) -> frozenset[str]:
    """Return the UIDs of the series and instances that a segmentation is about."""
    found = set()
    for series in tag_value(data, "ReferencedSeriesSequence") or []:
        found.add(str(tag_value(series, "SeriesInstanceUID") or ""))
        for one in tag_value(series, "ReferencedInstanceSequence") or []:
            found.add(str(tag_value(one, "ReferencedSOPInstanceUID") or ""))
    return frozenset(found - {""})


class LabelFiles:
    """Label objects of an archive, and label files made of them.

    Args:
        names: label values by name, of all served tasks, for what other programs wrote.
    """

    def __init__(
        self,
        archive: Archive,
        folders: Folders,
        images: ImageFiles,
        names: Callable[[ArchiveImage], Mapping[str, int]],
    ) -> None:
        self.archive, self.folders, self.images, self.names = archive, folders, images, names
        self._read: dict[tuple[str, int], tuple[ArchivedLabel, ...]] = {}
        self._bad: dict[tuple[str, str], str] = {}

    def of_series(self, series: Iterable[Series]) -> list[ArchivedLabel]:
        """Return the labels in these series; what is none, or damaged, is said once and left out.

        Raises:
            ArchiveError: the archive does not give one of them.
        """
        known = {}
        for one in series:
            key = one.uid, one.count
            known[key] = self._read[key] if key in self._read else self._labels_in(one)
        self._read = known  # what is no longer there is forgotten
        return [label for labels in known.values() for label in labels]

    def file(self, label: ArchivedLabel, image: ArchiveImage) -> Path | None:
        """Return a label as file on the grid of its image; None, said once, where it is damaged."""
        key = label.uid, image.id
        if key in self._bad:
            return None
        try:
            folder = self.folders.get(
                _LABELS, f"{label.uid}-{image.id}", lambda new: self._write(label, image, new)
            )
        except InputError as error:
            self._bad[key] = str(error)
            logger.warning(f"Label {label.uid} of '{image.id}' is left out: {error}")
            return None
        return folder / f"{image.id}{label.extension}"

    def report(self, label: ArchivedLabel) -> DensityReport:
        """Return a density report."""
        return read_density_report(self._objects(label.series) / f"{label.uid}.dcm")

    def is_bad(self, label: ArchivedLabel, image: ArchiveImage) -> bool:
        """Tell whether a label was found damaged."""
        return (label.uid, image.id) in self._bad

    def _objects(self, series: Series) -> Path:
        return self.folders.get(
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
        if label.kind == "density":
            report = read_density_report(source)
            told = label.info.get("answer")
            facts = told if isinstance(told, dict) else {}
            facts = {key: value for key, value in facts.items() if key not in ("density", "scale")}
            write_density(path, report.density, report.scale, **facts)
            # where labels of an exam differ its newest file counts
            os.utime(path, (report.when.timestamp(), report.when.timestamp()))
            return
        names = None if label.own else self.names(image)
        mask = read_seg(source, self.images.sources(image), names or None)
        geometry = read_image(self.images.path(image), MAX_VOXELS, None).geometry
        write_mask(path, mask, geometry)
