"""Answers on images larger than memory, into files: what the server and the verbs share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.diameter import DIAMETER
from lib.errors import InputError
from lib.exports.large_geojson import large_geojson
from lib.image import TIFF_EXTENSIONS
from lib.io.label_pyramid import write_label_pyramid
from lib.io.read import stem
from lib.io.rows import LargeImage
from lib.segmentation.answer import INSTANCES, MASK
from lib.segmentation.bands import with_rows_around
from lib.segmentation.instances import with_gaps
from lib.segmentation.large import LargeAnswer
from lib.segmentation.predictor import Predictor
from lib.weights.familiarity import doubts

GEOJSON = "geojson"  # the one export of images of this size
_AROUND = 16  # rows that tell whether anything of an object would remain between gaps


def check_large(
    name: str,
    result: str,
    suffix: str,
    exports: Sequence[str],
    asked: Callable[[str], str],
    diameter: float = 0.0,
) -> None:
    """Refuse what an image of this size is not written as, before any work.

    Args:
        name: of the file.
        result: kind of label image.
        suffix: of the label image.
        exports: names of `lib.exports.formats.EXPORTS`.
        asked: returns how ``result``, ``format`` or an export is asked for, for messages.
        diameter: of the objects, pixels, as it was told; 0 where it was not.

    Raises:
        InputError: it is not.
    """
    if result not in (MASK, INSTANCES):
        raise InputError(
            f"{name}: {asked('result')} {result} is not for images of this size; ask for {MASK} or "
            f"{INSTANCES}, or crop the image"
        )
    if suffix not in TIFF_EXTENSIONS:
        raise InputError(
            f"{name}: an answer of this size is written as TIFF only, not as '{suffix}'; leave "
            f"{asked('format')} away"
        )
    if others := [asked(one) for one in exports if one != GEOJSON]:
        raise InputError(
            f"{name}: {', '.join(others)} is not for images of this size, only {asked(GEOJSON)} "
            f"is; leave it away, or crop the image"
        )
    if diameter:
        raise InputError(
            f"{name}: {DIAMETER} {diameter:g} is not for images of this size, which are not "
            f"resampled; leave it away, or make the image smaller, or crop it"
        )


def answer_large(
    predictor: Predictor,
    image: LargeImage,
    target: Path,
    result: str = INSTANCES,
    outlines: Sequence[Path] = (),
    flips: bool | None = None,
    progress: Callable[[float], object] = lambda share: None,
) -> dict[str, Any]:
    """Answer an image by rows into a tiled TIFF with a pyramid, and GeoJSON if it is asked for.

    Args:
        target: gets the label image; whole or not at all.
        result: `MASK` or `INSTANCES`, see `lib.segmentation.answer.label_image`.
        outlines: files that get the outlines.
        flips: see `lib.segmentation.predictor.Predictor`.
        progress: is told the share of the image that the network has seen, 0..1.

    Returns:
        ``seconds``, ``objects``, ``counts``, ``foreground`` (share of the image), ``warnings`` and
        ``strangeness`` as answers in memory have them, and what
        `lib.image.Image.facts` tells.

    Raises:
        InputError: the task needs the whole image, or the image cannot be read to its end.
    """
    start, task, id = time.perf_counter(), predictor.task, stem(image.path)
    ((structure, value),) = list(task.labels.items())[:1]
    with ExitStack() as stack:
        writers = []
        for path in outlines:
            path.parent.mkdir(parents=True, exist_ok=True)
            outlined = large_geojson(path, id, task.name, structure, image.spacing)
            writers.append(stack.enter_context(outlined))

        def found(objects: np.ndarray, row: int, column: int) -> None:
            for write in writers:
                write(objects, row, column)

        answer = LargeAnswer(predictor, image, found if writers else None, progress, flips)
        bands = answer.bands() if result == INSTANCES else masks_of(answer.bands(), value)
        write_label_pyramid(target, bands, image.shape, image.spacing)
    made = answer.separation
    row: dict[str, Any] = {
        "seconds": {"total": time.perf_counter() - start},
        "objects": made.count,
        "counts": {structure: made.count},
        "foreground": round(made.foreground / (image.shape[0] * image.shape[1]), 6),
        **doubts(answer.strangeness),
    }
    if image.channel:
        row["channel"] = image.channel
    if made.cut:
        row["notes"] = [
            f"{made.cut} objects were cut as they are higher than some thousand rows; they have a "
            f"number for each part"
        ]
    return row


def masks_of(bands: Iterator[np.ndarray], value: int) -> Iterator[np.ndarray]:
    """Yield bands of objects, int32 `(rows, columns)`, as masks of one value; gaps part objects.

    Of an object of a pixel or two, of which nothing would remain, only some rows are looked at.
    """
    planes = (band[np.newaxis] for band in bands)
    for rows, before, count in with_rows_around(planes, _AROUND):
        parted = with_gaps(rows[0])[before : before + count]
        yield np.where(parted > 0, np.int32(value), np.int32(0))
