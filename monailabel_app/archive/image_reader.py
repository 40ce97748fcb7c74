"""Reading the images of an archive through MONAI Label's interface."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.data.readable import Look
from lib.data.reader_choice import LATEST
from lib.errors import NotFoundError
from lib.mammography.exams import Exam, exam_of, group_exams
from lib.tasks.image_kind import ImageKind
from lib.tasks.spec import TaskSpec
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.catalogue import Catalogue
from monailabel_app.archive.circuit import ArchiveError
from monailabel_app.archive.decoded import DecodedFrames
from monailabel_app.archive.dicomweb import Archive, is_uid
from monailabel_app.archive.images import ArchiveImage, ImageFiles
from monailabel_app.archive.labels import DENSITY_MODALITY, LabelFiles
from monailabel_app.archive.objects import fitting_tasks
from monailabel_app.studies.protocol import StudiesProtocol

logger = logging.getLogger(__name__)

MOST_REMEMBERED = 100_000  # instances, of which each slice of a volume is one


class ArchiveImages(StudiesProtocol):
    """Reads images and exams of a DICOMweb archive.

    Args:
        cache_folder: folder for downloaded files; several processes of one machine may share it.
        limit: its size in bytes, without what trainings in progress use.
        tasks: the served tasks; they name the values of labels.
        readers: whose labels a training takes, where several readers labelled an image.
    """

    is_local = False

    def __init__(
        self,
        archive: Archive,
        cache_folder: Path,
        limit: int,
        tasks: Sequence[TaskSpec],
        readers: str = LATEST,
    ) -> None:
        self.archive, self.tasks, self.readers = archive, tuple(tasks), readers
        self.cache_folder = cache_folder
        cache = FolderCache(cache_folder / "files", limit)
        self.image_files = ImageFiles(archive, cache)
        self.decoded = DecodedFrames(archive, cache)
        self.labels = LabelFiles(
            archive,
            cache,
            self.image_files,
            lambda image: [task.labels for task in fitting_tasks(self.tasks, image)],
        )
        self.catalogue = Catalogue(archive, self.labels, cache_folder / "changed")
        self._info: dict[tuple[str, str], dict[str, Any]] = {}
        self._looks: dict[tuple[str, int], Look] = {}  # by image, and length of its series
        self._instances: dict[str, str] = {}  # image of an instance that a viewer showed
        self._first: dict[tuple[str, int], str] = {}  # by image, and length of its series
        self._guard = threading.Lock()

    # --- images ----------------------------------------------------------------------------------

    def list_images(self) -> list[str]:
        """Return the ids of all images."""
        return list(self.catalogue.get().images)

    def image(self, image_id: str) -> ArchiveImage:
        """Return an image.

        Raises:
            NotFoundError: no such image; for a series of several images the message names them.
        """
        images = self.catalogue.get().images
        if (found := images.get(image_id)) is not None:
            return found
        members = [image.id for image in images.values() if image.series.uid == image_id]
        if members:
            raise NotFoundError(
                f"series '{image_id}' holds {len(members)} images; name one by its SOPInstanceUID: "
                f"{', '.join(members[:8])}"
            )
        raise NotFoundError(
            f"unknown image '{image_id}': not among the {len(images)} images of "
            f"{self.archive.url}; expected the SeriesInstanceUID of images"
        )

    def _known(self, image_id: str) -> ArchiveImage | None:
        """Return an image of the last listing: it stays, though the archive may not answer."""
        listing = self.catalogue.last()
        return listing.images.get(image_id) if listing is not None else None

    def require_image(self, image_id: str) -> None:
        """Refuse an unknown image as `image` does."""
        if self._known(image_id) is None:
            self.image(image_id)

    def image_of(self, uid: str) -> str:
        """Return the id of the image that an id, a SOPInstanceUID or SeriesInstanceUID names."""
        for id in (uid, self._instances.get(uid, "")):
            if self._known(id) is not None:
                return id
        images = self.catalogue.get().images
        asked = is_uid(uid) and not any(image.series.uid == uid for image in images.values())
        series = self.archive.series_of(uid) if asked else ""
        for image in images.values():
            if image.series.uid == series and image.instance in ("", uid):
                self._remember(uid, image.id)
                return image.id
        return self.image(uid).id

    def uids_of(self, image_id: str) -> dict[str, str]:
        """Return the UIDs by which viewers find an image.

        That of an instance is left out where the archive does not tell it now.
        """
        image = self._known(image_id) or self.image(image_id)
        uids = {"StudyInstanceUID": image.series.study, "SeriesInstanceUID": image.series.uid}
        try:
            instance = image.instance or self._first_instance(image)
        except ArchiveError as error:
            logger.warning(f"The instances of image '{image_id}' are not known: {error}")
            return uids
        return {**uids, "SOPInstanceUID": instance} if instance else uids

    def _first_instance(self, image: ArchiveImage) -> str:
        key = image.id, image.series.count
        if key not in self._first:
            listed = self.archive.instances(image.series)
            self._first[key] = str(listed[0].SOPInstanceUID) if listed else ""
        return self._first[key]

    def _remember(self, instance: str, image_id: str) -> None:
        if len(self._instances) >= MOST_REMEMBERED:
            self._instances.clear()
        self._instances[instance] = image_id

    def at_hand(self, image_id: str, exam: bool) -> bool:
        """Tell whether the file of an image, or those of its exam, are in the cache."""
        image = self._known(image_id)
        if image is None:
            return False
        return all(map(self.image_files.is_cached, self._exam(image) if exam else [image]))

    def fetch(self, image_id: str, exam: bool) -> None:
        """Download an image, or all of its exam, where they are not in the cache.

        Raises:
            NotFoundError: no such image.
            InputError: slices do not form a volume.
            ArchiveError: something cannot be downloaded.
        """
        image = self._known(image_id) or self.image(image_id)
        for one in self._exam(image) if exam else [image]:
            self.image_files.path(one)

    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of images by id, downloaded if they are not cached."""
        return {id: Path(self.get_image_uri(id)) for id in ids}

    def sources(self, image_id: str) -> list[Path]:
        """Return the DICOM files of an image, those of slices without their pixels."""
        return self.image_files.sources(self.image(image_id))

    def look(self, image_id: str) -> Look:
        """Return what is found in an image, downloaded and read to its end if it was not before."""
        image = self.image(image_id)
        key = image.id, image.series.count
        if key not in self._looks:
            self._looks[key] = super().look(image_id)
        return self._looks[key]

    def looks(self) -> Mapping[str, Look]:
        """Return what was found in the images that were looked at since the server started."""
        listing = self.catalogue.last()
        images = listing.images if listing is not None else {}
        return {
            id: look
            for (id, count), look in list(self._looks.items())
            if id in images and images[id].series.count == count
        }

    def kinds(self) -> dict[str, ImageKind]:
        """Return the kinds of all images: what the archive lists, and what looks have found."""
        listing, looks = self.catalogue.last(), self.looks()
        images = listing.images if listing is not None else {}
        found = {id: look.kind for id, look in looks.items()}
        return {id: image.kind(found.get(id)) for id, image in images.items()}

    def kind(self, image_id: str) -> ImageKind:
        """Return the kind of an image; see `StudiesProtocol.kind`."""
        image = self._known(image_id) or self.image(image_id)
        listed = image.kind()
        return listed if listed.dimensions else image.kind(self.look(image.id).kind)

    def modality(self, image_id: str) -> str:
        """Return the modality that the archive lists for an image."""
        return (self._known(image_id) or self.image(image_id)).series.modality

    def get_image_uri(self, image_id: str) -> str:
        """Return the file of an image, downloaded if it is not cached; "" for an unknown id."""
        try:
            image = self._known(image_id) or self.image(image_id)
        except NotFoundError:
            return ""
        return str(self.image_files.path(image))

    def get_image(self, image_id: str, params: object = None) -> io.BytesIO | None:
        """Return the content of the image file."""
        uri = self.get_image_uri(image_id)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return what the archive lists on an image, and the information kept since the start."""
        found = self.catalogue.get().images.get(image_id)
        return {**found.info, **self._kept_info(image_id, "")} if found else {}

    def exam_of(self, file: Path) -> Exam | None:
        """Return the exam of a downloaded mammogram; None if the file is no mammogram."""
        image = self._known(file.stem)
        if image is None or image.series.modality != DENSITY_MODALITY:
            return exam_of(file, group_exams([file]))
        return exam_of(file, group_exams(self._views(image)))

    def exam_ids(self) -> dict[str, str]:
        """Return the StudyInstanceUID of each mammogram."""
        return {
            id: image.series.study
            for id, image in self.catalogue.get().images.items()
            if image.series.modality == DENSITY_MODALITY
        }

    def study_images(self, image_id: str) -> list[str]:
        """Return the ids of the images of an image's study, sorted; its own is among them."""
        study = self.image(image_id).series.study
        images = self.catalogue.get().images
        return sorted(id for id, image in images.items() if image.series.study == study)

    def patients(self) -> dict[str, str]:
        """Return nothing: the DICOM files name their patients."""
        return {}

    def _views(self, image: ArchiveImage) -> list[Path]:
        """Return the files of all mammograms of the study that an image belongs to."""
        if image.series.modality != DENSITY_MODALITY:
            return []
        return [self.image_files.path(view) for view in self._exam(image)]

    def _exam(self, image: ArchiveImage) -> list[ArchiveImage]:
        """Return all mammograms of the study of an image; of another kind the image alone."""
        listing = self.catalogue.last() if image.series.modality == DENSITY_MODALITY else None
        if listing is None:
            return [image]
        return [
            other
            for other in listing.images.values()
            if other.series.study == image.series.study
            and other.series.modality == DENSITY_MODALITY
        ]
