"""Where a study's images come from: the studies folder, or phantoms made here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from lib.datasets.groups import GROUPS
from lib.datasets.studies import FINAL_LABELS, Item, list_items
from lib.errors import InputError
from lib.files import write_atomically

VOLUMES = 24
NUCLEI = 48
SEED = 0
ORIGIN = "origin.txt"


def study_items(
    folder: Path, importer: Callable[[Path, Path], object] | None, out: Path
) -> list[Item]:
    """Return the labelled images of a studies folder, or of a data set as published.

    Args:
        importer: copies the data set into a studies folder; None where only those are known.
        out: where it is copied to; what is there of the same data set is not copied again.

    Raises:
        InputError: neither, or `out` holds something else.
    """
    if importer is None or (folder / FINAL_LABELS).is_dir():
        return list_items(folder, labelled=True)
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
        importer(folder, out)
    return list_items(out, labelled=True)


def _origin(folder: Path) -> str:
    """Return what tells a data set from another: names, sizes and times of its files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            facts = path.stat()
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def import_nerve(source: Path, studies: Path) -> None:
    """Import Kaggle's ultrasound-nerve-segmentation."""
    from lib.datasets import nerve

    nerve.import_nerve(source, studies)


def import_busi(source: Path, studies: Path) -> None:
    """Import BUSI."""
    from lib.datasets import busi

    busi.import_busi(source, studies)


def nuclei_items(folder: Path) -> list[Item]:
    """Return seeded phantoms of nuclei with labels, written to `folder` where missing."""
    from lib.datasets.phantoms import write_nuclei_studies

    write_nuclei_studies(folder, NUCLEI, NUCLEI, SEED)
    return list_items(folder, labelled=True)


def volume_items(folder: Path) -> list[Item]:
    """Return seeded phantom volumes of a gland with labels, written to `folder` where missing.

    They stand in for volumes that the publication does not have; see
    `lib.datasets.ultrasound_phantoms`.
    """
    from lib.datasets.ultrasound_phantoms import write_ultrasound_studies

    write_ultrasound_studies(
        folder, SEED, nerves=0, breasts=0, volumes=VOLUMES, loops=0, labelled=1.0
    )
    return list_items(folder, labelled=True)
