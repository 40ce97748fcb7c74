"""One page about all answers: thumbnails with outlines, counts, a histogram of sizes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image as PillowImage
from scipy import ndimage

from lib.exports.answer import Answer
from lib.exports.overlay import chosen_slice, colours_of, displayed, outlined

THUMBNAIL = 256  # pixels of the longer side
MOST_THUMBNAILS = 1000  # of a page; further images stand in its table alone
BARS = 30
_UNITS = {False: ("area_px", "area_um2"), True: ("volume_voxels", "volume_ml")}
_WORDS = {"area_px": "pixels", "area_um2": "µm²", "volume_voxels": "voxels", "volume_ml": "ml"}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the page has of one image.

    Attributes:
        counts: number of objects by structure.
        sizes: of the objects by unit, "area_px", "area_um2", "volume_voxels" or "volume_ml"; those
            that the file tells no size for are left out.
        picture: thumbnail with outlines, JPEG.
        model: name and version.
    """

    id: str
    counts: dict[str, int]
    sizes: dict[str, list[float]]
    picture: bytes
    model: str


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Bars of equal width from the smallest size to the 99th percentile; the last holds the rest.

    Attributes:
        unit: in words.
        bars: lower and upper end and number of objects of each.
    """

    unit: str
    bars: list[tuple[float, float, int]]
    median: float


def summary_of(answer: Answer) -> Summary:
    """Return what the page has of one answer."""
    solid = answer.image.spatial_dims == 3 and not answer.image.over_time
    sizes = {
        unit: found
        for unit in _UNITS[solid]
        if (found := [row[unit] for row in answer.rows if row[unit] is not None])
    }
    names = [answer.structures[number] for number in answer.numbers]
    return Summary(
        id=answer.id,
        counts={name: names.count(name) for name in answer.labels},
        sizes=sizes,
        picture=_thumbnail(answer),
        model=f"{answer.model} {answer.version}".strip(),
    )


def summary_page(pieces: Sequence[Summary], suffix: str = ".html") -> bytes:
    """Return the page, HTML that loads nothing else.

    The histogram is of micrometres or millilitres if all images tell their pixel's size, else of
    pixels.
    """
    pieces = sorted(pieces, key=lambda one: one.id)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    template = environment.get_template("summary.html")
    structures = list(dict.fromkeys(name for one in pieces for name in one.counts))
    text = template.render(
        images=pieces,
        structures=structures,
        totals={name: sum(one.counts.get(name, 0) for one in pieces) for name in structures},
        models=sorted({one.model for one in pieces}),
        histograms=[found for solid in _UNITS if (found := _histogram(pieces, *_UNITS[solid]))],
        most=MOST_THUMBNAILS,
    )
    return text.encode()


def histogram(sizes: Sequence[float], unit: str) -> Histogram:
    """Return the histogram of sizes, at least one, in `unit`."""
    values = np.sort(np.asarray(sizes, dtype=float))
    low, high = float(values[0]), float(np.percentile(values, 99))
    edges = np.linspace(low, high if high > low else low + 1, min(BARS, len(values)) + 1)
    counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
    ends = edges.tolist()
    ends[-1] = max(ends[-1], float(values[-1]))
    bars = list(zip(ends[:-1], ends[1:], counts.tolist(), strict=True))
    return Histogram(unit=_WORDS[unit], bars=bars, median=float(np.median(values)))


def _histogram(pieces: Sequence[Summary], pixels: str, real: str) -> Histogram | None:
    found = [one for one in pieces if pixels in one.sizes]
    unit = real if all(real in one.sizes for one in found) else pixels
    sizes = [size for one in found for size in one.sizes[unit]]
    return histogram(sizes, unit) if sizes else None


def _thumbnail(answer: Answer) -> bytes:
    index = chosen_slice(answer)
    objects = answer.objects if answer.objects.ndim == 2 else answer.objects[index]
    picture = PillowImage.fromarray(displayed(answer, index))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    width, height = picture.size
    rows, columns = (
        np.minimum((np.arange(side) + 0.5) * full / side, full - 1).astype(int)
        for side, full in ((height, objects.shape[0]), (width, objects.shape[1]))
    )
    small = objects[np.ix_(rows, columns)]
    for number in set(answer.numbers) - set(np.unique(small).tolist()):
        if (objects == number).any():  # too small for a pixel of its own
            row, column = ndimage.center_of_mass(objects == number)
            small[int(row * height / len(objects)), int(column * width / objects.shape[1])] = number
    file = io.BytesIO()
    drawn = outlined(np.array(picture), small, colours_of(answer))
    PillowImage.fromarray(drawn).save(file, "JPEG", quality=85)
    return file.getvalue()
