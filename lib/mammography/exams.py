"""Mammography exams: the files of a folder grouped into four views of one patient at one time."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lib.data.groups import read_groups
from lib.data.studies import FINAL_LABELS
from lib.errors import InputError
from lib.io.read import extension, stem
from lib.isolation.calls import read_ahead
from lib.mammography.density_labels import read_density, read_scale
from lib.mammography.exam_files import (
    FOR_PROCESSING,
    ExamFile,
    by_content,
    identify,
    image_id,
    is_image,
    same_file,
)
from lib.mammography.joined_studies import join_studies
from lib.mammography.views import STANDARD_VIEWS, View

_LOGGER = logging.getLogger(__name__)
READERS = 2  # views read at a time; one of 3328 x 4096 pixels takes 0.2 GiB meanwhile

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One exam of one patient.

    Attributes:
        id: StudyInstanceUID of DICOM files, of joined studies the first; else the part of the file
            names before the view.
        patient: a split never separates exams of one patient. From ``groups.csv``, else PatientID,
            else the file names, else the exam's id.
        views: the plain views, at most one file each, in the order of `STANDARD_VIEWS`.
        density: the density class; None without a label.
        scale: of `density`: "birads" (A to D) or "mias" (F, G and D).
        others: files of the exam that are no plain view, each with the reason.
        notes: what is missing, duplicate, odd or contradictory, one sentence each.
        label: the file that `density` was read from; None without a label.
        patients: all patients that the files name; more than one is a mistake in the files.
        reader: whose label it is, where several readers' labels are exams of their own.
    """

    id: str
    patient: str
    views: Mapping[View, Path]
    density: str | None = None
    scale: str = "birads"
    others: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    label: Path | None = None
    patients: tuple[str, ...] = ()
    reader: str = ""

    @property
    def missing(self) -> tuple[View, ...]:
        """The standard views that the exam lacks."""
        return tuple(view for view in STANDARD_VIEWS if view not in self.views)


def list_exams(folder: str | Path, labelled: bool = False) -> list[Exam]:
    """Return all exams of a studies folder, or the labelled ones, sorted by id.

    Images lie in the folder itself or in its ``images``. Labels lie in ``labels/final``, one for an
    image or for an exam. Files whose view is unknown are left out, and so are labels that cannot be
    read; the notes and the log name them.

    Raises:
        InputError: no such folder, or no mammograms that can be grouped.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"studies folder '{folder}' does not exist; give a folder of mammograms")
    labels = accepted_labels(folder)
    exams = [_labelled(exam, labels) for exam in unlabelled_exams(folder)]
    exams = [exam for exam in exams if exam.density or not labelled]
    if not exams:
        raise InputError(
            f"no {'labelled ' if labelled else ''}exams in '{folder}': expected mammograms as "
            f"DICOM, or named EXAM_R-CC.png, EXAM_L-MLO.png ..., with labels in "
            f"{FINAL_LABELS.as_posix()}/; rename the files or use `import density`"
        )
    return exams


def group_exams(files: Iterable[Path], groups: Mapping[str, str] | None = None) -> list[Exam]:
    """Return the exams that `files` make up, sorted by id, without labels.

    Views that were stored as studies of their own are one exam where patient, day and views tell
    so, see `join_studies`. Of several files of one view the largest is used; of equally large ones
    the last by name. Images For Processing are used only if there is no other. A view that is not
    plain (implant displaced, magnified, spot compression, tomosynthesis ...) is left out, and a
    note says so.

    Args:
        groups: patient by image id. It overrides the patient that the files name. An importer wrote
            it, so the names of these files count more than their tags.
    """
    by_exam: dict[str, list[ExamFile]] = defaultdict(list)
    by_name = {path: image_id(path) in (groups or {}) for path in files}
    read_ahead(by_content, by_name.items())
    for path, trusted in by_name.items():
        if file := identify(path, trusted):
            by_exam[file.exam].append(file)
    exams = sorted(join_studies(by_exam).items())
    return [_exam(id, members, groups or {}) for id, members in exams]


def exam_of(file: Path, exams: Iterable[Exam]) -> Exam | None:
    """Return the exam that `file` belongs to, as a view or otherwise; None if there is none."""
    for exam in exams:
        members = (*exam.views.values(), *(other for other, _ in exam.others))
        if any(same_file(file, member) for member in members):
            return exam
    return None


def read_views(
    exam: Exam, read: Callable[[View, Path], Read]
) -> tuple[dict[View, Read], dict[str, str]]:
    """Return what `read` makes of each view, and why other standard views are left out, by name.

    Args:
        read: called in threads, a few views at a time; an `InputError` leaves the view out.

    Raises:
        InputError: no view can be read; the message names the reasons.
    """
    left_out = {view.name: "missing" for view in exam.missing}
    with ThreadPoolExecutor(READERS) as pool:
        reading = {view: pool.submit(read, view, path) for view, path in exam.views.items()}
    found: dict[View, Read] = {}
    for view, future in reading.items():
        try:
            found[view] = future.result()
        except InputError as error:
            left_out[view.name] = str(error)
    if not found:
        causes = "; ".join(f"{name}: {cause}" for name, cause in left_out.items())
        raise InputError(f"exam '{exam.id}': no view can be answered ({causes})")
    return found, left_out


def find_exam(folder: Path, image: Path) -> Exam | None:
    """Return the exam of an image in a studies folder, without its label; None if there is none."""
    return exam_of(image, unlabelled_exams(folder))


def unlabelled_exams(folder: Path) -> list[Exam]:
    """Return the exams of a studies folder without labels."""
    root = folder / "images" if (folder / "images").is_dir() else folder
    files = [path for path in sorted(root.iterdir()) if is_image(path)]
    return group_exams(files, {row.id: row.group for row in read_groups(folder) if row.group})


def _exam(id: str, files: list[ExamFile], groups: Mapping[str, str]) -> Exam:
    notes = [note for file in files for note in file.notes]
    plain: dict[View, list[ExamFile]] = defaultdict(list)
    others: list[tuple[Path, str]] = []
    for file in files:
        modifiers = [word for word in file.found.modifiers if word != FOR_PROCESSING]
        if modifiers:
            others.append((file.path, f"{file.found.view.name}, {', '.join(modifiers)}"))
        elif not file.found.view.standard:
            others.append((file.path, f"{file.found.view.name}, not one of the four views"))
        else:
            plain[file.found.view].append(file)
    views: dict[View, Path] = {}
    for view in STANDARD_VIEWS:
        if candidates := sorted(plain[view], key=_preference):
            views[view] = candidates[-1].path
            for file in candidates[:-1]:
                others.append((file.path, f"{view.name} again, {candidates[-1].path.name} is used"))
    notes.extend(f"{path.name} left out: {why}" for path, why in others)
    if views and (missing := [view.name for view in STANDARD_VIEWS if view not in views]):
        notes.append(f"without {', '.join(missing)}")
    patients = Counter(
        groups.get(image_id(file.path)) or file.patient or id for file in files
    ).most_common()
    names = tuple(sorted(name for name, _ in patients))
    if len(names) > 1:
        notes.append(f"files of patients {', '.join(names)}")
    return Exam(
        id=id,
        patient=patients[0][0],
        views=views,
        others=tuple(others),
        notes=tuple(notes),
        patients=names,
    )


def _preference(file: ExamFile) -> tuple[bool, int, str]:
    return FOR_PROCESSING not in file.found.modifiers, file.path.stat().st_size, file.path.name


def accepted_labels(studies: Path) -> dict[str, list[Path]]:
    """Return the accepted label files of a studies folder by id, of an image or an exam."""
    labels: dict[str, list[Path]] = defaultdict(list)
    folder = studies / FINAL_LABELS
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        is_json = path.suffix.lower() == ".json"
        if (is_json or extension(path)) and not path.name.startswith("."):
            labels[path.stem if is_json else stem(path)].append(path)
    return labels


def ids_of(exam: Exam) -> list[str]:
    """Return the ids that a label of an exam may be for: those of its images, then its own."""
    files = (*exam.views.values(), *(path for path, _ in exam.others))
    return [*(image_id(path) for path in files), exam.id]


def label_files(exam: Exam, labels: Mapping[str, list[Path]]) -> list[tuple[str, Path]]:
    """Return the label files of an exam, each with the id that it is for.

    If no view has a label, those under the exam's own id count.

    Args:
        labels: as `accepted_labels` returns them.
    """
    *ids, _ = ids_of(exam)
    own = [(id, path) for id in ids for path in labels.get(id, [])]
    return own or [(exam.id, path) for path in labels.get(exam.id, [])]


def _labelled(exam: Exam, labels: Mapping[str, list[Path]]) -> Exam:
    """Return `exam` with its density.

    Users may correct the views one by one. If their labels differ, the newest file counts for the
    exam.
    """
    files = label_files(exam, labels)
    if not files:
        return exam
    by_time, notes = [], exam.notes
    for _, path in files:
        try:
            by_time.append((path.stat().st_mtime_ns, read_density(path), path))
        except InputError as error:  # one damaged label is no matter of the other exams
            notes += (f"label left out: {error}",)
            _LOGGER.warning("exam %s: %s", exam.id, notes[-1])
    if not by_time:
        return replace(exam, notes=notes)
    _, density, newest = max(by_time)
    if len(different := sorted({answer for _, answer, _ in by_time})) > 1:
        notes += (f"labels {', '.join(different)}; the newest counts, {density} of {newest.name}",)
    scale = read_scale(newest)
    return replace(exam, density=density, scale=scale, notes=notes, label=newest)
