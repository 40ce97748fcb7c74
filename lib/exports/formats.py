"""The one table of what an answer can be written as, beside its label image.

A further format is one more row: the command line gets its option (``--overlay`` of `infer` and
`batch-infer`), the server its ``output`` and its name in ``exports``. Rows name functions, so that
this table imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from lib.errors import InputError, choose


@dataclass(frozen=True, kw_only=True)
class Export:
    """One row.

    Attributes:
        suffixes: file types by their extensions, the first by default.
        media_type: as HTTP names it, of each of `suffixes`.
        help: one sentence for the command line.
        piece: "module:function" that returns what one answer (`lib.exports.answer.Answer`)
            contributes; it can be pickled.
        file: "module:function" that returns the bytes of the file from a list of pieces and the
            suffix; empty where the piece of one answer is its file.
        joint: whether one file is of all images; else each image has its own.
    """

    suffixes: tuple[str, ...]
    media_type: tuple[str, ...]
    help: str
    piece: str
    file: str = ""
    joint: bool = False

    def take(self, answer: Any) -> Any:
        """Return what an answer contributes."""
        function: Callable[[Any], Any] = resolve_name(self.piece)
        return function(answer)

    def content(self, pieces: Sequence[Any], suffix: str) -> bytes:
        """Return the bytes of the file of some pieces."""
        if self.file:
            content: bytes = resolve_name(self.file)(pieces, suffix)
            return content
        (piece,) = pieces
        return bytes(piece)


EXPORTS: dict[str, Export] = {
    "table": Export(
        suffixes=(".csv", ".parquet"),
        media_type=("text/csv", "application/vnd.apache.parquet"),
        help="Measure each object: one table (.csv or .parquet) of all images.",
        piece="lib.exports.table:rows_of",
        file="lib.exports.table:table_file",
        joint=True,
    ),
    "overlay": Export(
        suffixes=(".png",),
        media_type=("image/png",),
        help="The image with outlines: a .png, or a folder for one of each image.",
        piece="lib.exports.overlay:overlay_png",
    ),
    "rois": Export(
        suffixes=(".zip",),
        media_type=("application/zip",),
        help="ImageJ ROIs: a .zip, or a folder for one of each image.",
        piece="lib.exports.rois:roi_zip",
    ),
    "geojson": Export(
        suffixes=(".geojson", ".json"),
        media_type=("application/geo+json", "application/geo+json"),
        help="Outlines for QuPath: a .geojson, or a folder for one of each image.",
        piece="lib.exports.geojson:geojson",
    ),
    "dicom_seg": Export(
        suffixes=(".dcm",),
        media_type=("application/dicom",),
        help="DICOM segmentation of a DICOM image: a .dcm, or a folder.",
        piece="lib.exports.dicom_seg:segmentation",
    ),
    "summary": Export(
        suffixes=(".html",),
        media_type=("text/html",),
        help="One page of all images: thumbnails with outlines, sizes. Needs no network.",
        piece="lib.exports.summary:summary_of",
        file="lib.exports.summary:summary_page",
        joint=True,
    ),
}


def option_of(name: str) -> str:
    """Return the option of the command line for a row, such as ``--dicom-seg``."""
    return f"--{name.replace('_', '-')}"


def media_type(name: str, suffix: str) -> str:
    """Return the media type of a row's files of a suffix."""
    row = EXPORTS[name]
    return row.media_type[row.suffixes.index(suffix)]


def read_name(asked: str) -> tuple[str, str]:
    """Return name and suffix of what a request asks for, as "table" or "table.parquet".

    Raises:
        NotFoundError: there is no such row.
        InputError: it is not written as files of this type.
    """
    name, _, ending = asked.partition(".")
    row = choose("export", name, EXPORTS)
    suffix = f".{ending}" if ending else row.suffixes[0]
    if suffix not in row.suffixes:
        raise InputError(
            f"exports: {name} is not written as '{suffix[:20]}', expected one of "
            f"{', '.join(row.suffixes)}"
        )
    return name, suffix


def read_names(asked: Any) -> tuple[tuple[str, str], ...]:
    """Return names and suffixes of a list, or of one name; none for None.

    Raises:
        InputError: something else, or an unknown name.
    """
    if asked in (None, "", []):
        return ()
    names = [asked] if isinstance(asked, str) else asked
    if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) for one in names):
        raise InputError(f"exports: expected a list of names, of {', '.join(EXPORTS)}")
    return tuple(dict(read_name(one) for one in names).items())
