"""What the app asks of a datastore, answered from the files of a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lib.data.studies import group_of
from lib.data.versions import LabelVersion
from lib.errors import NotFoundError
from lib.files import file_stamp
from lib.io.channels import CHANNELS
from lib.mammography.exams import Exam, exam_of, find_exam, group_exams
from monailabel_app.studies.names import check_id
from monailabel_app.studies.protocol import StudiesProtocol


class FolderStudies(StudiesProtocol):
    """Answers for MONAI Label's local datastore and the classes that inherit from it."""

    is_local = True

    @property
    def folder(self) -> Path:
        """The folder of the images."""
        return Path(self._datastore.image_path())

    @property
    def scores_folder(self) -> Path:
        """A hidden folder beside the images."""
        return self.folder / ".scores"

    def require_image(self, image_id: str) -> None:
        """Raise `NotFoundError` if there is no such image."""
        if self.get_image_uri(image_id):
            return
        check_id(image_id)
        raise NotFoundError(
            f"unknown image '{image_id}': not among the {len(self.list_images())} images of the "
            f"studies; GET /datastore/?output=all lists them"
        )

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
