"""Mammography exams: the files of a folder grouped into four views of one patient at one time.

By DICOM tags (StudyInstanceUID, ImageLaterality, ViewPosition, ViewCodeSequence), else by names
``<exam>_<R|L>-<CC|MLO>.<ext>`` and their variants, see `lib.mammography.views`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.data.groups import is_nobody, read_groups
from lib.data.studies import FINAL_LABELS
from lib.errors import InputError
from lib.files import FileStamp, file_stamp
from lib.io.read import extension, stem
from lib.mammography.density_labels import read_density, read_scale
from lib.mammography.mammogram import MAMMOGRAM_EXTENSIONS, is_dicom
from lib.mammography.views import STANDARD_VIEWS, View, ViewFound, view_of_name, view_of_tags


@dataclass(frozen=True)
class Exam:
    """One exam of one patient.

    Attributes:
        id: the part of the names before the view, or of DICOM the StudyInstanceUID.
        patient: who never is on both sides of a split: of ``groups.csv``, else PatientID, else of
            the name, else the exam itself.
        views: the plain views, at most one file each, in the order of `STANDARD_VIEWS`.
        density: its class; None where there is no label.
        scale: of `density`: "birads", A to D, or "mias", F, G and D.
        others: files that belong to the exam but are no plain view, and why.
        notes: what is missing, double, odd or contradictory, one sentence each.
        label: the file that `density` is of; None where there is no label.
        patients: all whom its files name; more than one is a mistake in the files.
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

    @property
    def missing(self) -> tuple[View, ...]:
        """The standard views that it lacks."""
        return tuple(view for view in STANDARD_VIEWS if view not in self.views)


@dataclass(frozen=True)
class _File:
    path: Path
    exam: str
    patient: str
    found: ViewFound
    notes: tuple[str, ...] = ()


def list_exams(folder: str | Path, labelled: bool = False) -> list[Exam]:
    """Return the exams of a studies folder, sorted by id, with their labels.

    Images lie at its top, or in ``images``; labels in ``labels/final``, by image or by exam. Files
    whose view is not known belong to no exam.

    Args:
        labelled: only exams with a density label.

    Raises:
        InputError: no such folder, no mammograms that can be grouped, or an unreadable label.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"studies folder '{folder}' does not exist; give a folder of mammograms")
    labels = _labels(folder / FINAL_LABELS)
    exams = [_labelled(exam, labels) for exam in _grouped(folder)]
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

    Of several files of one view the largest is taken, of equal ones the last by name; images For
    Processing only where there is no other. A view that is not plain (implant displaced, magnified,
    spot compression, tomosynthesis ...) is left out and told.

    Args:
        groups: patient of each image id, over what the files say; an importer wrote it, so the
            names of these files count, and not their tags.
    """
    by_exam: dict[str, list[_File]] = defaultdict(list)
    for path in files:
        if file := _identify(path, image_id(path) in (groups or {})):
            by_exam[file.exam].append(file)
    return [_exam(id, members, groups or {}) for id, members in sorted(by_exam.items())]


def exam_of(file: Path, exams: Iterable[Exam]) -> Exam | None:
    """Return the exam that `file` is a view of, or belongs to otherwise; None if to none."""
    for exam in exams:
        members = (*exam.views.values(), *(other for other, _ in exam.others))
        if any(same_file(file, member) for member in members):
            return exam
    return None


def find_exam(folder: Path, image: Path) -> Exam | None:
    """Return the exam that an image of a studies folder belongs to, unlabelled; None if to none."""
    return exam_of(image, _grouped(folder))


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths are of one file, links followed."""
    return one == other or one.resolve() == other.resolve()


def _grouped(folder: Path) -> list[Exam]:
    """Return the exams of a studies folder without labels."""
    root = folder / "images" if (folder / "images").is_dir() else folder
    files = [path for path in sorted(root.iterdir()) if is_image(path)]
    return group_exams(files, {row.id: row.group for row in read_groups(folder) if row.group})


def is_image(path: Path) -> bool:
    """Tell whether a file may be a mammogram: by its extension, or DICOM by its first bytes."""
    if path.name.startswith(".") or not path.is_file():
        return False
    known = extension(path) or path.suffix.lower() in MAMMOGRAM_EXTENSIONS
    return bool(known) or is_dicom(path)


def image_id(path: Path) -> str:
    """Return the id of an image: its file name without a known extension."""
    return path.stem if path.suffix.lower() in MAMMOGRAM_EXTENSIONS else stem(path)


def _identify(path: Path, listed: bool) -> _File | None:
    """Return what a file is; None if neither tags nor name tell.

    Args:
        listed: its folder was written by an importer, whose names count more than tags.
    """
    return _identify_once(path, listed, file_stamp(path) if path.is_file() else None)


@lru_cache(maxsize=65536)  # a server asks for the exam of each image, and headers are slow to read
def _identify_once(path: Path, listed: bool, stamp: FileStamp | None) -> _File | None:
    named = view_of_name(image_id(path))
    data = _tags(path) if is_dicom(path) else None
    if data is not None and not (listed and named and named.exam):
        return _by_tags(path, data, named)
    if named is None:
        return None
    if data is not None:
        named = replace(named, modifiers=(*named.modifiers, *_modifiers(data)))
    return _File(path, named.exam or _folder(path), named.patient, named)


def _folder(path: Path) -> str:
    """Return the name of the folder that stands for an exam; ``images`` is none."""
    parent = path.resolve().parent
    return parent.parent.name if parent.name == "images" else parent.name


def _tags(path: Path) -> Any:
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:  # damaged; reading it says how
        return None


def _by_tags(path: Path, data: Any, named: ViewFound | None) -> _File | None:
    view, notes = view_of_tags(data).view, []
    if str(data.get("Modality") or "MG") != "MG" and view.projection is None:
        return None
    if named and view != named.view:
        if view.laterality and view.projection:
            notes.append(f"{path.name} is {view.name} by its tags, which count")
        view = View(
            view.laterality or named.view.laterality, view.projection or named.view.projection
        )
    if view.laterality is None and view.projection is None:
        notes.append(f"{path.name}: neither tags nor name tell its view")
    study = str(data.get("StudyInstanceUID") or "")
    exam = study or (named.exam if named else "") or _folder(path)
    patient = str(data.get("PatientID") or "").strip()
    if is_nobody(patient):
        patient = named.patient if named else ""
    return _File(path, exam, patient, ViewFound(view, _modifiers(data)), tuple(notes))


def _modifiers(data: Any) -> tuple[str, ...]:
    found = view_of_tags(data).modifiers
    raw = str(data.get("PresentationIntentType") or "").upper() == "FOR PROCESSING"
    return (*found, "for processing") if raw else found


def _exam(id: str, files: list[_File], groups: Mapping[str, str]) -> Exam:
    notes = [note for file in files for note in file.notes]
    plain: dict[View, list[_File]] = defaultdict(list)
    others: list[tuple[Path, str]] = []
    for file in files:
        modifiers = [word for word in file.found.modifiers if word != "for processing"]
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
    told = tuple(others), tuple(notes)
    return Exam(id, patients[0][0], views, None, "birads", *told, patients=names)


def _preference(file: _File) -> tuple[bool, int, str]:
    return "for processing" not in file.found.modifiers, file.path.stat().st_size, file.path.name


def _labels(folder: Path) -> dict[str, list[Path]]:
    labels: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() == ".json" or extension(path):
            if not path.name.startswith("."):
                name = path.stem if path.suffix.lower() == ".json" else stem(path)
                labels[name].append(path)
    return labels


def _labelled(exam: Exam, labels: Mapping[str, list[Path]]) -> Exam:
    """Return `exam` with its density.

    Views may be corrected one by one: where their labels differ, the newest file counts for the
    exam. A label under the exam's own id counts where no view has one.
    """
    ids = [image_id(path) for path in (*exam.views.values(), *(path for path, _ in exam.others))]
    files = [path for id in ids for path in labels.get(id, [])] or labels.get(exam.id, [])
    if not files:
        return exam
    found = [(path.stat().st_mtime_ns, read_density(path), path) for path in files]
    _, density, newest = max(found)
    notes = exam.notes
    if len(different := sorted({answer for _, answer, _ in found})) > 1:
        notes += (f"labels {', '.join(different)}; the newest counts, {density} of {newest.name}",)
    scale = read_scale(newest)
    return replace(exam, density=density, scale=scale, notes=notes, label=newest)
