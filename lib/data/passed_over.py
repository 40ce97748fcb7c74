"""What a studies folder holds beside its images: subfolders, series of DICOM, other files."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib.data.dicom_folders import find_series, is_dicom_file
from lib.data.studies import labels_passed_over
from lib.files import is_text
from lib.image import is_zarr_folder
from lib.io.read import extension

MOST_FILES = 50_000  # that are looked at; a folder with more is told as having these at least
MOST_HEADERS = 500  # of DICOM files at the top that are read
NAMED = 5  # subfolders that a sentence names
_OWN_FOLDERS = ("labels",)  # at the top; hidden ones are never looked at


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """Files of a studies folder that are no images of it, as they do not lie at its top.

    Attributes:
        folder: the studies folder.
        images: number of image files in each subfolder, by its path in the folder.
        series: number of DICOM files in each subfolder, by its path in the folder.
        loose: names of DICOM files at the top that have no extension.
        no_text: names of images at the top that are not UTF-8.
        slices: number of slices of each series at the top; each slice is an image of its own there.
        labels: what among the labels counts for nothing, a sentence each.
        zarr: names of folders of OME-Zarr at the top.
    """

    folder: Path
    images: dict[str, int]
    series: dict[str, int]
    loose: tuple[str, ...] = ()
    no_text: tuple[str, ...] = ()
    slices: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    zarr: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """The number of files that were passed over."""
        inside = sum(self.images.values()) + sum(self.series.values())
        return inside + len(self.loose) + len(self.no_text) + len(self.zarr)

    @property
    def sentences(self) -> list[str]:
        """What was passed over and how to include it, a sentence each; none if there is nothing."""
        said = []
        where = shlex.quote(self.folder.as_posix())
        if self.series:
            said.append(
                f"passed over {_counted(self.series, 'DICOM file')}: "
                f"only files at the top of {where} are images; `python -m monailabel_app import "
                f"dicom {where} {where}` joins the slices of each series into one volume there"
            )
        if self.images:
            said.append(
                f"passed over {_counted(self.images, 'image')}: only files at the top of "
                f"{where} are images; move them there, or serve the subfolder"
            )
        if self.loose:
            said.append(
                f"passed over {_of(len(self.loose), 'DICOM file')} without an extension, such as "
                f"{self.loose[0]}; name them .dcm, or take them from a folder with `import dicom`"
            )
        if self.no_text:
            said.append(
                f"passed over {_of(len(self.no_text), 'image')} with names that are not UTF-8, "
                f"such as {self.no_text[0]}; rename them"
            )
        if self.slices:
            said.append(
                f"{sum(self.slices)} DICOM files at the top are slices of {len(self.slices)} "
                f"series, each an image of its own here; to make volumes of them `python -m "
                f"monailabel_app import dicom {where} OTHER_FOLDER`, and serve that folder"
            )
        if self.zarr:
            said.append(
                f"passed over {_of(len(self.zarr), 'OME-Zarr folder')}, such as {self.zarr[0]}: an "
                f"image is one file here; pack each, as in `cd {shlex.quote(self.zarr[0])} && zip "
                f"-r0 ../NAME.ozx .`"
            )
        return [*said, *self.labels]


def find_passed_over(studies: Path) -> PassedOver:
    """Look for image files that are not at the top of a studies folder.

    Hidden folders, links to folders, ``labels`` and, beside ``labels``, ``images`` are not looked
    at.
    """
    images: Counter[str] = Counter()
    series: Counter[str] = Counter()
    loose: list[str] = []
    no_text: list[str] = []
    top: list[Path] = []
    for file in _files(studies):
        inside = file.parent != studies
        name = _shown(file.parent.relative_to(studies).as_posix())
        if not inside and extension(file) and not is_text(file.name):
            no_text.append(_shown(file.name))
        elif is_dicom_file(file):
            if inside:
                series[name] += 1
            elif extension(file):
                top.append(file)
            else:
                loose.append(_shown(file.name))
        elif extension(file) and inside:
            images[name] += 1
    slices = [one for one in find_series(top[:MOST_HEADERS])[0] if one.volume]
    return PassedOver(
        folder=studies,
        images=images,
        series=series,
        loose=tuple(loose),
        no_text=tuple(no_text),
        slices=tuple(len(one.files) for one in slices),
        labels=tuple(map(_shown, labels_passed_over(studies))),
        zarr=tuple(_shown(one.name) for one in sorted(studies.glob("*")) if is_zarr_folder(one)),
    )


def _files(studies: Path) -> Iterator[Path]:
    compact = (studies / "images").is_dir() and (studies / "labels").is_dir()
    own = {*_OWN_FOLDERS, *(("images",) if compact else ())}
    count = 0
    for folder, inner, names in os.walk(studies):
        top = Path(folder) == studies
        inner[:] = sorted(
            name for name in inner if not name.startswith(".") and not (top and name in own)
        )
        for name in sorted(names):
            file = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isfile(file):  # opening a pipe never returns
                count += 1
                yield Path(file)
        if count > MOST_FILES:
            return


def _shown(text: str) -> str:
    """Return a text with a sign in place of each byte that is not UTF-8."""
    return os.fsencode(text).decode(errors="replace")


def _counted(folders: dict[str, int], what: str) -> str:
    """Return how many files lie in how many subfolders, with the names of the first of these."""
    named = [f"{name} ({count})" for name, count in list(folders.items())[:NAMED]]
    more = ", ..." if len(folders) > NAMED else ""
    files, inside = _of(sum(folders.values()), what), _of(len(folders), "subfolder")
    return f"{files} in {inside} ({', '.join(named)}{more})"


def _of(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
