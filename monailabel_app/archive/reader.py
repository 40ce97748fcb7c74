"""Reading an archive through MONAI Label's interface: images, exams and labels."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from lib.data.readable import Look
from lib.data.reader_choice import LATEST
from lib.errors import NotFoundError
from lib.mammography.exams import Exam, exam_of, group_exams
from lib.tasks.spec import TaskSpec
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.catalogue import Catalogue
from monailabel_app.archive.dicomweb import Archive
from monailabel_app.archive.images import ArchiveImage, ImageFiles
from monailabel_app.archive.labels import DENSITY_MODALITY, ArchivedLabel, LabelFiles
from monailabel_app.archive.objects import fitting_tasks
from monailabel_app.archive.proxy import proxy_router
from monailabel_app.studies.names import tag_name
from monailabel_app.studies.protocol import FINAL, FOREIGN, StudiesProtocol


class ArchiveReader(StudiesProtocol):
    """Reads images, exams and labels of a DICOMweb archive.

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
        self.labels = LabelFiles(
            archive,
            cache,
            self.image_files,
            lambda image: [task.labels for task in fitting_tasks(self.tasks, image)],
        )
        self.catalogue = Catalogue(archive, self.labels)
        self._info: dict[tuple[str, str], dict[str, Any]] = {}
        self._looks: dict[tuple[str, int], Look] = {}  # by image, and length of its series
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
            f"{self.archive.url}; expected a SeriesInstanceUID of CT, MR, US or MG"
        )

    def require_image(self, image_id: str) -> None:
        """Refuse an unknown image as `image` does."""
        self.image(image_id)

    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of images by id, downloaded if they are not cached."""
        return {id: Path(self.get_image_uri(id)) for id in ids}

    def sources(self, image_id: str) -> list[Path]:
        """Return the DICOM files of an image, those of slices without their pixels."""
        return self.image_files.sources(self.image(image_id))

    def stamp(self, ids: Iterable[str]) -> str:
        """Return the UIDs of the accepted labels: the files of an archive never change."""
        infos = (self.get_label_info(id, FINAL) for id in ids)
        return " ".join(str(info.get("SOPInstanceUID") or info.get("ts", "")) for info in infos)

    def look(self, image_id: str) -> Look:
        """Return what is found in an image, downloaded and read to its end if it was not before."""
        image = self.image(image_id)
        key = image.id, image.series.count
        if key not in self._looks:
            self._looks[key] = super().look(image_id)
        return self._looks[key]

    def looks(self) -> Mapping[str, Look]:
        """Return what was found in the images that were looked at since the server started."""
        images = self.catalogue.get().images
        return {
            id: look
            for (id, count), look in list(self._looks.items())
            if id in images and images[id].series.count == count
        }

    def get_image_uri(self, image_id: str) -> str:
        """Return the file of an image, downloaded if it is not cached; "" for an unknown id."""
        try:
            image = self.image(image_id)
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
        image = self.catalogue.get().images.get(file.stem)
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

    def patients(self) -> dict[str, str]:
        """Return nothing: the DICOM files name their patients."""
        return {}

    def _views(self, image: ArchiveImage) -> list[Path]:
        """Return the files of all mammograms of the study that an image belongs to."""
        if image.series.modality != DENSITY_MODALITY:
            return []
        return [
            self.image_files.path(other)
            for other in self.catalogue.get().images.values()
            if other.series.study == image.series.study
            and other.series.modality == DENSITY_MODALITY
        ]

    def kept_aside(self, image_id: str) -> dict[str, list[str]]:
        """Return the names of structures in labels of the image that no task has, by their tag."""
        found: dict[str, list[str]] = {}
        for label in self._labels_of(image_id):
            if label.tag.endswith(FOREIGN):
                names = found.setdefault(label.tag, [])
                told = (one["name"] for one in label.info.get("label_info", ()))
                names += [name for name in told if name not in names]
        return found

    # --- labels ----------------------------------------------------------------------------------

    def _labels_of(self, image_id: str, tag: str = "") -> list[ArchivedLabel]:
        """Return the labels of an image, the newest first, without those found damaged."""
        listing = self.catalogue.get()
        image = listing.images.get(image_id)
        return [
            label
            for label in listing.labels.get(image_id, ())
            if image and (not tag or label.tag == tag) and not self.labels.is_damaged(label, image)
        ]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Return the image's id for each tag of its labels: labels have the id of their image."""
        return {label.tag: image_id for label in reversed(self._labels_of(image_id))}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Return the id of a label, which is the id of its image; "" if there is none."""
        return self.get_labels_by_image_id(image_id).get(tag_name(tag), "")

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of the newest label that can be read; "" if there is none."""
        return str(self._label_file(label_id, tag_name(label_tag)) or "")

    def _label_file(self, image_id: str, tag: str, content: str = "") -> Path | None:
        image = self.catalogue.get().images.get(image_id)
        for label in self._labels_of(image_id, tag) if image else ():
            if content in ("", label.content):
                assert image is not None
                if file := self.labels.file(label, image):
                    return file
        return None

    def get_label(self, label_id: str, label_tag: str, params: object = None) -> io.BytesIO | None:
        """Return the content of the label file."""
        uri = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Return the information on the newest label with a tag."""
        for label in self._labels_of(label_id, tag_name(label_tag)):
            return {**_info_of(label_id, label), **self._kept_info(label_id, tag_name(label_tag))}
        return {}

    def get_labeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return the ids of images with an accepted label."""
        return [id for id in self.list_images() if self._labels_of(id, FINAL)]

    def get_unlabeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return the ids of images without an accepted label."""
        return [id for id in self.list_images() if not self._labels_of(id, FINAL)]

    def _keep_info(self, id: str, tag: str, info: dict[str, Any]) -> None:
        with self._guard:
            self._info[id, tag] = {**self._info.get((id, tag), {}), **info}

    def _kept_info(self, id: str, tag: str) -> dict[str, Any]:
        return dict(self._info.get((id, tag), {}))

    # --- what the server needs ---------------------------------------------------------------

    @property
    def scores_folder(self) -> Path:
        """A folder in the cache."""
        return self.cache_folder / "scores"

    def router(self) -> APIRouter:
        """Return the routes by which viewers reach the archive."""
        return proxy_router(self.archive, self.catalogue.refresh)

    # --- overviews -------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return the number of images, and the number of labels by tag."""
        ids = self.list_images()
        tags = Counter(tag for id in ids for tag in self.get_labels_by_image_id(id))
        status = {"total": len(ids), "completed": tags.get(FINAL, 0), "label_tags": dict(tags)}
        return self.counted(status, self.get_labeled_images())

    def json(self) -> dict[str, Any]:
        """Return images and labels in the form of MONAI Label's index."""
        objects = {}
        for id, image in self.catalogue.get().images.items():
            newest = {label.tag: label for label in reversed(self._labels_of(id))}
            objects[id] = {
                "image": {"ext": image.extension, "info": self.get_image_info(id)},
                "labels": {
                    tag: {"ext": label.extension, "info": _info_of(id, label)}
                    for tag, label in newest.items()
                },
            }
        return {"name": self.name(), "description": self.description(), "objects": objects}


def _info_of(image_id: str, label: ArchivedLabel) -> dict[str, Any]:
    """Return the information on a label: that of the client, its time, and its UIDs."""
    answer = label.info.get("answer")
    return {
        **{key: value for key, value in label.info.items() if key != "answer"},
        **({"density": answer["density"]} if isinstance(answer, dict) else {}),
        "ts": int(label.when.timestamp()) if label.when.year > 1970 else 0,
        "name": f"{image_id}{label.extension}",
        "SOPInstanceUID": label.uid,
        "SeriesInstanceUID": label.series.uid,
        "StudyInstanceUID": label.series.study,
    }
