"""What is labelled at once: an image or, for tasks on exams, all views of an exam."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from lib.kinds import kind_of
from lib.mammography.exams import Exam, group_exams
from lib.tasks.fits import misfit, told
from lib.tasks.image_kind import ImageKind
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

    def fitting(self, task: TaskSpec) -> Groups:
        """Return the samples that the task is for, as far as that is known; readable or not."""
        samples, kinds = self.all(task), self.kinds()
        kept = _only(samples, lambda image: not misfit(task, kinds.get(image, ImageKind())))
        unreadable = self.store.unreadable(task)
        if _only(kept, lambda image: image not in unreadable):
            return kept
        # what cannot be told is none that the task is not for
        return _only(samples, lambda id: not (id in kinds and told(task, kinds[id])))

    def fitting_with(self, task: TaskSpec, image: str) -> Groups:
        """Return the fitting samples that an image belongs to; of no image all of them."""
        samples = self.fitting(task)
        return {id: own for id, own in samples.items() if image in own} if image else samples

    def unlabelled(self, task: TaskSpec) -> Groups:
        """Return the fitting samples without an accepted label, of any of their images.

        What the task cannot answer, as far as that is known, is left out.
        """
        free = set(self.store.get_unlabeled_images())
        return self._of_state(task, free.issuperset)

    def is_unlabelled(self, task: TaskSpec, id: str) -> bool:
        """Tell whether no image of a sample has an accepted label now."""
        return set(self.store.get_unlabeled_images()).issuperset(self.all(task).get(id, (id,)))

    def labelled(self, task: TaskSpec) -> Groups:
        """Return the fitting samples with an accepted label that can be read; see `unlabelled`."""
        labelled = set(self.store.get_labeled_images())
        return self._of_state(task, lambda own: not labelled.isdisjoint(own))

    def _of_state(self, task: TaskSpec, wanted: Callable[[tuple[str, ...]], bool]) -> Groups:
        samples, unreadable = self.all(task), self.store.unreadable(task)
        readable = _only(self.fitting(task), lambda image: image not in unreadable)
        return {id: own for id, own in readable.items() if wanted(samples[id])}

    def like(self, samples: Groups, image: str) -> Groups:
        """Return the samples whose images are of the kind of an image, see `ImageKind.is_like`."""
        kinds, kind = self.kinds(), self.kind(image)
        return _only(samples, lambda id: kinds.get(id, ImageKind()).is_like(kind))

    def kinds(self) -> dict[str, ImageKind]:
        """Return the kinds of images by id, of the views of exams too, as far as they are known."""
        kinds = self.store.kinds()
        exams = self._exam_of(self.store.list_images())
        return {id: _in_exam(kind) if id in exams else kind for id, kind in kinds.items()}

    def kind(self, image: str) -> ImageKind:
        """Return the kind of an image; its file is opened if nothing else tells it."""
        kind = self.store.kind(image)
        in_exam = image in self._exam_of(self.store.list_images())
        return _in_exam(kind) if in_exam else kind

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


def _only(samples: Groups, keep: Callable[[str], bool]) -> Groups:
    """Return the samples with the images that `keep` is true for, where there are any."""
    kept = {id: tuple(filter(keep, images)) for id, images in samples.items()}
    return {id: images for id, images in kept.items() if images}


def _in_exam(kind: ImageKind) -> ImageKind:
    """Return the kind of a view of a mammography exam, which its name alone may tell."""
    return replace(kind, dimensions="mammogram") if kind.dimensions == "2d" else kind
