"""A folder or DICOM tree of mammograms with a CSV table of densities, as a clinic would have it.

The table has a column with the density (A to D, or 1 to 4) and a column that names what has this
density: a file, an exam (name, study UID or accession number) or a patient. Columns with side, view
and patient are used for files that do not state these themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lib.datasets.importing import ImportReport, OnItem, check_folder, pick, read_table
from lib.datasets.mammograms import SourceView, write_studies
from lib.errors import InputError
from lib.mammography.density_labels import density_class
from lib.mammography.exam_files import image_id, is_image
from lib.mammography.exams import group_exams
from lib.mammography.views import View, view_of_name

DENSITY = ("density", "breast_density", "breast density", "birads_density", "acr", "density_birads")
FILE = ("file", "filename", "file name", "file_name", "image", "image_id", "path", "id")
EXAM = ("exam", "exam_id", "study", "study_id", "studyinstanceuid", "study_uid", "accession")
PATIENT = ("patient", "patient_id", "patientid", "patient id", "subject", "case")
SIDE = ("side", "laterality", "imagelaterality")
VIEW = ("view", "projection", "view_position", "viewposition")


class _Row(NamedTuple):
    density: str = ""
    patient: str = ""
    exam: str = ""
    view: View | None = None


def find_table(folder: Path) -> Path:
    """Return the one CSV file below `folder` that has a column of densities.

    Raises:
        InputError: no such file, or several.
    """
    found = []
    for path in sorted(folder.rglob("*.csv")):
        try:
            if set(read_table(path)[0]) & set(DENSITY):
                found.append(path)
        except InputError:
            continue
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"tables with a column of density in '{folder}': {names}; expected one CSV with a "
            f"column {DENSITY[0]}; name the table to use"
        )
    return found[0]


def import_density_folder(
    source: Path,
    studies: Path,
    on_item: OnItem | None = None,
    *,
    table: Path | None = None,
) -> ImportReport:
    """Import mammograms with the densities of a table: see `lib.datasets.importers.Importer.run`.

    Args:
        table: the CSV file; None looks for the one in `source`, see `find_table`.
    """
    check_folder(source, "a folder of mammograms")
    path = table or find_table(source)
    rows = _read(path)
    unused = set(rows)
    notes: list[str] = []
    found: list[SourceView] = []
    for exam, patient, file, view in _files(source, rows, notes):
        keys = (*_file_keys(file, source), exam.lower(), patient.lower())
        row = next((rows[key] for key in keys if key in rows), _Row())
        unused.difference_update(keys)
        if view is None:
            notes.append(
                f"{file.name}: left out, neither its tags nor its name nor the table state its view"
            )
        else:
            found.append(
                SourceView(
                    path=file,
                    exam=row.exam or exam,
                    patient=row.patient or patient,
                    view=view,
                    density=row.density,
                )
            )
    if not found:
        raise InputError(
            f"no mammograms with a known view in '{source}': expected DICOM, or names such as "
            f"EXAM_R-CC.png, or columns file, side and view in {path.name}"
        )
    if not any(view.density for view in found):
        raise InputError(
            f"{path.name}: none of its rows fits a file, exam or patient in '{source}', such as "
            f"file '{found[0].path.name}', exam '{found[0].exam}'; expected these in a column "
            f"{FILE[0]}, {EXAM[0]} or {PATIENT[0]}"
        )
    if unused:
        examples = ", ".join(sorted(unused)[:5])
        notes.append(f"{len(unused)} rows of {path.name} fit no file, such as {examples}")
    return write_studies(studies, found, notes=notes, on_item=on_item)


def _files(
    source: Path, rows: dict[str, _Row], notes: list[str]
) -> list[tuple[str, str, Path, View | None]]:
    """Return exam, patient, file and view of all images below `source`; add to `notes`."""
    found: list[tuple[str, str, Path, View | None]] = []
    files = []
    for file in sorted(source.rglob("*")):
        if not is_image(file):
            continue
        row = next((rows[key] for key in _file_keys(file, source) if key in rows), _Row())
        if row.view and view_of_name(image_id(file)) is None:
            exam = row.exam or row.patient or file.parent.name
            found.append((exam, row.patient, file, row.view))
        else:
            files.append(file)
    grouped = set()
    for group in group_exams(files):
        patient = group.patient if group.patient != group.id else ""
        found.extend((group.id, patient, path, view) for view, path in group.views.items())
        notes.extend(f"exam {group.id}: {path.name} left out: {why}" for path, why in group.others)
        grouped |= {*group.views.values(), *(path for path, _ in group.others)}
    found.extend(("", "", file, None) for file in files if file not in grouped)
    return found


def _file_keys(file: Path, source: Path) -> tuple[str, ...]:
    relative = file.relative_to(source).as_posix().lower()
    return relative, file.name.lower(), image_id(file).lower()


def _read(path: Path) -> dict[str, _Row]:
    """Return the rows by the file, exam or patient that they describe, in lower case."""
    table = read_table(path)
    columns, keys = set(table[0]), (*FILE, *EXAM, *PATIENT)
    if not columns & set(DENSITY) or not columns & set(keys):
        raise InputError(
            f"{path.name}: columns {', '.join(table[0])}, expected {DENSITY[0]} and one of "
            f"{FILE[0]}, {EXAM[0]}, {PATIENT[0]}; correct its first line"
        )
    rows = {}
    for number, line in enumerate(table, start=2):
        value, key = pick(line, DENSITY), pick(line, keys).replace("\\", "/").lower()
        if not key:
            continue
        density = density_class(value, f"{path.name}, line {number}") if value else ""
        side, projection = pick(line, SIDE)[:1], pick(line, VIEW)
        named = view_of_name(f"{side}-{projection}") or view_of_name(projection)
        view = named.view if named else None
        rows[key] = _Row(density, pick(line, PATIENT), pick(line, EXAM), view)
    return rows
