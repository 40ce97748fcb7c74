"""What is labelled at once: an image or, for tasks on exams, all views of an exam."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from monailabel.interfaces.datastore import Datastore

from lib.data.studies import group_of
from lib.files import file_stamp
from lib.kinds import kind_of
from lib.mammography.exams import Exam, group_exams
from lib.tasks.spec import TaskSpec
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.archive.labels import DENSITY_MODALITY
from monailabel_app.studies.datastore import StudiesDatastore

FINAL = "final"

Groups = dict[str, tuple[str, ...]]  # ids of images by the id of the sample


class Samples:
    """The samples of a datastore, for each task.

    For tasks on exams an image that belongs to none is a sample of its own: it can be labelled
    too.
    """

    def __init__(self, store: Datastore) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._exams: dict[str, str] = {}

    def all(self, task: TaskSpec) -> Groups:
        """Return all samples."""
        return self._grouped(task, self.store.list_images())

    def unlabelled(self, task: TaskSpec) -> Groups:
        """Return the samples without an accepted label, of any of their images."""
        ids = self.store.get_unlabeled_images()
        if not kind_of(task).by_exam:
            return {id: (id,) for id in ids}
        free = set(ids)
        return {id: own for id, own in self.all(task).items() if free.issuperset(own)}

    def _grouped(self, task: TaskSpec, ids: list[str]) -> Groups:
        if not kind_of(task).by_exam:
            return {id: (id,) for id in ids}
        groups: dict[str, list[str]] = defaultdict(list)
        exams = self._exam_of(ids)
        for id in ids:
            groups[exams.get(id, id)].append(id)
        return {id: tuple(own) for id, own in groups.items()}

    def _exam_of(self, ids: list[str]) -> Mapping[str, str]:
        """Return the exam of each image that belongs to one; found anew when images come or go."""
        with self._lock:
            if ids != self._ids:
                self._exams = self._find_exams()
                self._ids = list(ids)
            return self._exams

    def _find_exams(self) -> dict[str, str]:
        if isinstance(self.store, ArchiveDatastore):
            return {
                id: image.series.study
                for id, image in self.store.catalogue.get().images.items()
                if image.series.modality == DENSITY_MODALITY
            }
        files = {file: id for id, file in self.files(self.store.list_images()).items()}
        found = group_exams(files, self._patients())
        return {
            files[file]: exam.id
            for exam in found
            for file in (*exam.views.values(), *(other for other, _ in exam.others))
        }

    def _patients(self) -> dict[str, str]:
        """Return the patient of each image that an importer names."""
        if not isinstance(self.store, StudiesDatastore):
            return {}
        return {id: group for id, group in group_of(self.store.folder).items() if group}

    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of images; of an archive they are fetched where they are not here."""
        if isinstance(self.store, StudiesDatastore):
            return self.store.files(ids)
        return {id: Path(self.store.get_image_uri(id)) for id in ids}

    def label(self, images: Iterable[str]) -> Path | None:
        """Return the accepted label file of a sample; None if it has none."""
        for id in images:
            if self.store.get_label_by_image_id(id, FINAL):
                return Path(self.store.get_label_uri(id, FINAL))
        return None

    def exam(self, images: Iterable[str]) -> Exam | None:
        """Return the exam that the images of a sample make up; None if they are no mammograms."""
        found = group_exams(self.files(images).values(), self._patients())
        return next((exam for exam in found if exam.views), None)

    def stamp(self, images: tuple[str, ...]) -> str:
        """Return what changes when a file of a sample changes, its label too."""
        if not isinstance(self.store, StudiesDatastore):  # files of an archive never change
            infos = (self.store.get_label_info(id, FINAL) for id in images)
            return " ".join(str(one.get("SOPInstanceUID") or one.get("ts", "")) for one in infos)
        label = self.label(images)
        files = [*self.store.files(images).values(), *([label] if label else [])]
        stamps = [file_stamp(file) for file in files if file.exists()]
        return " ".join(f"{time_ns}-{size}" for time_ns, size, _ in stamps)
