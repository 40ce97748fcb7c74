"""Exports are opened again by the programs that they are for, and hold what was planted."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import jsonschema
import numpy as np
import pandas
import pytest
import roifile
import shapely
from PIL import Image as PillowImage

from lib.errors import InputError, NotFoundError
from lib.exports.dicom_seg import segmentation
from lib.exports.formats import EXPORTS, media_type, read_names
from lib.exports.geojson import geojson
from lib.exports.outlines import COLOURS, outlines, polygons
from lib.exports.overlay import overlay_png
from lib.exports.rois import roi_zip
from lib.exports.summary import histogram, summary_of, summary_page
from lib.exports.table import rows_of, table_file
from lib.exports.targets import Exporter, check_targets, write_joint

# what QuPath 0.4 and later read (qupath.lib.io.GsonTools, QuPathTypeAdapters)
_RING = {
    "type": "array",
    "minItems": 4,
    "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}},
}
_POLYGON = {"type": "array", "minItems": 1, "items": _RING}
QUPATH = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "id", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {
                        "type": "string",
                        "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
                    },
                    "geometry": {
                        "type": "object",
                        "required": ["type", "coordinates"],
                        "properties": {
                            "plane": {
                                "type": "object",
                                "required": ["c", "z", "t"],
                                "additionalProperties": {"type": "integer"},
                            }
                        },
                        "oneOf": [
                            {"properties": {"type": {"const": "Polygon"}, "coordinates": _POLYGON}},
                            {
                                "properties": {
                                    "type": {"const": "MultiPolygon"},
                                    "coordinates": {"type": "array", "items": _POLYGON},
                                }
                            },
                        ],
                    },
                    "properties": {
                        "type": "object",
                        "required": ["objectType", "classification", "measurements"],
                        "properties": {
                            "objectType": {"enum": ["annotation", "detection", "cell", "tile"]},
                            "name": {"type": "string"},
                            "classification": {
                                "type": "object",
                                "required": ["name", "color"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "color": {
                                        "type": "array",
                                        "minItems": 3,
                                        "maxItems": 3,
                                        "items": {"type": "integer", "minimum": 0, "maximum": 255},
                                    },
                                },
                            },
                            "measurements": {
                                "type": "object",
                                "additionalProperties": {"type": "number"},
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_pandas_opens_the_table_of_several_images(make_answer, suffix):
    solid = np.zeros((3, 8, 8), np.int32)
    solid[1, 2:4, 2:4] = 1
    volume = make_answer(solid.astype(np.uint8), solid, spacing=(1.0, 1.0, 2.0), name="v.nrrd")
    colour = np.full((8, 8, 3), 9, np.uint8)
    stained = make_answer(colour, solid[1], colour=True, name="rgb.png")
    pieces = [rows_of(one) for one in (make_answer(), volume, stained)]
    read = pandas.read_csv if suffix == ".csv" else pandas.read_parquet
    table = read(io.BytesIO(table_file(pieces, suffix)))
    assert table["image"].tolist() == ["cells"] * 5 + ["v", "rgb"]
    cells = table[table.image == "cells"]
    assert cells.area_px.tolist() == [200, 72, 30, 30, 1]
    assert cells.integrated_intensity.tolist() == [10_000, 7_200, 300, 600, 255]
    assert cells.area_um2.isna().all()
    assert table[table.image == "v"].volume_voxels.tolist() == [4]
    assert table[table.image == "v"].volume_ml.tolist() == [0.008]
    assert table[table.image == "rgb"].mean_intensity_green.tolist() == [9]
    assert set(table.structure) == {"nuclei"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_table_has_its_columns(make_answer, suffix):
    nothing = make_answer(np.ones((8, 8), np.uint8), np.zeros((8, 8), np.int32))
    read = pandas.read_csv if suffix == ".csv" else pandas.read_parquet
    for pieces in ([], [rows_of(nothing)]):
        table = read(io.BytesIO(table_file(pieces, suffix)))
        assert len(table) == 0 and {"image", "id", "area_px", "eccentricity"} <= set(table.columns)


def test_without_pyarrow_parquet_is_refused_in_words(make_answer, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pyarrow, which is not installed.*\.csv"):
        table_file([rows_of(make_answer())], ".parquet")


def test_a_name_that_a_spreadsheet_would_calculate_stays_a_text(make_answer):
    answer = make_answer(name="=1+1.png")
    table = table_file([rows_of(answer)], ".csv").decode()
    assert table.splitlines()[1].startswith("'=1+1,")


def test_outlines_have_exactly_the_area_of_their_pixels(make_answer):
    random = np.random.default_rng(0).integers(0, 2, (12, 15)).astype(np.int32)
    for plane in (make_answer().objects, random):
        found = outlines(plane)
        for number in range(1, plane.max() + 1):
            assert found[number].is_valid
            assert found[number].area == (plane == number).sum()
    (ring,) = polygons(outlines(make_answer().objects)[2])
    assert len(ring) == 2 and len(ring[0]) == len(ring[1]) == 4  # corners alone


def test_roifile_opens_the_rois_and_holes_stay(make_answer, tmp_path):
    file = tmp_path / "a.zip"
    file.write_bytes(roi_zip(make_answer()))
    rois = {roi.name: roi for roi in roifile.roiread(file)}
    assert set(rois) == {f"nuclei {n}" for n in range(1, 6)}
    assert shapely.Polygon(rois["nuclei 1"].coordinates()).equals(shapely.box(0, 0, 20, 10))
    assert shapely.Polygon(rois["nuclei 4"].coordinates()).equals(shapely.box(35, 20, 40, 26))
    outer, hole = (shapely.Polygon(ring) for ring in rois["nuclei 2"].coordinates(multi=True))
    assert outer.equals(shapely.box(5, 20, 14, 29)) and hole.equals(shapely.box(8, 23, 11, 26))
    assert (rois["nuclei 1"].left, rois["nuclei 1"].right) == (0, 20)


def test_rois_of_a_volume_tell_their_slice(make_answer, tmp_path):
    objects = np.zeros((4, 8, 8), np.int32)
    objects[1:3, 2:5, 2:5] = 1
    file = tmp_path / "a.zip"
    file.write_bytes(roi_zip(make_answer(objects.astype(np.uint8), objects, name="a.nrrd")))
    rois = roifile.roiread(file)
    assert [(roi.name, roi.position) for roi in rois] == [
        ("nuclei 1 slice 2", 2),
        ("nuclei 1 slice 3", 3),
    ]


def test_an_empty_answer_has_an_empty_zip_and_collection(make_answer):
    nothing = make_answer(np.ones((8, 8), np.uint8), np.zeros((8, 8), np.int32))
    assert zipfile.ZipFile(io.BytesIO(roi_zip(nothing))).namelist() == []
    assert json.loads(geojson(nothing)) == {"type": "FeatureCollection", "features": []}
    assert PillowImage.open(io.BytesIO(overlay_png(nothing))).size == (8, 8)
    assert b"1 image" in summary_page([summary_of(nothing)])


def test_geojson_is_what_qupath_reads(make_answer):
    content = json.loads(geojson(make_answer(spacing=(0.0005, 0.0005))))
    jsonschema.validate(content, QUPATH)
    features = {one["properties"]["name"]: one for one in content["features"]}
    assert len(features) == 5
    shapes = {name: shapely.geometry.shape(one["geometry"]) for name, one in features.items()}
    assert shapes["nuclei 2"].area == 72 and len(shapes["nuclei 2"].interiors) == 1
    assert shapes["nuclei 3"].touches(shapes["nuclei 4"])
    assert features["nuclei 1"]["properties"]["measurements"]["area_um2"] == pytest.approx(50)
    assert features["nuclei 1"]["properties"]["objectType"] == "detection"
    again = json.loads(geojson(make_answer(spacing=(0.0005, 0.0005))))
    assert again == content


def test_geojson_of_structures_and_of_loops(make_answer):
    objects = np.zeros((3, 8, 8), np.int32)
    objects[2, 2:4, 2:4] = 1
    objects[2, 4:6, 4:6] = 2
    answer = make_answer(
        *(objects.astype(np.uint8), objects, ("", "cyst", "lesion"), {"lesion": 1, "cyst": 2}),
        over_time=True,
        separated=False,
    )
    content = json.loads(geojson(answer))
    jsonschema.validate(content, QUPATH)
    first, second = content["features"]
    assert first["geometry"]["plane"] == {"c": -1, "z": 0, "t": 2}
    names = [one["properties"]["classification"]["name"] for one in (first, second)]
    assert names == ["cyst", "lesion"]
    assert first["properties"]["objectType"] == "annotation"


def test_the_overlay_is_the_image_with_edges_in_colour(make_answer):
    answer = make_answer()
    picture = np.asarray(PillowImage.open(io.BytesIO(overlay_png(answer))))
    assert picture.shape == (40, 60, 3)
    assert tuple(picture[0, 0]) == COLOURS[0]  # also at the border of the image
    assert tuple(picture[20, 34]) == COLOURS[2] and tuple(picture[20, 35]) == COLOURS[3]
    inside = picture[5, 10]
    assert inside[0] == inside[1] == inside[2] > 0
    assert tuple(picture[15, 50]) == (0, 0, 0)


def test_colour_stays_colour_under_the_outlines(make_answer):
    pixels = np.full((10, 10, 3), (200, 20, 120), np.uint8)
    objects = np.zeros((10, 10), np.int32)
    objects[3:7, 3:7] = 1
    picture = np.asarray(
        PillowImage.open(io.BytesIO(overlay_png(make_answer(pixels, objects, colour=True))))
    )
    assert tuple(picture[0, 0]) == tuple(picture[4, 4]) == (200, 20, 120)
    assert tuple(picture[3, 3]) == COLOURS[0]
    assert (pixels == (200, 20, 120)).all()  # the image itself is not drawn on


def test_a_volume_shows_the_slice_with_most(make_answer):
    objects = np.zeros((3, 10, 10), np.int32)
    objects[0, 1, 1], objects[2, 2:8, 2:8] = 1, 2
    answer = make_answer(np.zeros((3, 10, 10), np.int16), objects, name="a.nrrd")
    picture = np.asarray(PillowImage.open(io.BytesIO(overlay_png(answer))))
    assert tuple(picture[2, 2]) == COLOURS[1] and tuple(picture[1, 1]) == (0, 0, 0)


def test_the_summary_loads_nothing_and_counts_right(make_answer):
    other = make_answer(name="<b>&.png")
    page = summary_page([summary_of(make_answer()), summary_of(other)]).decode()
    assert "http" not in page and 'src="data:image/jpeg;base64,' in page
    assert "<b>&" not in page and "&lt;b&gt;&amp;" in page
    assert "Sizes in pixels" in page and "<th>10</th>" in page
    measured = make_answer(spacing=(0.0005, 0.0005))
    assert "Sizes in µm²" in summary_page([summary_of(measured)]).decode()
    mixed = summary_page([summary_of(measured), summary_of(other)]).decode()
    assert "Sizes in pixels" in mixed  # not all images tell


def test_every_object_is_in_a_bar():
    found = histogram([1.0] * 200 + [5.0] * 10 + [1000.0], "area_px")
    assert sum(count for _, _, count in found.bars) == 211
    assert found.bars[-1][1] == 1000 and found.median == 1
    assert sum(count for _, _, count in histogram([3.0], "area_px").bars) == 1


def test_a_picture_has_no_dicom_segmentation(make_answer, tmp_path):
    (tmp_path / "cells.png").write_bytes(b"x" * 200)
    with pytest.raises(InputError, match="no DICOM image"):
        segmentation(make_answer())


def test_each_row_has_a_media_type_for_each_suffix():
    for name, row in EXPORTS.items():
        assert [media_type(name, suffix) for suffix in row.suffixes] == list(row.media_type)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (["tabel"], NotFoundError, "did you mean 'table'"),
        (["table.xlsx"], InputError, r"\.csv, \.parquet"),
        ([1], InputError, "list of names"),
        ({"table": "/etc/x.csv"}, InputError, "list of names"),
    ],
)
def test_unknown_exports_are_refused(asked, error, words):
    with pytest.raises(error, match=words):
        read_names(asked)
    assert read_names(["table.parquet", "overlay"]) == (("table", ".parquet"), ("overlay", ".png"))
    assert read_names(None) == ()


def test_each_image_has_its_file_and_all_have_one_table(make_answer, tmp_path):
    targets = {"overlay": tmp_path / "pictures", "table": tmp_path / "t.csv"}
    check_targets(targets, one_image=False)
    exporter = Exporter(targets)
    for name in ("a.png", "b.png"):
        exporter(make_answer(name=name))
    write_joint(targets, exporter.pieces)
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == [
        *("a_overlay.png", "b_overlay.png")
    ]
    assert len(pandas.read_csv(tmp_path / "t.csv")) == 10


@pytest.mark.parametrize(
    ("name", "path", "one", "words"),
    [
        ("overlay", "o.png", False, "each image has its own; give a folder"),
        ("overlay", "o.jpg", True, r"ends in \.png, or a folder"),
        ("table", "t.xlsx", True, r"ends in \.csv, \.parquet"),
        ("table", "folder", True, r"ends in \.csv"),
        ("dicom_seg", "absent/a.dcm", True, "for --dicom-seg does not exist"),
        ("rois", "a_file", True, "is a file, expected a folder"),
    ],
)
def test_paths_that_cannot_hold_an_export_are_refused_first(tmp_path, name, path, one, words):
    (tmp_path / "a_file").touch()
    with pytest.raises(InputError, match=words):
        check_targets({name: tmp_path / path}, one)


def test_the_image_is_never_overwritten(make_answer, tmp_path):
    (tmp_path / "cells.png").write_bytes(b"image")
    with pytest.raises(InputError, match="is the image itself"):
        Exporter({"overlay": tmp_path / "cells.png"})(make_answer())
    assert (tmp_path / "cells.png").read_bytes() == b"image"
