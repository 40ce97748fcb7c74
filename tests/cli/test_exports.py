"""What `infer` and `batch-infer` write beside label images: for a script, ImageJ, QuPath, eyes."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pydicom
import pytest
import roifile
import SimpleITK as sitk
from PIL import Image as PillowImage
from pydicom.uid import generate_uid
from server_support import discs, threshold_weights, write_dicom, write_png

from lib.dicom.seg.read import read_seg, read_segments
from lib.exports.formats import EXPORTS
from lib.io.labels import read_label

TASK = "nuclei_vhllrhe"
DISC = 149  # pixels within a radius of 7
EXACT = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture
def live(models):
    """A folder of models that find exactly the bright pixels."""
    threshold_weights(models / f"{TASK}.pt")
    return models


def test_one_image_has_all_that_is_asked_for(cli, live, tmp_path):
    """The whole line of the manual, on a DICOM image of twelve discs."""
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    image = write_dicom(tmp_path / "cells.dcm", discs(72, 96), PixelSpacing=[0.002, 0.002], **uids)
    names = {"table": "t.csv", "overlay": "o.png", "rois": "r.zip", "geojson": "g.geojson"}
    names |= {"dicom_seg": "s.dcm", "summary": "s.html"}
    assert set(names) == set(EXPORTS)
    asked = [
        word
        for name, file in names.items()
        for word in (f"--{name.replace('_', '-')}", tmp_path / file)
    ]
    common = ("--models", live, "--out", tmp_path / "out", "--json", tmp_path / "j.json", *EXACT)
    ended = cli("infer", TASK, image, *asked, *common)
    assert ended.status == 0, ended.err
    table = pandas.read_csv(tmp_path / "t.csv")
    assert table.area_px.tolist() == [DISC] * 12
    assert table.integrated_intensity.tolist() == [220 * DISC] * 12
    assert table.area_um2.tolist() == pytest.approx([4 * DISC] * 12)
    assert len(roifile.roiread(tmp_path / "r.zip")) == 12
    assert len(json.loads((tmp_path / "g.geojson").read_text())["features"]) == 12
    assert PillowImage.open(tmp_path / "o.png").size == (96, 72)
    seg = pydicom.dcmread(tmp_path / "s.dcm")
    assert len(read_segments(seg)) == 12
    label = read_label(tmp_path / "out" / "cells.nrrd")
    assert np.array_equal(read_seg(seg, image), np.squeeze(label))
    assert "<th>12</th>" in (tmp_path / "s.html").read_text()
    (row,) = json.loads((tmp_path / "j.json").read_text())["images"]
    assert row["counts"] == {"nuclei": 12}


def test_several_images_share_the_table_and_bad_ones_are_left_out(cli, live, tmp_path):
    for name, size in (("a", 48), ("b", 72)):
        write_png(tmp_path / f"{name}.png", discs(size, size))
    (tmp_path / "bad.png").write_text("not a picture")
    files = [tmp_path / f"{name}.png" for name in ("a", "bad", "b")]
    common = ("--models", live, "--out", tmp_path / "out", *EXACT)
    exports = ("--table", tmp_path / "t.parquet", "--overlay", tmp_path / "shown")
    assert cli("infer", TASK, *files, *common, *exports, "--result", "mask").status == 2
    table = pandas.read_parquet(tmp_path / "t.parquet")
    assert table.groupby("image").size().to_dict() == {"a": 4, "b": 9}
    assert {file.name for file in (tmp_path / "shown").iterdir()} == {
        *("a_overlay.png", "b_overlay.png")
    }


def test_a_picture_without_dicom_is_named_and_the_others_go_on(cli, live, tmp_path):
    image = write_png(tmp_path / "a.png", discs(48, 48))
    common = ("--models", live, "--out", tmp_path / "out", *EXACT)
    ended = cli("infer", TASK, image, *common, "--dicom-seg", tmp_path / "a.dcm")
    assert ended.status == 2 and "a.png is no DICOM image" in ended.err
    assert not (tmp_path / "a.dcm").exists()


def test_a_volume_tells_millilitres(cli, models, tmp_path):
    task = "ultrasound3d_vnet"
    threshold_weights(models / f"{task}.pt", task=task)
    pixels = np.zeros((32, 48, 48), np.uint8)
    pixels[8:24, 12:36, 12:36] = 255
    written = sitk.GetImageFromArray(pixels)
    written.SetSpacing((0.5, 0.5, 2.0))
    sitk.WriteImage(written, str(tmp_path / "v.nrrd"))
    common = ("--models", models, "--out", tmp_path / "out", "--json", tmp_path / "j.json")
    ended = cli(
        *("infer", task, tmp_path / "v.nrrd", *common, *EXACT, "--table", tmp_path / "t.csv")
    )
    assert ended.status == 0, ended.err
    (row,) = json.loads((tmp_path / "j.json").read_text())["images"]
    voxels = int((read_label(tmp_path / "out" / "v.nrrd", pixels.shape) > 0).sum())
    assert voxels > 0
    assert sum(row["volumes_ml"].values()) == pytest.approx(voxels * 0.5 / 1000)
    table = pandas.read_csv(tmp_path / "t.csv")
    assert table.volume_ml.sum() == pytest.approx(voxels * 0.5 / 1000)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--overlay", "o.png"), ["--overlay 'o.png'", "give a folder"]),
        (("--table", "t.xlsx"), [".csv, .parquet"]),
    ],
)
def test_wrong_paths_are_refused_before_any_work(cli, live, tmp_path, words, expected):
    files = [write_png(tmp_path / f"{name}.png", discs(48, 48)) for name in "ab"]
    ended = cli("infer", TASK, *files, "--models", live, "--out", tmp_path / "out", *words)
    ended.assert_refused(*expected)
    assert not (tmp_path / "out").exists()


def test_exams_have_no_such_exports(cli, models, tmp_path):
    image = write_png(tmp_path / "e_R-CC.png", discs(48, 48))
    more = ("--out", tmp_path / "out", "--table", tmp_path / "t.csv")
    ended = cli("infer", "density_birads", image, "--models", models, *more)
    ended.assert_refused("--table is for segmentation", "density_birads")
    ended = cli(
        *("batch-infer", "density_birads", "--studies", tmp_path, "--models", models, *more[2:])
    )
    ended.assert_refused("--table is for segmentation")


def test_a_batch_exports_all_images_also_those_answered_before(cli, live, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    for name, size in (("a", 48), ("b", 72), ("c", 24)):
        write_png(studies / f"{name}.png", discs(size, size))
    common = ("batch-infer", TASK, "--studies", studies, "--models", live, *EXACT)
    assert "3 images answered" in cli(*common).out
    exports = ("--table", tmp_path / "t.csv", "--rois", tmp_path / "rois")
    more = ("--summary", tmp_path / "s.html", "--json", tmp_path / "j.json")
    ended = cli(*common, *exports, *more)
    assert ended.status == 0 and "3 images answered, 0 had" in ended.out, ended.err
    table = pandas.read_csv(tmp_path / "t.csv")
    assert table.groupby("image").size().to_dict() == {"a": 4, "b": 9, "c": 1}
    assert set(table.area_px) == {DISC}
    assert len(roifile.roiread(tmp_path / "rois" / "b_rois.zip")) == 9
    page = (tmp_path / "s.html").read_text()
    assert "3 images" in page and page.count("data:image/jpeg") == 3 and "<th>14</th>" in page
    assert len(json.loads((tmp_path / "j.json").read_text())["written"]) == 3
    assert "0 images answered, 3 had their answer" in cli(*common).out


def test_processes_share_one_table(cli, live, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    for number in range(4):
        write_png(studies / f"{number}.png", discs(48, 48))
    table = tmp_path / "t.csv"
    common = ("batch-infer", TASK, "--studies", studies, "--models", live, *EXACT)
    ended = cli(*common, "--table", table, "--processes", "2")
    assert ended.status == 0, ended.err
    counts = pandas.read_csv(table).groupby("image").size()
    assert counts.to_dict() == {0: 4, 1: 4, 2: 4, 3: 4}
