"""Where a study's images come from: the studies folder, or phantoms made here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lib.classification.cases import labelled_views
from lib.data.groups import GROUPS
from lib.data.studies import FINAL_LABELS, Item, list_items
from lib.datasets.importing import ImportReport
from lib.errors import InputError
from lib.files import file_stamp, write_atomically

Importer = Callable[[Path, Path], ImportReport]

LISTS: dict[str, Callable[[Path], list[Item]]] = {
    "masks": partial(list_items, labelled=True),
    "exams": labelled_views,
}
VOLUMES = 24
NUCLEI = 48
SEED = 0
ORIGIN = "origin.txt"


def study_items(
    folder: Path,
    importer: Importer | None,
    out: Path,
    subject: str = "masks",
    say: Callable[[str], object] = lambda line: None,
) -> list[Item]:
    """Return the labelled images of a studies folder, or of a data set as published.

    Args:
        importer: copies the data set into a studies folder; None where only those are known.
        out: where it is copied to; what is there of the same data set is not copied again.
        subject: what the labels are of, see `benchmarks.reproduction.study.Study`.
        say: shows a line of what the import found.

    Raises:
        InputError: neither, or `out` holds something else.
    """
    if importer is None or (folder / FINAL_LABELS).is_dir():
        return LISTS[subject](folder)
    origin, mark = _origin(folder), out / ORIGIN
    known = mark.read_text() if mark.is_file() else ""
    if known != origin and out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"'{out}' holds other images than '{folder}', which would be imported into it; choose "
            f"another --out, or give a studies folder with {FINAL_LABELS.as_posix()}/"
        )
    if known != origin or not (out / GROUPS).is_file():  # which is written last
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, lambda file: file.write(origin.encode()))
        for line in importer(folder, out).lines:
            say(line)
    return LISTS[subject](out)


def _origin(folder: Path) -> str:
    """Return a fingerprint of a data set: of the names, sizes and times of its files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            time_ns, size, _ = file_stamp(path)
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}:{size}:{time_ns}\n".encode())
    return digest.hexdigest()[:16]


def import_mammograms(source: Path, studies: Path) -> ImportReport:
    """Import INbreast, mini-MIAS or a folder with a table of densities, whichever it is.

    Raises:
        InputError: none of these.
    """
    from lib.datasets import density_folder, inbreast, mini_mias

    if not source.is_dir():
        raise InputError(f"folder '{source}' does not exist; give a folder of mammograms")
    names = {path.name.lower() for path in source.rglob("*")}
    if inbreast.TABLE.lower() in names:
        return inbreast.import_inbreast(source, studies)
    if any(re.match(r"mdb\d{3}\.", name) for name in names):
        return mini_mias.import_mini_mias(source, studies)
    try:
        table = density_folder.find_table(source)
    except InputError as error:
        raise InputError(
            f"'{source}' is neither a studies folder with {FINAL_LABELS.as_posix()}/, nor INbreast "
            f"with {inbreast.TABLE}, nor mini-MIAS with mdbNNN.pgm ({error}); run `import "
            f"inbreast|mini_mias|density SOURCE FOLDER` first and give FOLDER"
        ) from None
    return density_folder.import_density_folder(source, studies, table=table)


def nuclei_items(folder: Path) -> list[Item]:
    """Return seeded phantoms of nuclei with labels, written to `folder` where missing."""
    from lib.phantoms.nuclei import write_nuclei_studies

    write_nuclei_studies(folder, NUCLEI, NUCLEI, SEED)
    return list_items(folder, labelled=True)


def volume_items(folder: Path) -> list[Item]:
    """Return seeded phantom volumes of a gland with labels, written to `folder` where missing.

    They stand in for volumes that the publication does not have; see
    `lib.phantoms.ultrasound.studies`.
    """
    from lib.phantoms.ultrasound.studies import write_ultrasound_studies

    write_ultrasound_studies(
        folder, SEED, nerves=0, breasts=0, volumes=VOLUMES, loops=0, labelled=1.0
    )
    return list_items(folder, labelled=True)
