"""What is labelled at once: an image or, for tasks on exams, all views of an exam."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from lib.kinds import kind_of
from lib.mammography.exams import Exam, group_exams
from lib.tasks.spec import TaskSpec
from monailabel_app.studies.protocol import StudiesProtocol

Groups = dict[str, tuple[str, ...]]  # ids of images by the id of the sample


class Samples:
    """The samples of a datastore, for each task.

    For tasks on exams an image that belongs to none is a sample of its own: it can be labelled
    too.
    """

    def __init__(self, store: StudiesProtocol) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._exams: dict[str, str] = {}

    def all(self, task: TaskSpec) -> Groups:
        """Return all samples."""
        return self._grouped(task, self.store.list_images())

    def unlabelled(self, task: TaskSpec) -> Groups:
        """Return the samples without an accepted label, of any of their images.

        What the task cannot answer, as far as that is known, is left out.
        """
        free = set(self.store.get_unlabeled_images())
        return self._readable(task, lambda own: free.issuperset(own))

    def labelled(self, task: TaskSpec) -> Groups:
        """Return the samples with an accepted label that the task can answer; see `unlabelled`."""
        labelled = set(self.store.get_labeled_images())
        return self._readable(task, lambda own: not labelled.isdisjoint(own))

    def _readable(self, task: TaskSpec, wanted: Callable[[tuple[str, ...]], bool]) -> Groups:
        unreadable = self.store.unreadable(task)
        groups = {id: own for id, own in self.all(task).items() if wanted(own)}
        readable = {
            id: tuple(one for one in own if one not in unreadable) for id, own in groups.items()
        }
        return {id: own for id, own in readable.items() if own}

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
                self._exams = self.store.exam_ids()
                self._ids = list(ids)
            return self._exams

    def exam(self, images: Iterable[str]) -> Exam | None:
        """Return the exam that the images of a sample make up; None if they are no mammograms."""
        found = group_exams(self.store.files(images).values(), self.store.patients())
        return next((exam for exam in found if exam.views), None)
