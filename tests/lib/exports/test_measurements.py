"""Measures of planted objects are exact, in pixels and in micrometres."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.exports.answer import answer_of
from lib.image import Geometry, Image
from lib.io.all_channels import read_channels
from lib.io.pixel_size import pixel_size
from lib.io.read import read_image
from lib.segmentation.answer import INSTANCES, MASK
from lib.segmentation.measures import counts_and_volumes
from lib.segmentation.predictor import Prediction
from lib.tasks.registry import get_task


def test_areas_and_intensities_of_planted_objects_are_exact(make_answer):
    rows = make_answer().rows
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["area_px"] for row in rows] == [200, 72, 30, 30, 1]
    assert [row["mean_intensity"] for row in rows] == [50, 100, 10, 20, 255]
    assert [row["integrated_intensity"] for row in rows] == [10_000, 7_200, 300, 600, 255]
    assert (rows[0]["centroid_x_px"], rows[0]["centroid_y_px"]) == (9.5, 4.5)
    assert rows[0]["perimeter_px"] == pytest.approx(2 * (9 + 19))
    assert rows[1]["perimeter_px"] > 4 * 8  # round the hole too
    assert rows[1]["eccentricity"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["eccentricity"] == pytest.approx(np.sqrt(1 - 99 / 399))
    assert all(row["area_um2"] is None and row["perimeter_um"] is None for row in rows)


def test_micrometres_follow_square_pixels(make_answer):
    rows = make_answer(spacing=(0.0005, 0.0005)).rows
    assert rows[0]["area_um2"] == pytest.approx(200 * 0.25)
    assert rows[0]["perimeter_um"] == pytest.approx(rows[0]["perimeter_px"] * 0.5)


def test_pixels_that_are_no_squares_are_measured_as_they_are(make_answer):
    values = np.ones((30, 40), np.uint8)
    objects = np.zeros((30, 40), np.int32)
    objects[5:25, 10:20] = 1  # 20 rows of 1 um, 10 columns of 2 um: a square
    (row,) = make_answer(values, objects, spacing=(0.002, 0.001)).rows
    assert row["area_um2"] == pytest.approx(400)
    assert row["eccentricity"] == pytest.approx(0, abs=0.1)
    assert row["perimeter_um"] == pytest.approx(80, rel=0.04)
    (flat,) = make_answer(values, objects).rows
    assert flat["eccentricity"] == pytest.approx(np.sqrt(1 - 99 / 399))


def test_colour_is_measured_by_channel(make_answer):
    objects = np.zeros((8, 8), np.int32)
    objects[2:4, 2:4] = 1
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[2:4, 2:4] = (10, 20, 30)
    (row,) = make_answer(pixels, objects, colour=True).rows
    assert [row[f"mean_intensity_{name}"] for name in ("red", "green", "blue")] == [10, 20, 30]
    assert row["integrated_intensity_blue"] == 120
    assert "mean_intensity" not in row


def test_all_channels_are_measured_whichever_was_read(tmp_path):
    stack = np.zeros((2, 32, 40), np.uint16)
    stack[0, 4:8, 4:8], stack[1, 4:8, 4:8] = 1000, 7
    file = tmp_path / "two.ome.tif"
    channels = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(
        file, stack, metadata={**channels, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    )
    image = read_image(file, channel="GFP")
    found = read_channels(image)
    assert list(found) == ["DAPI", "GFP"]
    assert found["DAPI"].max() == 1000 and found["GFP"].max() == 7
    assert pixel_size(image) == pytest.approx((0.00025, 0.0005))


def test_all_colours_are_measured_if_one_was_read(tmp_path):
    PillowImage.new("RGB", (16, 16), (10, 20, 30)).save(tmp_path / "a.png")
    found = read_channels(read_image(tmp_path / "a.png", channel="green"))
    assert {name: int(pixels.max()) for name, pixels in found.items()} == {
        **{"red": 10, "green": 20, "blue": 30}
    }


def test_a_volume_has_voxels_and_millilitres(make_answer):
    objects = np.zeros((6, 10, 10), np.int32)
    objects[1:5, 2:7, 2:6] = 1  # 4 x 5 x 4
    values = (objects * 3).astype(np.int16)
    (row,) = make_answer(values, objects, spacing=(0.5, 0.5, 2.0), name="a.nrrd").rows
    assert row["volume_voxels"] == 80
    assert row["volume_ml"] == pytest.approx(80 * 0.5 / 1000)
    assert row["volume_um3"] == pytest.approx(40e9)
    assert (row["centroid_x_px"], row["centroid_y_px"], row["centroid_z_px"]) == (3.5, 4.0, 2.5)
    assert row["integrated_intensity"] == 240
    assert "area_px" not in row


def test_a_loop_is_measured_frame_by_frame(make_answer):
    objects = np.zeros((3, 10, 10), np.int32)
    objects[0, 1:4, 1:4], objects[2, 1:6, 1:6] = 1, 2
    rows = make_answer(objects.astype(np.uint8), objects, over_time=True, name="a.dcm").rows
    assert [(row["frame"], row["area_px"]) for row in rows] == [(1, 9), (3, 25)]


def test_an_empty_answer_has_no_rows(make_answer):
    assert make_answer(np.ones((8, 8), np.uint8), np.zeros((8, 8), np.int32)).rows == []


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "over_time", "size"),
    [
        ("a.png", (8, 8), (1.0, 1.0), False, None),
        ("a.png", (8, 8), (0.3, 0.3), False, (0.3, 0.3)),
        ("a.tif", (4, 8, 8), (0.3, 0.3, 1.0), False, None),
        ("a.nrrd", (4, 8, 8), (1.0, 1.0, 1.0), False, (1.0, 1.0, 1.0)),
        ("a.nrrd", (8, 8), (1.0, 1.0), False, None),
        ("a.dcm", (4, 8, 8), (0.2, 0.2, 1.0), True, (0.2, 0.2)),
    ],
)
def test_a_size_counts_only_where_the_file_tells_it(
    tmp_path, name, shape, spacing, over_time, size
):
    flat = Geometry.flat(*shape)
    grid = Geometry(flat.size, spacing, flat.origin, flat.direction)
    image = Image(np.zeros(shape, np.uint8), grid, tmp_path / name, over_time=over_time)
    assert pixel_size(image) == size


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("mm", 1.0), ("pixel", None)])
def test_imagej_tells_the_size_of_pixels_and_slices(tmp_path, unit, factor):
    file = tmp_path / "a.tif"
    stack = np.zeros((4, 16, 16), np.uint8)
    told = {"unit": unit, "spacing": 2.0, "axes": "ZYX"}
    tifffile.imwrite(file, stack, imagej=True, resolution=(4, 5), metadata=told)
    found = pixel_size(read_image(file, spatial_dims=3))
    if factor is None:
        assert found is None
    else:
        assert found == pytest.approx((0.25 * factor, 0.2 * factor, 2 * factor))


def test_counts_are_of_separated_objects_and_volumes_in_millilitres(tmp_path):
    nuclei = get_task("nuclei_vhllrhe")
    objects = np.zeros((20, 20), np.int32)
    objects[2:8, 2:8], objects[8:14, 2:8] = 1, 2  # they touch
    mask = (objects > 0).astype(np.uint8)
    image = Image(mask, Geometry.flat(20, 20), tmp_path / "a.png")
    separated = Prediction(probabilities=mask[None], mask=mask, instances=objects)
    assert counts_and_volumes(separated, nuclei.labels, image) == {"counts": {"nuclei": 2}}
    parts = Prediction(probabilities=mask[None], mask=mask)
    assert counts_and_volumes(parts, nuclei.labels, image) == {"counts": {"nuclei": 1}}

    solid = np.zeros((5, 10, 10), np.uint8)
    solid[1:3, :5, :5], solid[4, 0, 0] = 1, 2
    labels = {"prostate": 1, "zone": 2, "cyst": 3}
    flat = Geometry.flat(5, 10, 10)
    grid = Geometry(flat.size, (2.0, 2.0, 5.0), flat.origin, flat.direction)
    image = Image(solid, grid, tmp_path / "a.nrrd")
    answer = Prediction(probabilities=solid[None], mask=solid)
    assert counts_and_volumes(answer, labels, image) == {
        "volumes_ml": {"prostate": 1.0, "zone": 0.02, "cyst": 0.0}
    }
    loop = Image(solid, grid, tmp_path / "a.dcm", over_time=True)
    assert counts_and_volumes(answer, labels, loop) == {}


def test_touching_nuclei_are_measured_whole_though_the_stored_mask_parts_them(tmp_path):
    objects = np.zeros((20, 30), np.int32)
    objects[5:15, 5:15], objects[5:15, 15:25] = 1, 2
    mask = (objects > 0).astype(np.uint8)
    image = Image(mask * 9, Geometry.flat(20, 30), tmp_path / "a.png")
    prediction = Prediction(probabilities=mask[None], mask=mask, instances=objects)
    answer = answer_of(get_task("nuclei_vhllrhe"), image, prediction, MASK)
    assert (answer.label > 0).sum() < 200 and not answer.numbered and answer.separated
    assert [row["area_px"] for row in answer.rows] == [100, 100]
    assert [row["integrated_intensity"] for row in answer.rows] == [900, 900]


def test_parts_of_structures_are_numbered_and_frames_are_not_joined(tmp_path):
    task = get_task("nuclei_vhllrhe")
    mask = np.zeros((2, 12, 12), np.uint8)
    mask[:, 1:4, 1:4] = 1
    mask[0, 4:6, 4:6] = 1  # touches by a corner: the same part
    image = Image(mask, Geometry.flat(2, 12, 12), tmp_path / "a.dcm", over_time=True)
    prediction = Prediction(probabilities=mask[None], mask=mask)
    answer = answer_of(task, image, prediction, INSTANCES)
    assert answer.structures == ("", "nuclei", "nuclei") and not answer.separated
    assert [row["area_px"] for row in answer.rows] == [13, 9]
    volume = Image(mask, Geometry.flat(2, 12, 12), tmp_path / "a.nrrd")
    assert answer_of(task, volume, prediction, INSTANCES).numbers == [1]


def test_a_volume_file_keeps_its_spacing(tmp_path):
    written = sitk.GetImageFromArray(np.zeros((3, 8, 8), np.uint8))
    written.SetSpacing((0.4, 0.6, 3.0))
    sitk.WriteImage(written, str(tmp_path / "a.nii.gz"))
    image = read_image(tmp_path / "a.nii.gz", spatial_dims=3)
    assert pixel_size(image) == pytest.approx((0.4, 0.6, 3.0))
