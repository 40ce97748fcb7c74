"""Outlines in the forms that whole-slide viewers read from MONAI Label: ASAP's XML, DSA's JSON.

ASAP's XML is what QuPath's MONAI Label extension asks for, DSA's what the Digital Slide Archive
stores. Neither has holes: an outline is the outer ring of a polygon.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import shapely

from lib.exports.outlines import COLOURS


@dataclass(frozen=True)
class SlideAnnotations:
    """What a model found in a region of a slide.

    Attributes:
        model, description: name of the task, and what it is for.
        location, size: of the region, x first, in pixels of the slide at full size.
        rings: structure and outline of each object, `(points, 2)`, x first, in pixels of the slide.
        seconds: that the answer took.
    """

    model: str
    description: str
    location: tuple[int, int]
    size: tuple[int, int]
    rings: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """A title."""
        return f"{self.model} {[*self.location, *self.size]}"

    @property
    def structures(self) -> list[str]:
        """The names of what was found, in the order in which they are coloured."""
        return list(dict.fromkeys(structure for structure, _ in self.rings))


def rings_of(
    features: Sequence[Mapping[str, Any]], location: tuple[int, int], least_area: float
) -> list[tuple[str, list[tuple[int, int]]]]:
    """Return the outer rings of features of GeoJSON, not closed, moved to their place.

    Args:
        features: as `lib.exports.geojson` writes them, in pixels of the region.
        location: x and y of the region in the slide.
        least_area: in pixels; smaller outlines are left out.
    """
    left, top = location
    rings = []
    for one in features:
        shape = shapely.geometry.shape(one["geometry"])
        for part in shapely.get_parts(shape):
            if part.area >= least_area:
                points = [(int(x) + left, int(y) + top) for x, y in part.exterior.coords[:-1]]
                rings.append((str(one["properties"]["classification"]["name"]), points))
    return rings


def asap_xml(found: SlideAnnotations) -> bytes:
    """Return the XML of ASAP: an ``Annotation`` with ``Coordinate`` elements for each outline."""
    root = ElementTree.Element("ASAP_Annotations")
    (left, top), (width, height) = found.location, found.size
    about = {"Name": found.name, "Description": found.description, "Model": found.model}
    place = {"X": str(left), "Y": str(top), "W": str(width), "H": str(height)}
    annotations = ElementTree.SubElement(root, "Annotations", {**about, **place})
    colours = {name: _hex(order) for order, name in enumerate(found.structures)}
    for structure, ring in found.rings:
        about = {"Name": structure, "Type": "Polygon", "PartOfGroup": structure}
        about["Color"] = colours[structure]
        annotation = ElementTree.SubElement(annotations, "Annotation", about)
        points = ElementTree.SubElement(annotation, "Coordinates")
        for order, (x, y) in enumerate(ring):
            at = {"Order": str(order), "X": str(x), "Y": str(y)}
            ElementTree.SubElement(points, "Coordinate", at)
    groups = ElementTree.SubElement(root, "AnnotationGroups")
    for structure, colour in colours.items():
        about = {"Name": structure, "PartOfGroup": "None", "Color": colour}
        group = ElementTree.SubElement(groups, "Group", about)
        ElementTree.SubElement(group, "Attributes")
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def dsa_json(found: SlideAnnotations) -> bytes:
    """Return an annotation document of the Digital Slide Archive, a closed polyline for each."""
    order = {name: number for number, name in enumerate(found.structures)}
    elements = [
        {
            **{"type": "polyline", "closed": True, "lineWidth": 2.0, "group": structure},
            "lineColor": f"rgb{COLOURS[order[structure] % len(COLOURS)]}",
            "points": [[x, y, 0] for x, y in ring],
            "label": {"value": structure},
        }
        for structure, ring in found.rings
    ]
    about = {"model": found.model, "desc": found.description, **_place(found)}
    description = json.dumps({**about, "count": len(elements)})
    return json.dumps(
        {"name": found.name, "description": description, "elements": elements}
    ).encode()


def plain_json(found: SlideAnnotations) -> bytes:
    """Return outlines as MONAI Label's own JSON of them: contours under the name of each."""
    elements = [
        {"label": name, "contours": [ring for one, ring in found.rings if one == name]}
        for name in found.structures
    ]
    labels = {name: COLOURS[order % len(COLOURS)] for order, name in enumerate(found.structures)}
    annotation = {**_place(found), "elements": elements, "labels": labels}
    about = {"name": found.name, "description": found.description, "model": found.model}
    latencies = {"total": round(found.seconds, 4)}
    whole = {**about, **_place(found), "latencies": latencies}
    return json.dumps({**whole, "annotations": [{"annotation": annotation}]}).encode()


FORMS: dict[str, tuple[str, Callable[[SlideAnnotations], bytes]]] = {
    "asap": ("application/xml", asap_xml),
    "dsa": ("application/json", dsa_json),
    "json": ("application/json", plain_json),
}
"""Media type and writer of each ``output`` of a request."""


def _place(found: SlideAnnotations) -> dict[str, Any]:
    return {"location": list(found.location), "size": list(found.size)}


def _hex(order: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[order % len(COLOURS)])
