"""INbreast: full-field digital mammograms with BI-RADS density, as published or as PNG.

Moreira et al., INbreast: toward a full-field digital mammographic database, Acad. Radiol.
19:236-248, 2012. The images are ``AllDICOMs/ID_PATIENT_MG_SIDE_VIEW_ANON.dcm``, where view ML means
MLO. ``INbreast.csv``, with semicolons, has a line for each image and the density in column ACR.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from lib.datasets.importing import ImportReport, OnItem, check_folder, read_table
from lib.datasets.mammograms import SourceView, write_studies
from lib.errors import InputError
from lib.mammography.density_labels import BIRADS
from lib.mammography.exam_files import image_id, is_image
from lib.mammography.views import view_of_name

TABLE = "INbreast.csv"


def find_views(folder: Path) -> tuple[list[SourceView], list[str]]:
    """Return the images of the set below `folder`, sorted, and notes on its table.

    The images of a patient from one month (column Acquisition date) are one exam.

    Raises:
        InputError: no such folder, no images with the set's names, or no usable ``INbreast.csv``.
    """
    check_folder(folder)
    files = {}
    for path in sorted(folder.rglob("*")):
        number = image_id(path).split("_")[0]
        if "_MG_" in path.name.upper() and number.isdigit() and is_image(path):
            if (named := view_of_name(image_id(path))) and named.patient:
                files[number] = (path, named)  # the same image as DICOM and PNG counts once
    tables = [path for path in sorted(folder.rglob("*.csv")) if path.name.lower() == TABLE.lower()]
    if not files or not tables:
        missing = TABLE if files else "ID_PATIENT_MG_SIDE_VIEW_ANON.dcm (or .png)"
        raise InputError(
            f"'{folder}' is not INbreast: no {missing} in it; expected AllDICOMs/ with {TABLE}; "
            f"give the unpacked data set"
        )
    rows, notes = _rows(tables[0])
    dates: dict[str, set[str]] = defaultdict(set)
    for number, (_, named) in files.items():
        dates[named.patient].add(rows.get(number, ("", "", ""))[1])
    found = []
    for number, (path, named) in files.items():
        density, date, side = rows.get(number, ("", "", ""))
        if side and side != named.view.laterality:
            notes.append(f"{path.name}: {TABLE} has side {side}, the side in the name is used")
        exam = f"{named.patient}-{date}" if len(dates[named.patient]) > 1 else named.patient
        found.append(
            SourceView(
                path=path, exam=exam, patient=named.patient, view=named.view, density=density
            )
        )
    if unlisted := sum(number not in rows for number in files):
        notes.append(f"{unlisted} images are not in {TABLE}")
    if absent := sum(number not in files for number in rows):
        notes.append(f"{absent} images of {TABLE} are not in the folder")
    return sorted(found, key=lambda view: (view.exam, view.view.name, view.path.name)), notes


def import_inbreast(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Exams are named by patient; the labels are densities A to D as JSON.
    """
    views, notes = find_views(source)
    return write_studies(studies, views, notes=notes, on_item=on_item)


def _rows(path: Path) -> tuple[dict[str, tuple[str, str, str]], list[str]]:
    """Return density, date and side of each image by its number, and notes."""
    rows = read_table(path)
    if not {"file name", "acr"} <= set(rows[0]):
        raise InputError(
            f"{path.name}: columns {', '.join(rows[0])}, expected File Name and ACR; give the "
            f"table of the set"
        )
    found, blank, odd = {}, 0, []
    for row in rows:
        number = row["file name"].split("_")[0].split(".")[0]
        acr = row["acr"].removesuffix(".0").upper()
        density = BIRADS[int(acr) - 1] if acr in ("1", "2", "3", "4") else acr
        if density not in BIRADS:
            blank += not density
            odd += [f"{number} ({density})"] if density else []
            density = ""
        side = row.get("laterality", "").upper()[:1]
        found[number] = density, row.get("acquisition date", ""), side
    notes = [f"{blank} images have no ACR"] if blank else []
    if odd:
        notes.append(f"ACR is not 1 to 4, taken as none: {', '.join(odd)}")
    return found, notes
