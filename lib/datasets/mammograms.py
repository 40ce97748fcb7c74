"""Write mammography exams of any source into a studies folder: what the importers share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from lib.data.groups import Grouped, write_groups
from lib.data.studies import FINAL_LABELS
from lib.datasets.importing import ImportReport, OnItem, counted
from lib.errors import InputError
from lib.files import copy_atomically, in_file_name, write_atomically
from lib.io.read import extension
from lib.mammography.density_labels import BIRADS, MIAS, write_density
from lib.mammography.mammogram import MAMMOGRAM_EXTENSIONS, read_mammogram
from lib.mammography.views import STANDARD_VIEWS, View


@dataclass(frozen=True, kw_only=True)
class SourceView:
    """A file to import as a view of an exam.

    Attributes:
        density: density class that the source gives this image; empty where it gives none.
    """

    path: Path
    exam: str
    patient: str
    view: View
    density: str = ""


def write_studies(
    studies: Path,
    sources: Sequence[SourceView],
    expected: Sequence[View] = STANDARD_VIEWS,
    scale: str = "birads",
    notes: Iterable[str] = (),
    on_item: OnItem | None = None,
) -> ImportReport:
    """Copy views as ``<exam>_<R|L>-<CC|MLO>``, with a label for each and groups by patient.

    Every file is read first: an unreadable one would stop a training later, so it is left out and
    reported. PGM becomes PNG; other files are copied as they are. If the images of an exam have
    several densities, the most frequent one counts; of equally frequent ones, the denser.

    Args:
        expected: the views that make an exam complete.
        scale: of the densities, see `lib.mammography.density_labels`.
        notes: what was odd while the files were searched, one sentence each.

    Returns:
        The report. Its figures are `exams` and `patients`: how many; `classes`: how many exams of
        each density class, "" for those without one; `incomplete`: how many exams lack an expected
        view; `unreadable`: name and cause of each file left out; `notes`: what was odd, one
        sentence each.

    Raises:
        InputError: no file could be read.
    """
    labels = studies / FINAL_LABELS
    labels.mkdir(parents=True, exist_ok=True)
    notes, unreadable = list(notes), []
    densities = _densities(sources, scale, notes)
    files_of: Counter[str] = Counter()
    rows: list[Grouped] = []
    views: dict[str, set[View]] = defaultdict(set)
    patients: set[str] = set()
    for source in counted(sources, on_item):
        try:
            read_mammogram(source.path)
        except InputError as error:
            unreadable.append((source.path.name, str(error)))
            continue
        name = f"{in_file_name(source.exam)}_{source.view.name.replace('?', 'x')}"
        files_of[name] += 1
        id = name if files_of[name] == 1 else f"{name}_{files_of[name]}"
        _copy(source.path, studies, id)
        density = densities.get(source.exam, "")
        if density:
            write_density(labels / f"{id}.json", density, scale)
        rows.append(Grouped(id, in_file_name(source.patient or source.exam), density))
        views[source.exam].add(source.view)
        patients.add(source.patient or source.exam)
    if not rows:
        cause = f"; {unreadable[0][1]}" if unreadable else ""
        raise InputError(f"none of {len(sources)} files could be imported{cause}")
    write_groups(studies, rows)
    if repeated := sum(count - 1 for count in files_of.values()):
        notes.append(f"{repeated} files show a view that their exam has already")
    classes = Counter(densities.get(exam, "") for exam in views)
    counts = ", ".join(f"{n} {kind or 'unlabelled'}" for kind, n in sorted(classes.items()))
    incomplete = sum(not set(expected) <= found for found in views.values())
    return ImportReport(
        images=len(rows),
        lines=(
            f"{len(rows)} images of {len(views)} exams of {len(patients)} patients: {counts}",
            *([f"{incomplete} exams lack a view"] if incomplete else ()),
            *(f"left out: {cause}" for _, cause in unreadable),
            *notes,
        ),
        figures={
            "exams": len(views),
            "patients": len(patients),
            "classes": dict(classes),
            "incomplete": incomplete,
            "unreadable": tuple(unreadable),
            "notes": tuple(notes),
        },
    )


def _densities(sources: Sequence[SourceView], scale: str, notes: list[str]) -> dict[str, str]:
    """Return the density of each exam; add to `notes` where its images disagree."""
    order: Sequence[str] = BIRADS if scale == "birads" else MIAS
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for source in sources:
        if source.density:
            votes[source.exam][source.density] += 1
    found = {}
    for exam, counts in votes.items():
        found[exam] = max(counts, key=lambda kind: (counts[kind], order.index(kind)))
        if len(counts) > 1:
            notes.append(
                f"exam {exam}: densities {', '.join(sorted(counts))}, {found[exam]} is used"
            )
    return found


def _copy(source: Path, studies: Path, id: str) -> None:
    if source.suffix.lower() in MAMMOGRAM_EXTENSIONS:
        with PillowImage.open(source) as picture:
            picture.load()
            write_atomically(studies / f"{id}.png", lambda file: picture.save(file, format="PNG"))
    else:
        copy_atomically(source, studies / f"{id}{extension(source) or '.dcm'}")
