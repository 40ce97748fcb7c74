"""Cases for classification: views of mammography exams, read, prepared and drawn for a batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lib.data.case import Batch, CaseFunctions, HeldCase
from lib.data.draw import draw_images
from lib.data.readers import of_reader
from lib.data.shade import sent
from lib.data.studies import Item
from lib.errors import InputError
from lib.mammography.breast import PreparedBreast, network_input, prepare_breast
from lib.mammography.exam_files import image_id
from lib.mammography.exams import Exam, list_exams
from lib.mammography.mammogram import read_mammogram
from lib.mammography.readers import exams_of_readers
from lib.mammography.views import View
from lib.tasks.image_spec import InputSpec
from lib.tasks.spec import TaskSpec

LEAST_SIDE = 32  # of the network's input, pixels


@dataclass(frozen=True, kw_only=True)
class ViewItem(Item):
    """One view of an exam; its group is the patient.

    Attributes:
        exam: id of the exam.
        density: label of the exam, None where there is none.
        scale: of `density`, see `lib.mammography.exams.Exam`.
    """

    exam: str
    view: View = field(default_factory=View)
    density: str | None = None
    scale: str = "birads"

    @property
    def sample(self) -> str:
        """Id of the exam: all its views have one label."""
        return self.exam


def list_views(studies: Path, task: TaskSpec, labelled: bool = False) -> list[Item]:
    """Return the views that a task answers on, or those `labelled` with one of its classes.

    Raises:
        InputError: no such folder, or no such view in it.
    """
    return list(views_of(list_task_exams(studies, task, labelled), task))


def list_task_exams(studies: Path, task: TaskSpec, labelled: bool = False) -> list[Exam]:
    """Return the exams of a studies folder, those of densities that are no class left out.

    Raises:
        InputError: no such folder, no such exam in it, or a labelled exam of several patients, who
            could then be on both sides of a split.
    """
    return task_exams(list_exams(studies, labelled), studies, task, labelled)


def list_views_of_readers(studies: Path, task: TaskSpec, readers: str) -> list[Item]:
    """Return labelled views with the labels of the chosen readers, see `lib.data.reader_choice`.

    Raises:
        InputError: as `list_task_exams` does.
    """
    exams = exams_of_readers(studies, readers)
    return list(views_of(task_exams(exams, studies, task, labelled=True), task))


def task_exams(exams: Sequence[Exam], studies: Path, task: TaskSpec, labelled: bool) -> list[Exam]:
    """Return the exams that are cases of a task, see `list_task_exams`.

    Args:
        studies: the folder of the exams, for messages.
    """
    rules = task.exam_rules
    cases = [
        exam
        for exam in exams
        if (not labelled or rules.class_index(exam.density, exam.scale) is not None)
        and any(task.classifier.network_of(view.name) is not None for view in exam.views)
    ]
    if not cases:
        found = Counter(f"{exam.density} ({exam.scale})" for exam in exams if exam.density)
        labels = ", ".join(f"{count} of {label}" for label, count in sorted(found.items()))
        raise InputError(
            f"no exam in '{studies}' is a case of '{task.name}': {len(exams)} exams, labelled "
            f"{labels or 'none'}; expected views "
            f"{', '.join(task.classifier.views) or 'of any name'} and classes "
            f"{', '.join(rules.names)}; label exams, or choose another task"
        )
    if labelled:
        _check_patients(cases)
    return cases


def labelled_views(studies: Path) -> list[Item]:
    """Return all views of the labelled exams of a studies folder, for `cases_of` several tasks.

    Raises:
        InputError: no such folder, no labelled exam in it, or one of several patients.
    """
    exams = list_exams(studies, labelled=True)
    _check_patients(exams)
    return list(views_of(exams))


def cases_of(items: Sequence[Item], task: TaskSpec) -> list[ViewItem]:
    """Return the views among `items` that a task has a network and a class for.

    Raises:
        InputError: there is none.
    """
    rules = task.exam_rules
    found = [
        item
        for item in items
        if isinstance(item, ViewItem)
        and rules.class_index(item.density, item.scale) is not None
        and task.classifier.network_of(item.view.name) is not None
    ]
    if not found:
        raise InputError(
            f"none of {len(items)} views is a case of '{task.name}': expected labels of the "
            f"classes {', '.join(rules.names)}; label exams, or choose another task"
        )
    return found


def exams_of(items: Sequence[Item]) -> list[Exam]:
    """Return the exams that views make up, each with the views that are among `items`."""
    grouped: dict[str, list[ViewItem]] = defaultdict(list)
    for item in items:
        if isinstance(item, ViewItem):
            grouped[item.exam].append(item)
    return [
        Exam(
            id=id,
            patient=members[0].group,
            views={item.view: item.image for item in members},
            density=members[0].density,
            scale=members[0].scale,
            label=members[0].label,
            patients=tuple(sorted({item.group for item in members})),
        )
        for id, members in grouped.items()
    ]


def _check_patients(exams: Sequence[Exam]) -> None:
    if mixed := [exam for exam in exams if len(exam.patients) > 1]:
        raise InputError(
            f"exam '{mixed[0].id}' has files of patients {', '.join(mixed[0].patients)}, expected "
            f"one; a split must keep patients apart: correct the files, or name one patient in "
            f"groups.csv"
        )


def views_of(exams: Sequence[Exam], task: TaskSpec | None = None) -> list[ViewItem]:
    """Return the views of exams, those that the task has a network for if one is given."""
    return [
        ViewItem(
            id=of_reader(image_id(path), exam.reader) if exam.reader else image_id(path),
            image=path,
            label=exam.label,
            group=exam.patient,
            exam=exam.id,
            view=view,
            density=exam.density,
            scale=exam.scale,
        )
        for exam in exams
        for view, path in exam.views.items()
        if task is None or task.classifier.network_of(view.name) is not None
    ]


def prepare_view(path: Path, spec: InputSpec) -> PreparedBreast:
    """Read and prepare one view as a task sees it.

    Raises:
        InputError: no mammogram, or no breast in it; the message names the file and the cause.
    """
    return prepare_breast(read_mammogram(path, spec.max_pixels), spec.sides)


def load_view(item: Item, task: TaskSpec) -> tuple[np.ndarray, ...]:
    """Return image float16 `(channels, rows, columns)`, class index and network index, int64.

    Raises:
        InputError: no label that is a class of the task, or an unreadable image.
    """
    view, class_index, network = _labelled(item, task)
    image = network_input(prepare_view(view.image, task.input), task.input)
    return image.astype(np.float16), np.array(class_index), np.array(network)


def class_of(item: Item, task: TaskSpec) -> int:
    """Return the class index of a view's exam.

    Raises:
        InputError: its label is no class of the task.
    """
    return _labelled(item, task)[1]


def network_of(item: Item, task: TaskSpec) -> int:
    """Return the index of the network that answers on a view."""
    return _labelled(item, task)[2]


def check_input_size(task: TaskSpec) -> None:
    """Raise `InputError` if the input is too small; the network sees whole images."""
    if min(task.input.sides) < LEAST_SIDE:
        raise InputError(
            f"the input of '{task.name}' must have at least {LEAST_SIDE} rows and columns, "
            f"found {task.input.size}"
        )


def epoch_order(items: Sequence[Item], task: TaskSpec, rng: np.random.Generator) -> np.ndarray:
    """Return the cases of one pass in batches whose views are all for one network.

    A network that normalises over its batch needs full batches. The last batch of each network is
    filled from the front of its own order, so the length is a multiple of the batch size.
    """
    batches = []
    size = task.training.batch_size
    for indices in _by_network(items, task).values():
        order = rng.permutation(indices)
        count = -(-len(order) // size)
        batches += list(np.resize(order, (count, size)))
    return np.concatenate([batches[index] for index in rng.permutation(len(batches))])


def epoch_batches(items: Sequence[Item], task: TaskSpec) -> int:
    """Return the batches of one pass over `items`."""
    size = task.training.batch_size
    return sum(-(-len(indices) // size) for indices in _by_network(items, task).values())


def _by_network(items: Sequence[Item], task: TaskSpec) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[network_of(item, task)].append(index)
    return dict(sorted(groups.items()))


def _labelled(item: Item, task: TaskSpec) -> tuple[ViewItem, int, int]:
    """Return the item as a view, the index of its class and that of its network."""
    if not isinstance(item, ViewItem):
        raise InputError(
            f"'{item.id}' is no view of an exam; '{task.name}' is trained on views of mammograms"
        )
    class_index = task.exam_rules.class_index(item.density, item.scale)
    network = task.classifier.network_of(item.view.name)
    if class_index is None or network is None:
        raise InputError(
            f"'{item.id}' is view {item.view.name} of density {item.density}, expected a view "
            f"that '{task.name}' has a network for, with a label of {task.exam_rules.names}"
        )
    return item, class_index, network


def draw_views(
    cases: Sequence[HeldCase], task: TaskSpec, rngs: Sequence[np.random.Generator]
) -> Batch:
    """Return augmented copies of prepared views, their classes, and on the host their networks."""
    images = draw_images(cases, task.augment, rngs)
    classes, networks = zip(*(case.parts[1:] for case in cases), strict=True)
    return images, sent([torch.stack(classes).numpy()], images.device)[0], torch.stack(networks)


EXAM_CASES = CaseFunctions(
    list=list_views,
    load=load_view,
    fitted=lambda task, largest: task,
    check_size=check_input_size,
    draw=draw_views,
    order=epoch_order,
    batches=epoch_batches,
    of_readers=list_views_of_readers,
)
