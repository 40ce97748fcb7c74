"""The images of an archive: which id each has, and its file in the cache.

A series of one instance is one image, and so is a series of slices with positions in the patient.
Its id is the SeriesInstanceUID, which viewers send. In any other series (frames and loops of one
ultrasound study, views of mammography) each instance is an image; its id is the SOPInstanceUID.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from lib.dicom.header import tag_value
from lib.dicom.series import order_slices, read_series
from lib.errors import InputError
from lib.io.volumes import write_volume
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.dicomweb import Archive, Series

logger = logging.getLogger(__name__)

MODALITIES = ("CT", "MR", "US", "MG")
_ALWAYS_VOLUMES = ("CT", "MR")
_IMAGES, _HEADERS, _ORDER = "images", "headers", "order.json"


@dataclass(frozen=True)
class ArchiveImage:
    """One image, loop or volume.

    Attributes:
        id: SeriesInstanceUID, or SOPInstanceUID if the series holds several images.
        instance: SOPInstanceUID if it is the id, else empty.
        slices: whether the image is a volume of several instances.
    """

    id: str
    series: Series
    instance: str = ""
    slices: bool = False

    @property
    def extension(self) -> str:
        """Extension of its file: slices are joined into one file, anything else stays DICOM."""
        return ".nrrd" if self.slices else ".dcm"

    @property
    def info(self) -> dict[str, Any]:
        """What clients get to know about it."""
        facts = {name: value for name, value in self.series.facts.items() if value}
        return {**facts, "name": f"{self.id}{self.extension}"}


def images_of(archive: Archive, series: Series) -> list[ArchiveImage]:
    """Return the images of a series."""
    if series.count == 1:
        return [ArchiveImage(series.uid, series)]
    if series.modality in _ALWAYS_VOLUMES:
        return [ArchiveImage(series.uid, series, slices=True)]
    instances = archive.instances(series)
    if _one_volume(instances):
        return [ArchiveImage(series.uid, series, slices=True)]
    return [
        ArchiveImage(str(data.SOPInstanceUID), series, str(data.SOPInstanceUID))
        for data in instances
    ]


def _one_volume(instances: list[pydicom.Dataset]) -> bool:
    positions = [tuple(tag_value(data, "ImagePositionPatient") or ()) for data in instances]
    frames = [int(tag_value(data, "NumberOfFrames") or 1) for data in instances]
    return all(positions) and len(set(positions)) == len(positions) and max(frames) == 1


class ImageFiles:
    """Files of images, downloaded when they are first needed."""

    def __init__(self, archive: Archive, cache: FolderCache) -> None:
        self.archive, self.cache = archive, cache

    def path(self, image: ArchiveImage) -> Path:
        """Return the file of an image, ``<id>.dcm`` or ``<id>.nrrd``.

        Raises:
            ArchiveError: it cannot be downloaded.
            InputError: its slices do not form a volume.
        """
        # a series that grows is another volume
        key = f"{image.id}-{image.series.count if image.slices else 1}"
        folder = self.cache.get(_IMAGES, key, lambda new: self._download(image, new))
        return folder / f"{image.id}{image.extension}"

    def sources(self, image: ArchiveImage) -> list[Path]:
        """Return the DICOM files of the image in the order of its slices, slices without pixels."""
        path = self.path(image)
        if not image.slices:
            return [path]
        names = json.loads((path.parent / _HEADERS / _ORDER).read_bytes())
        return [path.parent / _HEADERS / name for name in names]

    def _download(self, image: ArchiveImage, folder: Path) -> None:
        series = image.series
        if not image.slices:
            (file, *others) = self.archive.download(
                series.study, series.uid, folder, image.instance
            )
            if others:
                raise InputError(f"series {series.uid} has grown meanwhile; ask again")
            file.rename(folder / f"{image.id}.dcm")
            return
        slices = folder / "slices"
        slices.mkdir()
        name = f"series {series.uid}"
        files = self.archive.download(series.study, series.uid, slices)
        volume = read_series(files, name)
        for note in volume.notes:
            logger.info("%s: %s", name, note)
        ordered = order_slices(files, name)
        write_volume(folder / f"{image.id}.nrrd", volume.pixels, volume.geometry)
        headers = folder / _HEADERS
        headers.mkdir()
        for file in ordered:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            pydicom.dcmwrite(headers / file.name, header, write_like_original=False)
        shutil.rmtree(slices)  # what was there twice is left
        (headers / _ORDER).write_text(json.dumps([file.name for file in ordered]))
