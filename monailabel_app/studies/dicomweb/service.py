"""A studies folder as DICOMweb: its listing, which follows the folder, and answers to requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from lib.data.versions import UNKNOWN, reader_of
from lib.errors import InputError, NotFoundError, shown
from lib.files import FileStamp, file_stamp
from lib.io.channels import channel_tables
from lib.io.shown_frames import ShownFrames
from monailabel_app.studies.dicomweb import objects
from monailabel_app.studies.dicomweb.cache import FrameCache
from monailabel_app.studies.dicomweb.images import ListedImage, Listing
from monailabel_app.studies.dicomweb.listing import list_images
from monailabel_app.studies.dicomweb.qido import matching
from monailabel_app.studies.protocol import FINAL

FRESH_SECONDS = 1.0  # that a listing is taken as true without a look at the folder
Query = Sequence[tuple[str, str]]


class Studies(Protocol):
    """What the datastore of a folder is asked for."""

    def list_images(self) -> list[str]:
        """Return the ids of all images."""

    def files(self, ids: Any) -> dict[str, Path]:
        """Return the files of images by id."""

    def patients(self) -> dict[str, str]:
        """Return the patient of each image for which one is known."""

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Return the information with a label; {} without one."""

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of a label; "" without one."""


class FolderWeb:
    """A studies folder as DICOMweb.

    Args:
        cache: of decoded frames.
    """

    def __init__(self, studies: Studies, cache: FrameCache | None = None) -> None:
        self.studies, self.cache = studies, cache or FrameCache()
        self._listing = Listing(())
        self._seen: tuple[Any, ...] = ()
        self._until = 0.0
        self._guard = threading.Lock()

    # --- what there is ---------------------------------------------------------------------------

    def listing(self) -> Listing:
        """Return the images as they are, or were a moment ago."""
        with self._guard:
            if time.monotonic() < self._until:
                return self._listing
            files = self.studies.files(self.studies.list_images())
            patients = self.studies.patients()
            seen = (
                tuple((id, _stamp(path)) for id, path in files.items()),
                tuple(patients.items()),
                tuple(map(_stamp, _channel_tables(files.values()))),
            )
            if seen != self._seen:
                self._listing, self._seen = list_images(files, patients), seen
            self._until = time.monotonic() + FRESH_SECONDS
            return self._listing

    def image_of(self, uid: str) -> str:
        """Return the id of the image that a SOPInstanceUID or a SeriesInstanceUID names.

        Raises:
            NotFoundError: no such image, or a series of several.
        """
        listing = self.listing()
        if uid in listing.instances:
            return listing.instances[uid][0].id
        images = listing.series.get(uid, [])
        if len(images) > 1:
            raise NotFoundError(
                f"series {uid} holds {len(images)} images; say which by its SOPInstanceUID"
            )
        if not images:
            raise NotFoundError(
                f"unknown image '{shown(uid)}': no instance or series of the studies folder has "
                f"this UID; open the study again"
            )
        return images[0].id

    def uids_of(self, image_id: str) -> dict[str, str]:
        """Return the UIDs of an image, of a volume those of its first slice; {} if none is."""
        image = self.listing().images.get(image_id)
        if image is None:
            return {}
        return {
            "StudyInstanceUID": image.study,
            "SeriesInstanceUID": image.series,
            "SOPInstanceUID": image.instances[0],
        }

    def channels(self, image_id: str) -> dict[str, str]:
        """Return the SeriesInstanceUID of each channel of an image by name; {} for one alone."""
        image = self.listing().images.get(image_id)
        shown = self.listing().studies[image.study] if image else []
        return {one.channel: one.series for one in shown if one.id == image_id and one.channel}

    def channel_of(self, uid: str) -> str:
        """Return the channel that a SOPInstanceUID or SeriesInstanceUID shows; "" for none."""
        listing = self.listing()
        if uid in listing.instances:
            return listing.instances[uid][0].channel
        images = listing.series.get(uid, [])
        return images[0].channel if len(images) == 1 else ""

    def labelled(self, images: Sequence[ListedImage]) -> str:
        """Return in words what of a study is labelled, by whom and when."""
        images = list({image.id: image for image in images}.values())  # one of all its channels
        told = [found for image in images if (found := self._labelled(image))]
        if not told:
            return "no label"
        when, by = max(told)
        of = f"{len(told)} of {len(images)} " if len(images) > len(told) else ""
        return f"{of}labelled by {by}, {when}" if by else f"{of}labelled, {when}"

    def _labelled(self, image: ListedImage) -> tuple[str, str] | None:
        """Return the date of an image's accepted label, and who made it."""
        file = self.studies.get_label_uri(image.id, FINAL)
        if not file:
            return None
        info = self.studies.get_label_info(image.id, FINAL)
        by = reader_of(info)
        try:
            moment = float(info.get("ts") or Path(file).stat().st_mtime)
            when = datetime.fromtimestamp(moment).strftime("%Y-%m-%d")
        except (OSError, OverflowError, TypeError, ValueError):
            when = ""
        return when, "" if by == UNKNOWN else by

    # --- searches --------------------------------------------------------------------------------

    def search(self, level: str, query: Query, study: str = "", series: str = "") -> list[Any]:
        """Return the studies, series or instances that match a query, as JSON of DICOMweb.

        Args:
            level: "studies", "series" or "instances".
            study, series: within which to search; "" for all.

        Raises:
            InputError: limit or offset is no number.
        """
        studies = self.listing().studies
        chosen = {uid: studies[uid] for uid in ([study] if study else studies) if uid in studies}
        rows = {
            "studies": self._studies_rows,
            "series": self._series_rows,
            "instances": self._instances_rows,
        }[level](chosen, series)
        return [objects.as_json(dict(row)) for row in matching(rows, query)]

    def _studies_rows(
        self, studies: Mapping[str, list[ListedImage]], series: str
    ) -> Iterator[dict[str, Any]]:
        for images in studies.values():
            yield {
                **objects.study_values(images[0], self._description(images)),
                "ModalitiesInStudy": sorted({image.facts["Modality"] for image in images}),
                "NumberOfStudyRelatedSeries": len({image.series for image in images}),
                "NumberOfStudyRelatedInstances": sum(len(image.instances) for image in images),
            }

    def _series_rows(
        self, studies: Mapping[str, list[ListedImage]], series: str
    ) -> Iterator[dict[str, Any]]:
        for images in studies.values():
            study = objects.study_values(images[0], self._description(images))
            for uid in dict.fromkeys(image.series for image in images):
                own = [image for image in images if image.series == uid]
                yield {
                    **study,
                    **objects.series_values(own[0]),
                    "NumberOfSeriesRelatedInstances": sum(len(one.instances) for one in own),
                }

    def _instances_rows(
        self, studies: Mapping[str, list[ListedImage]], series: str
    ) -> Iterator[dict[str, Any]]:
        for images in studies.values():
            for image in images:
                if series in ("", image.series):
                    for number in range(len(image.instances)):
                        yield {
                            "StudyInstanceUID": image.study,
                            **objects.series_values(image),
                            **objects.instance_values(image, number),
                        }

    def _description(self, images: Sequence[ListedImage]) -> str:
        """Return what is labelled, and what DICOM files say of their study."""
        own = images[0].facts.get("StudyDescription", "")
        return f"{self.labelled(images)}; {own}" if own else self.labelled(images)

    # --- objects ---------------------------------------------------------------------------------

    def found(self, study: str, series: str = "", instance: str = "") -> list[ListedImage]:
        """Return the images of a study, of a series of it, or that of an instance.

        Raises:
            NotFoundError: there is none.
        """
        images = [
            image
            for image in self.listing().studies.get(study, [])
            if series in ("", image.series) and (not instance or instance in image.instances)
        ]
        if not images:
            raise NotFoundError(
                f"no such study, series or instance: '{shown(instance or series or study)}'; "
                f"open the list of studies again"
            )
        return images

    def metadata(self, study: str, series: str = "", instance: str = "") -> list[Any]:
        """Return the attributes of all instances of a study or series, or of one instance.

        An image that cannot be read is left out where others can.

        Raises:
            NotFoundError: there is none.
            InputError: none can be read.
        """
        images = self.found(study, series, instance)
        description = self._description(self.listing().studies[study])
        answers: list[Any] = []
        failed: InputError | None = None
        for image in images:
            try:
                frames = None if image.is_dicom else self.frames(image)
                told = list(objects.metadata(image, description, frames))
            except InputError as error:
                failed = error
                continue
            answers += told if not instance else [told[image.instances.index(instance)]]
        if failed and not answers:
            raise failed
        return answers

    def instance(self, image: ListedImage, number: int) -> bytes:
        """Return an instance whole: a DICOM file as it is, of others an object that is made."""
        if image.is_dicom:
            return image.path.read_bytes()
        description = self._description(self.listing().studies[image.study])
        return objects.instance(image, number, description, self.frames(image))

    def frames(self, image: ListedImage) -> ShownFrames:
        """Return the frames of an image, decoded.

        Raises:
            InputError: it cannot be read.
        """
        return self.cache.get(image.path, image.channel)


def _channel_tables(files: Iterable[Path]) -> list[Path]:
    """Return where tables may lie that choose channels for files."""
    one_each = {path.parent: path for path in files}
    return [table for path in one_each.values() for table in channel_tables(path)]


def _stamp(path: Path) -> FileStamp | None:
    try:
        return file_stamp(path)
    except OSError:
        return None
