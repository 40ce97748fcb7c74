"""What the app asks of a datastore, answered from the files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from fastapi import APIRouter

from lib.data.studies import group_of
from lib.data.versions import LabelVersion
from lib.errors import NotFoundError
from lib.files import file_stamp, sha256
from lib.io.channels import CHANNELS
from lib.mammography.exams import Exam, exam_of, find_exam, group_exams
from monailabel_app.studies.dataset import dataset_zip
from monailabel_app.studies.dicomweb.routes import folder_router
from monailabel_app.studies.dicomweb.service import FolderWeb
from monailabel_app.studies.dicomweb.uids import is_uid
from monailabel_app.studies.names import check_id
from monailabel_app.studies.protocol import SCORES, StudiesProtocol


class FolderStudies(StudiesProtocol):
    """Answers for MONAI Label's local datastore and the classes that inherit from it."""

    is_local = True

    @property
    def folder(self) -> Path:
        """The folder of the images."""
        return Path(self._datastore.image_path())

    @property
    def shared_folder(self) -> Path:
        """A hidden folder beside the images."""
        return self.folder / SCORES

    def require_image(self, image_id: str) -> None:
        """Raise `NotFoundError` if there is no such image."""
        if self.get_image_uri(image_id):
            return
        check_id(image_id)
        raise NotFoundError(
            f"unknown image '{image_id}': not among the {len(self.list_images())} images of the "
            f"studies; GET /datastore/?output=all lists them"
        )

    # --- for viewers -----------------------------------------------------------------------------

    @cached_property
    def web(self) -> FolderWeb:
        """The folder as DICOMweb."""
        return FolderWeb(self)

    def router(self, reader: Callable[[], str] = lambda: "") -> APIRouter:
        """Return the routes by which viewers reach the folder."""
        return folder_router(lambda: self.web)

    def image_of(self, uid: str) -> str:
        """Return the id of the image that an id, a SOPInstanceUID or SeriesInstanceUID names."""
        if is_uid(uid) and not self.get_image_uri(uid):
            return self.web.image_of(uid)
        self.require_image(uid)
        return uid

    def uids_of(self, image_id: str) -> dict[str, str]:
        """Return the UIDs by which viewers find an image, of a volume those of its first slice."""
        return self.web.uids_of(image_id)

    def study_images(self, image_id: str) -> list[str]:
        """Return the ids of the images of an image's study, sorted; its own is among them."""
        self.require_image(image_id)
        listing = self.web.listing()
        if (image := listing.images.get(image_id)) is None:  # it cannot be shown
            return [image_id]
        return sorted({one.id for one in listing.studies[image.study]})

    def channels(self, image_id: str) -> dict[str, str]:
        """Return the SeriesInstanceUID of each channel of an image by name; {} for one alone."""
        return self.web.channels(image_id)

    def channel_of(self, name: str) -> str:
        """Return the channel that a UID shows, of an id the one to begin with; "" for none."""
        if self.get_image_uri(name):
            return next(iter(self.web.channels(name)), "")
        return self.web.channel_of(name) if is_uid(name) else ""

    # --- files -----------------------------------------------------------------------------------

    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of images by id."""
        return {id: Path(self.get_image_uri(id)) for id in ids}

    def sources(self, image_id: str) -> list[Path]:
        """Return the image's file."""
        return [Path(self.get_image_uri(image_id))]

    def stamp(self, ids: Iterable[str]) -> str:
        """Return times and sizes of these images, their accepted label and the chosen channels."""
        files = self.files(ids)
        label = self.accepted_label(files)
        paths = [*files.values(), *([label] if label else []), self.folder / CHANNELS]
        stamps = [file_stamp(path) for path in paths if path.exists()]
        return " ".join(f"{time_ns}-{size}" for time_ns, size, _ in stamps)

    def exam_of(self, file: Path) -> Exam | None:
        """Return the exam of an image of the folder, else the exam that the file alone makes up."""
        return find_exam(self.folder, file) or exam_of(file, group_exams([file]))

    def exam_ids(self) -> dict[str, str]:
        """Return the id of the exam of each image that belongs to one."""
        files = {file: id for id, file in self.files(self.list_images()).items()}
        return {
            files[file]: exam.id
            for exam in group_exams(files, self.patients())
            for file in (*exam.views.values(), *(other for other, _ in exam.others))
        }

    def patients(self) -> dict[str, str]:
        """Return the patient of each image that ``groups.csv`` names one for."""
        return {id: group for id, group in group_of(self.folder).items() if group}

    def label_checksum(self, image_id: str, tag: str) -> str:
        """Return the SHA-256 of a label's file; empty if there is none."""
        file = self.get_label_uri(image_id, tag)
        return sha256(file) if file and Path(file).is_file() else ""

    def training_folder(self, content: str) -> Path:
        """Return the folder itself; labels of another content are left out when it is read."""
        return self.folder

    def readers_folder(self, content: str) -> Path:
        """Return the folder itself, which holds the versions of all readers."""
        return self.folder

    def label_versions(self, image_id: str) -> list[LabelVersion]:
        """Return nothing: MONAI Label's own datastores keep the last label alone."""
        self.require_image(image_id)
        return []

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Return a new ZIP file of images with accepted labels, which the caller deletes."""
        return dataset_zip(self.datalist()[: max(0, limit_cases or 0) or None], self.json())
