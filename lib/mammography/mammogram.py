"""Reading of 2D mammograms, from DICOM and from pictures, as grey in which dense tissue is bright.

Every stored value is looked up in one table with 65,536 steps of output, which combines modality
LUT, window or VOI LUT, and inversion. So MONOCHROME1 and MONOCHROME2 files of one image give the
same pixels, and no large temporary array is needed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.image import DICOM_EXTENSIONS, MAX_PIXELS, check_pixel_count, has_extension
from lib.io.read import begins_as_dicom, extension, image_files, read_image, stem
from lib.isolation.calls import isolated
from lib.mammography.display import STEPS, display_table
from lib.mammography.greys import Mammogram, negative, of_picture
from lib.mammography.views import TOMOSYNTHESIS, view_of_name, view_of_tags

_LOGGER = logging.getLogger(__name__)
MAMMOGRAM_EXTENSIONS = (".pgm",)  # beside those of lib.io.read
BLOCK = 256  # rows looked up at a time
_BY_DETECTOR = ("CR", "DX", "OT", "SC", "RG")  # modalities that old mammograms come with


@isolated(image_files)
def read_mammogram(path: str | Path, max_pixels: int = MAX_PIXELS) -> Mammogram:
    """Read one view from DICOM (For Presentation or For Processing) or from a picture.

    Pictures are PNG, JPEG, TIFF, BMP, PGM and all other 2D files that `lib.io.read` reads.

    Raises:
        InputError: the image has more than `max_pixels`, the tags are not those of a mammogram, or
            the file is tomosynthesis, truncated, without pixels, of an unknown photometric
            interpretation, or blank; the message names the file and the cause.
    """
    path = Path(path)
    mammogram = _read_dicom(path, max_pixels) if is_dicom(path) else _read_picture(path, max_pixels)
    if float(mammogram.pixels.max()) - float(mammogram.pixels.min()) < 8 / 255:
        raise InputError(
            f"{path.name}: blank, its {mammogram.pixels.size} pixels hardly differ; expected a "
            f"mammogram; export the image again"
        )
    for note in (*mammogram.notes, *mammogram.doubts):
        _LOGGER.warning("%s: %s", path.name, note)
    return mammogram


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its extension or its first bytes."""
    if has_extension(path, DICOM_EXTENSIONS):
        return True
    return not extension(path) and path.is_file() and begins_as_dicom(path)


def _read_picture(path: Path, max_pixels: int) -> Mammogram:
    if path.suffix.lower() in MAMMOGRAM_EXTENSIONS:
        if not path.is_file():
            raise InputError(f"{path.name}: no such file")
        from lib.io.pictures import read_picture

        pixels, colour = read_picture(path, max_pixels), False
    else:
        image = read_image(path, max_pixels)
        pixels, colour = image.pixels, image.colour
    name = stem(path) if extension(path) else path.stem
    return of_picture(pixels, path, view_of_name(name), colour)


def _read_dicom(path: Path, max_pixels: int) -> Mammogram:
    data, notes = _header(path, max_pixels)
    notes += _check_modality(path.name, data)
    tagged = view_of_tags(data)
    view, modifiers = tagged.view, tagged.modifiers
    if (named := view_of_name(stem(path))) and view != named.view:
        if view.laterality and view.projection:
            notes.append(f"the tags say {view.name}, the name {named.view.name}; the tags count")
        view = view.or_else(named.view)
    from lib.dicom.pixels import decode_frames

    frames = decode_frames(path, data)
    stored = frames.values[0]
    table, first, table_notes = display_table(path.name, data, stored)
    notes += [*frames.notes, *table_notes]
    del data.PixelData  # as large as what was decoded from it
    greys = table.astype(np.float32) / np.float32(STEPS)
    grey = np.empty(stored.shape, np.float32)
    for rows in np.array_split(np.arange(len(stored)), max(len(stored) // BLOCK, 1)):
        block = slice(rows[0], rows[-1] + 1)  # an index takes 64 bits for each pixel
        grey[block] = np.take(greys, stored[block].astype(np.intp) - first, mode="clip")
    if frames.padding is not None:
        grey[frames.padding[0]] = 0
    del stored, frames
    if negative(grey):
        np.subtract(np.float32(1), grey, out=grey)
        notes.append(f"the background is bright for {data.PhotometricInterpretation}; inverted")
    doubts = [f"a view that is {modifier}, not a plain one" for modifier in modifiers]
    orientation = tuple(str(part) for part in data.get("PatientOrientation") or ())
    return Mammogram(
        pixels=grey,
        view=view,
        modifiers=modifiers,
        spacing=_spacing(data),
        orientation=(orientation[0], orientation[1]) if len(orientation) == 2 else None,
        path=path,
        notes=tuple(notes),
        doubts=tuple(doubts),
    )


def _header(path: Path, max_pixels: int) -> tuple[Any, list[str]]:
    """Return the dataset of a mammogram, and notes on what its header leaves out."""
    from lib.dicom.header import frame_count, open_with_notes

    data, notes = open_with_notes(path)
    frames = frame_count(data)
    if frames > 1 or str(data.get("SOPClassUID", "")) in TOMOSYNTHESIS:
        raise InputError(
            f"{path.name}: tomosynthesis or another image of {frames} frames, expected a 2D "
            f"mammogram; give the 2D view of the exam"
        )
    check_pixel_count(path.name, (int(data.Columns), int(data.Rows)), max_pixels)
    if not data.get("PixelData"):
        raise InputError(f"{path.name}: holds no pixel data; it may be truncated, export it again")
    photometric = data.PhotometricInterpretation
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"{path.name}: photometric interpretation '{photometric}', expected MONOCHROME1 or "
            f"MONOCHROME2 of a mammogram; export the original image"
        )
    return data, list(notes)


def _check_modality(name: str, data: Any) -> list[str]:
    """Return notes on odd tags.

    Raises:
        InputError: the tags are not those of a mammogram.
    """
    modality = str(data.get("Modality") or "").strip().upper()
    body = str(data.get("BodyPartExamined") or "").strip().upper()
    position = view_of_tags(data).view.projection
    if position == "specimen" or "SPECIMEN" in str(data.get("ImageType") or "").upper():
        raise InputError(f"{name}: shows a tissue specimen, expected a mammogram of a breast")
    breast = "BREAST" in body or "MAMM" in body
    if modality == "MG":
        odd = f"BodyPartExamined is {body}, expected BREAST; read as a mammogram all the same"
        return [odd] if body and not breast else []
    if body and not breast:
        raise InputError(
            f"{name}: shows {body} (modality {modality or 'none'}), expected a mammogram; give a "
            f"view of a breast"
        )
    if not modality or (modality in _BY_DETECTOR and (breast or position)):
        return [f"Modality is {modality or 'none'}, expected MG; read as a mammogram all the same"]
    raise InputError(
        f"{name}: modality {modality}{f' of {body}' if body else ''}, expected a mammogram (MG); "
        f"give a 2D view of a mammography exam"
    )


def _spacing(data: Any) -> tuple[float, float] | None:
    for tag in ("ImagerPixelSpacing", "PixelSpacing"):
        try:
            down, across = (float(value) for value in data.get(tag))
        except (TypeError, ValueError):
            continue
        if down > 0 and across > 0 and np.isfinite((down, across)).all():
            return down, across
    return None
