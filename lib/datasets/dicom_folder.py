"""Folders of DICOM files, as a scanner or an archive exports them, as images and volumes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from lib.data.dicom_folders import DicomSeries, find_series, is_dicom_file
from lib.data.groups import Grouped, write_groups
from lib.data.studies import FINAL_LABELS
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.dicom.read import dicom_size, read_dicom
from lib.dicom.series import read_series
from lib.errors import InputError
from lib.files import copy_atomically
from lib.image import MAX_VOXELS, Image
from lib.io.read import check_readable
from lib.io.volumes import whole_file, write_volume


def import_dicom(source: Path, studies: Path, on_item: OnItem | None = None) -> ImportReport:
    """Import series of DICOM: see `lib.datasets.importers.Importer.run`.

    All folders in `source` are searched, but the top of `studies` and its labels. The slices of a
    series become one volume with its place in the patient, ``<folder>.nrrd``, or one for each time,
    echo or stack, ``<folder>_<name>.nrrd``; so do the frames of a file. A file that is an image, a
    loop or one volume is copied as ``<folder>_<file>.dcm``. What is imported already is kept as it
    is. ``groups.csv`` keeps the images of a patient on one side of a split.

    Returns:
        The report; its figures are `left_out`: the reason for each file or series without an image.
    """
    check_folder(source, "a folder of DICOM files")
    files = [path for path in _files(source, studies) if is_dicom_file(path)]
    series, left_out = find_series(files)
    names = _Names()
    (studies / FINAL_LABELS).mkdir(parents=True, exist_ok=True)
    groups: list[Grouped] = []
    notes: list[str] = []
    for one in counted(series, on_item):
        for name, parts in names.of(one, alone=_alone(one, series)):
            try:
                for target, found in _written(studies / name, parts, one.volume):
                    groups.append(Grouped(target.stem, one.patient))
                    notes += [f"{target.name}: {note}" for note in found]
            except InputError as error:
                left_out.append(str(error))
    if not groups:
        raise InputError(
            f"no images in '{source}': {left_out[0] if left_out else 'no DICOM files in it'}; "
            f"expected series of DICOM images; give the folder that holds them"
        )
    write_groups(studies, (row for row in groups if row.group))
    volumes = sum(one.volume for one in series)
    lines = [f"{len(groups)} images of {len(series)} series imported into {studies}"]
    lines += [f"{volumes} of the series are slices of one volume each"] if volumes else []
    lines += [*notes, *(f"left out: {reason}" for reason in left_out)]
    return ImportReport(images=len(groups), lines=tuple(lines), figures={"left_out": left_out})


def _files(source: Path, studies: Path) -> list[Path]:
    """Return all files in `source`, sorted, without those that `studies` holds itself."""
    top, labels = studies.resolve(), (studies / "labels").resolve()
    files = (path for path in source.resolve().rglob("*") if path.is_file())
    return sorted(path for path in files if path.parent != top and labels not in path.parents)


class _Names:
    """File names in the studies folder: those of folder and file, with a number where taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, series: DicomSeries, alone: bool) -> Iterator[tuple[str, tuple[Path, ...]]]:
        """Yield the name of each image of a series, with the files that it is made of.

        Args:
            alone: whether no other series lies in the folder.
        """
        folder = _plain(series.files[0].parent.name)
        if series.volume:
            number = "" if alone else f"_{_plain(series.number or series.uid)}"
            yield self._free(f"{folder}{number}", ".nrrd"), series.files
            return
        for file in series.files:
            stem = file.name.removesuffix(".dcm")
            yield self._free(f"{folder}_{_plain(stem)}", ".dcm"), (file,)

    def _free(self, stem: str, extension: str) -> str:
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return f"{name}{extension}"


def _plain(text: str) -> str:
    """Return a text as a part of a file name: letters, digits, and those of ``_ . -`` are kept."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "series"


def _alone(one: DicomSeries, series: list[DicomSeries]) -> bool:
    folder = one.files[0].parent
    return sum(other.files[0].parent == folder for other in series) == 1


def _written(
    target: Path, files: tuple[Path, ...], volume: bool
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Write what a series, or a file of it, holds; yield each file with what to know of it.

    A file that is there is kept.

    Raises:
        InputError: the files cannot be read, or are no volume.
    """
    if target.exists():
        yield target, ()
    elif volume:
        yield from _volumes(target, partial(read_series, files, f"series {target.stem}"))
    elif _holds_several(files[0]):
        own = target.with_suffix(".nrrd")
        yield from _volumes(own, partial(read_dicom, files[0], MAX_VOXELS, 3))
    else:
        check_readable(files[0])
        copy_atomically(files[0], target)
        yield target, ()


def _volumes(target: Path, read: Callable[..., Image]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Write each of the volumes that `read` tells apart, by its name if there are several."""
    names, index = [""], 0
    while index < len(names):

        def choose(_: str, found: Sequence[str], index: int = index) -> int:
            names[:] = found
            return index

        image = read(choose=choose)
        own = target.with_stem(f"{target.stem}_{_plain(names[index])}") if names[1:] else target
        if not own.exists():
            with whole_file(own) as temporary:
                write_volume(temporary, image.pixels, image.geometry)
        yield own, image.notes
        index += 1


def _holds_several(file: Path) -> bool:
    """Tell whether a file holds several volumes."""
    asked = False

    def choose(_: str, __: Sequence[str]) -> int:
        nonlocal asked
        asked = True
        return 0

    dicom_size(file, choose)
    return asked
