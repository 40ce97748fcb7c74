"""GeoJSON of an image that is larger than memory, written as objects are found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib.exports.geojson import feature
from lib.exports.outlines import outlines
from lib.files import replaced_atomically


class LargeGeoJson:
    """Writes features as `lib.exports.geojson.geojson` does, with the area as the only measure.

    Args:
        file: gets the content.
        id: of the image.
        model: name of the task.
        structure: name of what the objects are.
        spacing: size of a pixel along x and y in millimetres, if it is known.
    """

    def __init__(
        self,
        file: BinaryIO,
        id: str,
        model: str,
        structure: str,
        spacing: tuple[float, float] | None,
    ) -> None:
        self.file, self.name, self.structure = file, f"{id} {model}", structure
        self.square = spacing[0] * spacing[1] * 1e6 if spacing else None  # µm²
        self.written = 0

    def __call__(self, objects: np.ndarray, row: int, column: int) -> None:
        """Write the outlines of objects `(rows, columns)`, which begin at a row and column."""
        inside = objects > 0
        least = int(objects.min(where=inside, initial=np.iinfo(np.int32).max)) - 1
        areas = np.bincount((objects - least)[inside])
        found = outlines(np.where(inside, objects - least, 0), (row, column))
        for number, outline in found.items():
            area = int(areas[number])
            measures = {"area_px": float(area)}
            if self.square is not None:
                measures["area_um2"] = area * self.square
            one = feature(self.name, number + least, outline, self.structure, 0, measures, True)
            self.file.write(b",\n" if self.written else b"")
            self.file.write(json.dumps(one).encode())
            self.written += 1


@contextmanager
def large_geojson(
    path: Path, id: str, model: str, structure: str, spacing: tuple[float, float] | None
) -> Iterator[LargeGeoJson]:
    """Yield what writes `path`, which is there whole once the body ends well, else not at all."""
    with replaced_atomically(path) as temporary, open(temporary, "wb") as file:
        file.write(b'{"type": "FeatureCollection", "features": [\n')
        yield LargeGeoJson(file, id, model, structure, spacing)
        file.write(b"\n]}\n")
