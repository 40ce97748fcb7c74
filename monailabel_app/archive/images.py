"""What of an archive is an image, by which id, and its file in the cache.

A series of one instance is one image, and so is one of slices that have places in the patient:
their id is the SeriesInstanceUID, which viewers send. Of any other series (frames and loops of one
ultrasound study, views of mammography) each instance is an image, by its SOPInstanceUID.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from lib.dicom.pixels import tag_value
from lib.dicom.series import order_slices, read_series
from lib.errors import InputError
from lib.io.volumes import write_volume
from monailabel_app.archive.cache import Folders
from monailabel_app.archive.dicomweb import Archive, Series

MODALITIES = ("CT", "MR", "US", "MG")
_ALWAYS_VOLUMES = ("CT", "MR")
_IMAGES, _HEADERS, _ORDER = "images", "headers", "order.json"


@dataclass(frozen=True)
class ArchiveImage:
    """One image, loop or volume.

    Attributes:
        id: SeriesInstanceUID, or SOPInstanceUID of one of several images of a series.
        instance: SOPInstanceUID where the id is one, else empty.
        slices: whether it is a volume of several instances.
    """

    id: str
    series: Series
    instance: str = ""
    slices: bool = False

    @property
    def extension(self) -> str:
        """Of its file: a volume of slices becomes one file, all else stays as it is."""
        return ".nrrd" if self.slices else ".dcm"

    @property
    def info(self) -> dict[str, Any]:
        """What clients are told of it."""
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
    places = [tuple(tag_value(data, "ImagePositionPatient") or ()) for data in instances]
    frames = [int(tag_value(data, "NumberOfFrames") or 1) for data in instances]
    return all(places) and len(set(places)) == len(places) and max(frames) == 1


class ImageFiles:
    """Files of images, fetched when they are first needed."""

    def __init__(self, archive: Archive, folders: Folders) -> None:
        self.archive, self.folders = archive, folders

    def path(self, image: ArchiveImage) -> Path:
        """Return the file of an image, ``<id>.dcm`` or ``<id>.nrrd``.

        Raises:
            ArchiveError: it cannot be fetched.
            InputError: its slices make up no volume.
        """
        folder = self.folders.get(_IMAGES, self._key(image), lambda new: self._fetch(image, new))
        return folder / f"{image.id}{image.extension}"

    def sources(self, image: ArchiveImage) -> list[Path]:
        """Return what a label of the image refers to, in its order; slices come without pixels."""
        path = self.path(image)
        if not image.slices:
            return [path]
        names = json.loads((path.parent / _HEADERS / _ORDER).read_bytes())
        return [path.parent / _HEADERS / name for name in names]

    def _key(self, image: ArchiveImage) -> str:
        """A series that grows is another volume."""
        return f"{image.id}-{image.series.count if image.slices else 1}"

    def _fetch(self, image: ArchiveImage, folder: Path) -> None:
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
        ordered = order_slices(self.archive.download(series.study, series.uid, slices))
        volume = read_series(ordered, f"series {series.uid}")
        write_volume(folder / f"{image.id}.nrrd", volume.pixels, volume.geometry)
        headers = folder / _HEADERS
        headers.mkdir()
        for file in ordered:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            pydicom.dcmwrite(headers / file.name, header, write_like_original=False)
            file.unlink()
        slices.rmdir()
        (headers / _ORDER).write_text(json.dumps([file.name for file in ordered]))
