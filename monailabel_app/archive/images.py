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
from lib.dicom.parse import parse_file
from lib.dicom.series import order_slices, read_series
from lib.errors import InputError
from lib.io.volumes import write_volume
from lib.tasks.image_kind import MAMMOGRAPHY, PICTURES, SCANS, ULTRASOUND, ImageKind
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.dicomweb import Archive, Series

logger = logging.getLogger(__name__)

# What holds pixels that can be labelled; doses, documents and waveforms do not. Those without a
# modality are what a converter made.
MODALITIES = frozenset(
    (*SCANS, *ULTRASOUND, *MAMMOGRAPHY, *PICTURES, "")
    + ("CR", "DX", "XA", "RF", "RG", "NM", "IO", "PX", "TG")  # X-ray and nuclear medicine
    + ("ES", "OP", "OPT", "OCT", "IVOCT", "DMS")  # endoscopes, the eye, vessels, the skin
)
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

    def kind(self, found: ImageKind | None = None) -> ImageKind:
        """Return what the archive lists of it, and the dimensions found in its file.

        A mammogram that was not looked at counts as one: few are tomosynthesis.
        """
        known = "" if found is None else found.dimensions
        dimensions = "3d" if self.slices else known
        if not dimensions and self.series.modality in MAMMOGRAPHY:
            dimensions = "mammogram"
        return ImageKind(self.series.modality, dimensions)


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

    def is_cached(self, image: ArchiveImage) -> bool:
        """Tell whether `path` needs no archive."""
        return self.cache.has(_IMAGES, _key(image))

    def path(self, image: ArchiveImage) -> Path:
        """Return the file of an image, ``<id>.dcm`` or ``<id>.nrrd``.

        Raises:
            ArchiveError: it cannot be downloaded.
            InputError: its slices do not form a volume.
        """
        folder = self.cache.get(_IMAGES, _key(image), lambda new: self._download(image, new))
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
            header = parse_file(file, header_only=True)
            pydicom.dcmwrite(headers / file.name, header, enforce_file_format=True)
        shutil.rmtree(slices)  # what was there twice is left
        (headers / _ORDER).write_text(json.dumps([file.name for file in ordered]))


def _key(image: ArchiveImage) -> str:
    # a series that grows is another volume
    return f"{image.id}-{image.series.count if image.slices else 1}"
