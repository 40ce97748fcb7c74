"""Write mammography exams of any source into a studies folder: what the importers share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from lib.data.groups import Grouped, write_groups
from lib.data.studies import FINAL_LABELS
from lib.errors import InputError
from lib.files import copy_atomically, write_atomically
from lib.io.read import extension
from lib.mammography.density_labels import BIRADS, write_density
from lib.mammography.mammogram import MAMMOGRAM_EXTENSIONS, read_mammogram
from lib.mammography.views import STANDARD_VIEWS, View


@dataclass(frozen=True)
class SourceView:
    """A file to import as a view of an exam.

    Attributes:
        density: class that the source gives this image; empty where it gives none.
    """

    path: Path
    exam: str
    patient: str
    view: View
    density: str = ""


@dataclass(frozen=True)
class MammographyReport:
    """What an import found.

    Attributes:
        exams: how many.
        patients: how many.
        images: how many were written.
        classes: exams of each density class, "" for those without.
        incomplete: exams with fewer than the expected views.
        unreadable: file name and cause of what was left out.
        notes: what was odd and how it was taken, one sentence each.
    """

    exams: int
    patients: int
    images: int
    classes: dict[str, int]
    incomplete: int
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report as lines to print."""
        classes = ", ".join(
            f"{n} {kind or 'unlabelled'}" for kind, n in sorted(self.classes.items())
        )
        told = [
            f"{self.images} images of {self.exams} exams of {self.patients} patients: {classes}",
        ]
        if self.incomplete:
            told.append(f"{self.incomplete} exams lack a view")
        told.extend(f"left out: {cause}" for _, cause in self.unreadable)
        return told + list(self.notes)


def write_studies(
    studies: Path,
    sources: Sequence[SourceView],
    expected: Sequence[View] = STANDARD_VIEWS,
    scale: str = "birads",
    notes: Iterable[str] = (),
    on_item: Callable[[int, int], object] | None = None,
) -> MammographyReport:
    """Copy views as ``<exam>_<R|L>-<CC|MLO>``, with a label for each and groups by patient.

    Every file is read once, so that none is imported that training would stumble over; those that
    are unreadable are left out and told. PGM becomes PNG, everything else keeps its file. Where the
    images of an exam have several densities the commonest counts, of equally common the denser.

    Args:
        expected: the views that make an exam complete.
        scale: of the densities, see `lib.mammography.density_labels`.
        on_item: called with the number done and the number in all.

    Raises:
        InputError: no file could be read.
    """
    labels = studies / FINAL_LABELS
    labels.mkdir(parents=True, exist_ok=True)
    told, unreadable = list(notes), []
    densities = _densities(sources, scale, told)
    seen: Counter[str] = Counter()
    rows: list[Grouped] = []
    views: dict[str, set[View]] = defaultdict(set)
    patients: set[str] = set()
    for done, source in enumerate(sources, start=1):
        try:
            read_mammogram(source.path)
        except InputError as error:
            unreadable.append((source.path.name, str(error)))
        else:
            name = f"{safe(source.exam)}_{source.view.name.replace('?', 'x')}"
            seen[name] += 1
            id = name if seen[name] == 1 else f"{name}_{seen[name]}"
            _copy(source.path, studies, id)
            density = densities.get(source.exam, "")
            if density:
                write_density(labels / f"{id}.json", density, scale)
            rows.append(Grouped(id, safe(source.patient or source.exam), density))
            views[source.exam].add(source.view)
            patients.add(source.patient or source.exam)
        if on_item:
            on_item(done, len(sources))
    if not rows:
        cause = f"; {unreadable[0][1]}" if unreadable else ""
        raise InputError(f"none of {len(sources)} files could be imported{cause}")
    write_groups(studies, rows)
    repeated = sum(count - 1 for count in seen.values())
    if repeated:
        told.append(f"{repeated} files show a view that their exam has already")
    return MammographyReport(
        len(views),
        len(patients),
        len(rows),
        dict(Counter(densities.get(exam, "") for exam in views)),
        sum(not set(expected) <= found for found in views.values()),
        tuple(unreadable),
        tuple(told),
    )


def safe(text: str) -> str:
    """Return `text` as part of a file name: letters, digits, dots and dashes stay."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.") or "x"


def _densities(sources: Sequence[SourceView], scale: str, told: list[str]) -> dict[str, str]:
    order: Sequence[str] = BIRADS if scale == "birads" else ("F", "G", "D")
    votes: Mapping[str, Counter[str]] = defaultdict(Counter)
    for source in sources:
        if source.density:
            votes[source.exam][source.density] += 1
    found = {}
    for exam, counts in votes.items():
        found[exam] = max(counts, key=lambda kind: (counts[kind], order.index(kind)))
        if len(counts) > 1:
            told.append(
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
