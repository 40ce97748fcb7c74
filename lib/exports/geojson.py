"""Objects as GeoJSON (RFC 7946) with the properties that QuPath reads and writes."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any

import shapely

from lib.exports.answer import Answer
from lib.exports.outlines import COLOURS, outlines

_NAMED = ("id", "structure", "frame")  # what is no measurement
_SPACE = uuid.UUID("6f4b0d0e-52a7-4c0b-9d6e-0b1f6c7f3f5a")


def geojson(answer: Answer) -> bytes:
    """Return a FeatureCollection with one feature for each object and slice, in pixels.

    Objects that the task separates are detections, others annotations. Each has its structure as
    classification, and its measures. In volumes and loops ``plane`` tells the slice or frame, from
    0, as QuPath has it. The id of a feature is the same each time.
    """
    rows = {row["id"]: row for row in answer.rows}
    features = [
        _feature(answer, index, number, outline, rows[number])
        for index, plane in answer.planes()
        for number, outline in outlines(plane).items()
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _feature(
    answer: Answer, index: int, number: int, outline: shapely.Geometry, row: dict[str, Any]
) -> dict[str, Any]:
    structure = answer.structures[number]
    measurements = {
        name: value
        for name, value in row.items()
        if name not in _NAMED and value is not None and math.isfinite(value)
    }
    made = feature(
        f"{answer.id} {answer.model}",
        number,
        outline,
        structure,
        list(answer.labels).index(structure),
        measurements,
        answer.separated,
        index,
    )
    if answer.objects.ndim == 3:
        z, t = (0, index) if answer.image.over_time else (index, 0)
        made["geometry"]["plane"] = {"c": -1, "z": z, "t": t}
    return made


def feature(
    name: str,
    number: int,
    outline: shapely.Geometry,
    structure: str,
    order: int,
    measurements: dict[str, Any],
    detection: bool,
    index: int = 0,
) -> dict[str, Any]:
    """Return a feature of GeoJSON.

    Args:
        name: of image and model.
        number: of the object.
        outline: in pixels.
        structure: name of what it is.
        order: of the structure among those of the task, by which it is coloured.
        measurements: by name.
        detection: whether it is a detection, else an annotation.
        index: of the slice or frame.
    """
    geometry = json.loads(shapely.to_geojson(outline))
    geometry["coordinates"] = _whole(geometry["coordinates"])
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_SPACE, f"{name} {index} {number}")),
        "geometry": geometry,
        "properties": {
            "objectType": "detection" if detection else "annotation",
            "name": f"{structure} {number}",
            "classification": {
                "name": structure,
                "color": list(COLOURS[order % len(COLOURS)]),
            },
            "measurements": measurements,
        },
    }


def _whole(coordinates: Any) -> Any:
    """Return nested coordinates, which lie on the edges of pixels, as whole numbers."""
    if isinstance(coordinates, list):
        return [_whole(one) for one in coordinates]
    return round(coordinates)
