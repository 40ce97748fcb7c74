"""mini-MIAS: film mammograms (MLO) with their tissue: fatty, fatty-glandular, dense-glandular.

Suckling et al., The Mammographic Image Analysis Society digital mammogram database, Exerpta Medica
Int. Congr. Ser. 1069:375-378, 1994. The films are ``mdbNNN.pgm``. The notes in ``Info.txt`` say
that each pair of films is of one patient: even numbers are left breasts, odd numbers right breasts.
The pixels agree: odd films have the chest wall at the right, as the view of a right breast hangs.

A prepared copy with ``images/`` and ``labels.csv`` (file, patient, side, view, density_FGD) is read
too. Where its sides contradict ``Info.txt``, they are reported and not used: one rule must hold for
all films.
"""

from __future__ import annotations

import re
from pathlib import Path

from lib.datasets.importing import ImportReport, OnItem, check_folder, read_table
from lib.datasets.mammograms import SourceView, write_studies
from lib.errors import InputError
from lib.mammography.density_labels import MIAS
from lib.mammography.exam_files import is_image
from lib.mammography.views import View

PAIR = (View("R", "MLO"), View("L", "MLO"))
_FILM = re.compile(r"mdb(\d{3})", re.IGNORECASE)
_LINE = re.compile(r"^(mdb\d{3})\s+([FGD])\s+[A-Z]{4}\b", re.IGNORECASE | re.MULTILINE)


def find_films(folder: Path) -> tuple[list[SourceView], list[str]]:
    """Return the films of the set in `folder`, sorted, and notes.

    Raises:
        InputError: no such folder, neither layout, or films without a line in the table.
    """
    check_folder(folder)
    table = folder / "labels.csv"
    info = next((p for p in sorted(folder.rglob("*.txt")) if p.name.lower() == "info.txt"), None)
    if table.is_file() and (folder / "images").is_dir():
        tissue, notes = _prepared(table)
        root = folder / "images"
    elif info:
        tissue, notes = _published(info), []
        root = folder
    else:
        raise InputError(
            f"'{folder}' is not mini-MIAS: expected mdb001.pgm ... with Info.txt, or images/ with "
            f"labels.csv; give the unpacked data set"
        )
    films = {
        int(name[1]): path
        for path in sorted(root.rglob("*") if info else root.iterdir())
        if (name := _FILM.fullmatch(path.stem)) and is_image(path)
    }
    if not films:
        raise InputError(f"no films mdbNNN in '{root}'; give the unpacked data set")
    if unknown := [number for number in films if number not in tissue]:
        raise InputError(
            f"{len(unknown)} films have no tissue in the table, the first is mdb{unknown[0]:03d}; "
            f"expected a line for each; complete the table or remove the films"
        )
    if absent := len(tissue) - len(films):
        notes.append(f"{absent} films of the table are not in the folder")
    found = []
    for number, path in sorted(films.items()):
        right = number if number % 2 else number - 1
        pair, view = f"mdb{right:03d}-{right + 1:03d}", PAIR[1 - number % 2]
        found.append(
            SourceView(path=path, exam=pair, patient=pair, view=view, density=tissue[number])
        )
    return found, notes


def import_mini_mias(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import the set: see `lib.datasets.importers.Importer.run`.

    Pairs of films become exams, films become PNG; the labels are the tissue F, G or D as JSON.
    """
    films, notes = find_films(source)
    return write_studies(studies, films, PAIR, "mias", notes, on_item)


def _published(path: Path) -> dict[int, str]:
    """Return the tissue by number of the film; films with several findings have several lines."""
    text = path.read_text(encoding="latin-1")
    found = {int(name[3:]): tissue.upper() for name, tissue in _LINE.findall(text)}
    if not found:
        raise InputError(
            f"{path.name}: no line such as 'mdb001 G CIRC B 535 425 197'; give the set's own file"
        )
    return found


def _prepared(path: Path) -> tuple[dict[int, str], list[str]]:
    """Return the tissue by number of the film from ``labels.csv`` of a prepared copy, and notes."""
    rows, notes = read_table(path), []
    if not {"file", "density_fgd"} <= set(rows[0]):
        raise InputError(
            f"{path.name}: columns {', '.join(rows[0])}, expected file, patient, side, view and "
            f"density_FGD; correct its first line"
        )
    found, other_side = {}, 0
    for row in rows:
        name, tissue = _FILM.match(row["file"]), row["density_fgd"].upper()
        if not name or tissue not in MIAS:
            raise InputError(
                f"{path.name}: file '{row['file']}' with density '{tissue}', expected mdbNNN with "
                f"F, G or D; correct the line"
            )
        number = int(name[1])
        found[number] = tissue
        other_side += row.get("side", "").upper()[:1] not in ("", PAIR[1 - number % 2].laterality)
    if other_side:
        notes.append(
            f"{other_side} films have the other side in {path.name}; the rule of the set's "
            f"Info.txt is used: odd numbers are right breasts"
        )
    return found, notes
