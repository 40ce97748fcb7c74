"""Regions of slides, asked for and parsed as QuPath's MONAI Label extension does."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import requests
import shapely
import tifffile
from server_support import MODEL, UNTRAINED, assert_refused, discs, threshold_weights, write_png

SPACING, DISC = 24, 149  # of discs; pixels within a radius of 7
SIDE = 8208  # pixels of an image that is read by rows
OUTLINES = "ASAP_Annotations"


@pytest.fixture(scope="module")
def slides(launch):
    """A server on a section in colour and on a slide that is larger than memory."""

    def prepare(server):
        server.conf["models"] = f"{MODEL},{UNTRAINED},nuclei_click"
        server.studies.mkdir(exist_ok=True)
        section = discs(240, 360)
        colours = np.stack([section] * 3, axis=-1)
        tifffile.imwrite(server.studies / "section.tif", colours, photometric="rgb")
        slide = np.tile(discs(SPACING * 3, SIDE), (SIDE // SPACING // 3, 1))
        with tifffile.TiffWriter(server.studies / "slide.ome.tif", ome=True) as writer:
            told = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            common = {"tile": (512, 512), "compression": "zlib"}
            writer.write(slide, subifds=1, metadata=told, **common)
            writer.write(slide[::2, ::2], subfiletype=1, **common)
        threshold_weights(server.live_file)

    return launch(prepare)


def body(location=(0, 0), size=(0, 0), **changes: Any) -> dict[str, Any]:
    """Return what QuPath's extension sends."""
    params = {"foreground": [], "background": [], "max_workers": 1}
    region = {"level": 0, "location": list(location), "size": list(size)}
    return {**region, "tile_size": [1024, 1024], "min_poly_area": 30, "params": params, **changes}


def ask(server, image: str, region: dict[str, Any], output="asap", model=MODEL):
    """Ask as the extension does: JSON, of which no header tells."""
    asked = {"output": output, "image": image}
    url = f"{server.url}/infer/wsi/{model}"
    return requests.post(url, params=asked, data=json.dumps(region).encode(), timeout=300)


def polygons(reply) -> list[tuple[str, shapely.Polygon]]:
    """Parse an answer as the extension does: any Annotation, its Coordinates, their X and Y."""
    assert reply.ok, reply.text
    root = ElementTree.fromstring(reply.content)
    found = []
    for annotation in root.iter("Annotation"):
        for coordinates in annotation:
            points = [(float(one.get("X")), float(one.get("Y"))) for one in coordinates]
            found.append((annotation.get("Name"), shapely.Polygon(points)))
    return found


def centres(found) -> set[tuple[int, int]]:
    return {(int(shape.centroid.x), int(shape.centroid.y)) for _, shape in found}


@pytest.mark.parametrize("image", ["section", "slide.ome"])
def test_outlines_of_a_region_lie_where_they_are_in_the_slide(slides, image):
    exists = requests.head(f"{slides.url}/datastore/image", params={"image": image}, timeout=60)
    assert exists.status_code == 200
    reply = ask(slides, image, body((48, 24), (96, 72)))
    found = polygons(reply)
    assert reply.headers["content-type"].startswith("application/xml")
    assert {name for name, _ in found} == {"nuclei"}
    assert [shape.area for _, shape in found] == [DISC] * 12
    expected = {(48 + 12 + SPACING * x, 24 + 12 + SPACING * y) for x in range(4) for y in range(3)}
    assert centres(found) == expected
    labels = slides.get("/info/").json()["models"][MODEL]["labels"]
    assert "nuclei" in labels, "QuPath removes older objects with the names of the model's labels"


def test_a_region_reaches_to_the_end_and_no_further(slides):
    assert len(polygons(ask(slides, "section", body()))) == 10 * 15
    assert len(polygons(ask(slides, "section", body((-30, 192), (90, 500))))) == 2 * 2 + 2
    assert len(polygons(ask(slides, "section", body((0, 0), (36, 240))))) == 10 * 2
    small = body((0, 0), (36, 240), min_poly_area=100)
    assert len(polygons(ask(slides, "section", small))) == 10, "halves have less than 100 pixels"
    edge = body((SIDE - 48, SIDE - 24), (500, 500))
    assert len(polygons(ask(slides, "slide.ome", edge))) == 2


def test_a_patch_that_is_no_image_of_the_server_is_sent_with_its_request(slides, tmp_path):
    patch = write_png(tmp_path / "patch.png", discs(48, 72))
    reply = slides.post(
        f"/infer/wsi_v2/{MODEL}",
        params={"output": "asap"},
        data={"wsi": json.dumps(body())},
        files={"file": (patch.name, patch.read_bytes())},
    )
    assert centres(polygons(reply)) == {
        (12 + SPACING * x, 12 + SPACING * y) for x in range(3) for y in range(2)
    }


def test_clicks_are_counted_in_the_slide(slides):
    clicked = body((48, 24), (96, 72))
    clicked["params"]["foreground"] = [[60, 36]]
    assert ask(slides, "section", clicked, model="nuclei_click").ok
    clicked["params"]["foreground"] = [[20, 36]]
    assert_refused(ask(slides, "section", clicked, model="nuclei_click"), 400, "outside")


def test_other_forms(slides):
    region = body((48, 24), (48, 48))
    found = ask(slides, "section", region, "dsa").json()
    assert len(found["elements"]) == 4
    for one in found["elements"]:
        assert one["type"] == "polyline" and one["closed"] and one["label"] == {"value": "nuclei"}
        assert shapely.Polygon([point[:2] for point in one["points"]]).area == DISC
    assert json.loads(found["description"])["count"] == 4
    for output in ("json", None):
        found = ask(slides, "section", region, output).json()
        assert found["location"] == [48, 24] and found["size"] == [48, 48]
        (element,) = found["annotations"][0]["annotation"]["elements"]
        assert element["label"] == "nuclei" and len(element["contours"]) == 4


@pytest.mark.parametrize(
    ("image", "region", "status", "told"),
    [
        ("section", {"level": 2}, 400, "level 2 is not answered, expected 0"),
        ("section", {"location": [400, 0], "size": [10, 10]}, 400, "lies outside the image of 360"),
        ("section", {"size": [-1, 5]}, 400, "size"),
        ("section", {"location": [1]}, 400, "location"),
        ("section", {"location": [10**10, 0]}, 400, "location"),
        ("section", {"min_poly_area": -1}, 400, "min_poly_area"),
        ("section", {"params": {"save_label": True}}, 400, "store a label of a whole image"),
        ("section", {"params": {"label_tag": "x"}}, 400, "store a label of a whole image"),
        ("nothing", {}, 404, "nothing"),
        ("../etc/passwd", {}, 400, "plain name"),
        ("", {}, 400, "give an image id"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_the_reason(slides, image, region, status, told):
    assert_refused(ask(slides, image, body(**region)), status, told)


def test_models_that_answer_no_regions_are_refused(slides):
    assert_refused(ask(slides, "section", body(), model=UNTRAINED), 409, "no weights")
    assert_refused(ask(slides, "section", body(), model="scribbles"), 400, "no regions of slides")
    assert_refused(ask(slides, "section", body(), model="unknown"), 404, "unknown")


def test_no_region_is_left_behind(slides):
    assert ask(slides, "section", body((48, 24), (96, 72))).ok
    assert not list(slides.temporary.rglob("section_*.tif"))
