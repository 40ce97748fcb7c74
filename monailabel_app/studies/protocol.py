"""What the app asks of a datastore beyond MONAI Label's interface."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from monailabel.interfaces.datastore import Datastore

from lib.data.readable import Look, look_at, unfit_for_all
from lib.data.reader_choice import LATEST
from lib.data.versions import CLIENT, RESTORED_BY, RESTORED_FROM, LabelVersion
from lib.errors import InputError, NotFoundError
from lib.io.facts import dicom_facts
from lib.mammography.exams import Exam
from lib.tasks.image_kind import ImageKind
from lib.tasks.spec import TaskSpec

FINAL, ORIGINAL = "final", "original"  # tags of labels that a person accepted, or a model made
SCORES = ".scores"  # folder of a studies folder for scores of the images and who works on which
NAMED = 100  # unreadable images that an overview names
NOT_STORED = (
    "all that is drawn is of structures that no served task has; it is kept aside, and the image "
    "has the labels that it had; rename the segments, or serve the task that has them"
)
FOREIGN = "-foreign"  # ends the tags of labels of structures that no task has


class StudiesProtocol(Datastore):
    """A datastore of the app: a studies folder, or a DICOMweb archive.

    It is an abstract class and no `typing.Protocol`, because MONAI Label's interface is one too.

    Attributes:
        is_local: whether all images lie on this machine, so that scoring them fetches nothing.
        tasks: the served tasks; an image that none of them can answer is no sample.
        readers: whose labels a training takes; see `lib.data.reader_choice`.
    """

    is_local: bool
    tasks: Sequence[TaskSpec] = ()
    readers: str = LATEST

    @property
    @abstractmethod
    def shared_folder(self) -> Path:
        """The folder of what all servers on these studies share: scores and leases."""

    @abstractmethod
    def require_image(self, image_id: str) -> None:
        """Raise `NotFoundError` if there is no such image."""

    def image_of(self, uid: str) -> str:
        """Return the id of the image that a request names.

        Args:
            uid: an id of the datastore, or the SOPInstanceUID of an instance of the image, or the
                SeriesInstanceUID of a series that is one image.

        Raises:
            NotFoundError: no such image, or a series of several.
        """
        self.require_image(uid)
        return uid

    def uids_of(self, image_id: str) -> dict[str, str]:
        """Return the UIDs by which viewers find an image; empty where it has none.

        Returns:
            ``StudyInstanceUID``, ``SeriesInstanceUID`` and ``SOPInstanceUID``, that of a volume's
            first slice.
        """
        return {}

    def channels(self, image_id: str) -> dict[str, str]:
        """Return the SeriesInstanceUID of each channel of an image by its name or number.

        The one to begin with comes first. Empty for one channel, for colour, and in an archive.
        """
        return {}

    def channel_of(self, name: str) -> str:
        """Return the channel that a UID shows, of an id the one to begin with; "" for none."""
        return ""

    @abstractmethod
    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of images by id; an archive fetches those that are not here yet."""

    @abstractmethod
    def sources(self, image_id: str) -> list[Path]:
        """Return the files that a label of the image refers to, in the order of its slices."""

    @abstractmethod
    def stamp(self, ids: Iterable[str]) -> str:
        """Return a text that changes when a file of these images or their label changes."""

    def at_hand(self, image_id: str, exam: bool) -> bool:
        """Tell whether an answer on an image, or its exam, needs no other machine."""
        return True

    def fetch(self, image_id: str, exam: bool) -> None:
        """Bring an image, or all of its exam, onto this machine."""

    def kept_aside(self, image_id: str) -> dict[str, list[str]]:
        """Return the names of structures in labels of the image that no task has, by their tag."""
        return {}

    @abstractmethod
    def exam_of(self, file: Path) -> Exam | None:
        """Return the mammography exam of an image file; None if it belongs to none."""

    @abstractmethod
    def exam_ids(self) -> dict[str, str]:
        """Return the id of the exam of each image that belongs to one."""

    @abstractmethod
    def study_images(self, image_id: str) -> list[str]:
        """Return the ids of the images of an image's study, sorted; its own is among them.

        Raises:
            NotFoundError: no such image.
        """

    @abstractmethod
    def patients(self) -> dict[str, str]:
        """Return the patient of each image for which an importer noted one."""

    @abstractmethod
    def training_folder(self, content: str) -> Path:
        """Return a studies folder with the accepted labels of one content.

        Args:
            content: "mask" for label images, "density" for densities of exams.
        """

    @abstractmethod
    def readers_folder(self, content: str) -> Path:
        """Return a studies folder as `training_folder` does, with the versions of all readers."""

    @abstractmethod
    def label_versions(self, image_id: str) -> list[LabelVersion]:
        """Return the versions of an image's accepted label, the oldest first.

        Raises:
            NotFoundError: no such image.
        """

    def version_file(self, image_id: str, version: LabelVersion) -> Path:
        """Return the label file of a version of `label_versions`."""
        assert version.file is not None
        return version.file

    def label_version(self, image_id: str, number: int) -> LabelVersion:
        """Return one version of an image's accepted label.

        Raises:
            NotFoundError: no such image, or no such version of its label.
        """
        versions = {one.number: one for one in self.label_versions(image_id) if one.file}
        if number not in versions:
            raise NotFoundError(
                f"image '{image_id}' has no version {number} of its label; it has "
                f"{', '.join(map(str, versions)) or 'none'}"
            )
        return versions[number]

    def restore_label(self, image_id: str, number: int, by: str) -> LabelVersion:
        """Make an earlier version the accepted label again, as a new version; nothing is erased.

        Args:
            by: who does so. The reader of the new version is the one who drew it.

        Raises:
            NotFoundError: no such image, or no such version of its label.
        """
        earlier = self.label_version(image_id, number)
        info = {**earlier.info, "user": earlier.reader, CLIENT: earlier.client}
        info |= {RESTORED_BY: by, RESTORED_FROM: number}
        self.save_label(image_id, str(self.version_file(image_id, earlier)), FINAL, info)
        return self.label_versions(image_id)[-1]

    def accepted_label(self, ids: Iterable[str]) -> Path | None:
        """Return the accepted label file of the first of these images that has one."""
        for id in ids:
            if self.get_label_by_image_id(id, FINAL):
                return Path(self.get_label_uri(id, FINAL))
        return None

    def label_checksum(self, image_id: str, tag: str) -> str:
        """Return the SHA-256 of a label's file; empty if there is none, or only in an archive."""
        return ""

    def look(self, image_id: str) -> Look:
        """Return what is found in an image that is read to its end, if it was not before."""
        try:
            return look_at(self.files([image_id])[image_id], whole=True)
        except InputError as error:
            return Look(error=str(error), whole=True)

    def looks(self) -> Mapping[str, Look]:
        """Return what is known of the images, by id; by default nothing."""
        return {}

    def kinds(self) -> dict[str, ImageKind]:
        """Return the kinds of the images, by id, as far as they are known without opening more."""
        return {id: look.kind for id, look in self.looks().items()}

    def kind(self, image_id: str) -> ImageKind:
        """Return the kind of an image, whose file is opened if nothing else tells it."""
        return self.look(image_id).kind

    def modality(self, image_id: str) -> str:
        """Return the DICOM modality of an image; empty where nothing tells it."""
        return dicom_facts(self.files([image_id])[image_id])[0]

    def unreadable(self, task: TaskSpec | None = None) -> dict[str, str]:
        """Return why images cannot be answered, by id, as far as that is known.

        Args:
            task: the one that must answer them; None for any of the served tasks.
        """
        tasks = self.tasks if task is None else (task,)
        reasons = {id: unfit_for_all(look, id, tasks) for id, look in self.looks().items()}
        return {id: reason for id, reason in reasons.items() if reason}

    def counted(self, status: Mapping[str, Any], labelled: Collection[str]) -> dict[str, Any]:
        """Return an overview in which images that cannot be answered are counted apart.

        Args:
            status: of MONAI Label, with ``total`` and ``completed``.
            labelled: ids of the images with an accepted label.
        """
        unreadable = self.unreadable()
        return {
            **status,
            "total": status["total"] - len(unreadable),
            "completed": status["completed"] - len(unreadable.keys() & set(labelled)),
            "unreadable_count": len(unreadable),
            "unreadable": dict(sorted(unreadable.items())[:NAMED]),
        }

    def update_infos(self, infos: Mapping[str, dict[str, Any]], tag: str | None) -> None:
        """Merge `infos`, by image id, into the records of images, or of their labels with `tag`."""
        for id, info in infos.items():
            if tag is None:
                self.update_image_info(id, info)
            else:
                self.update_label_info(id, tag, info)

    def router(self, reader: Callable[[], str] = lambda: "") -> APIRouter:
        """Return the routes that the datastore adds to the server; by default none.

        Args:
            reader: names who asks, if densities of others are to be kept from them; see
                `monailabel_app.studies.blindness`.
        """
        return APIRouter()
