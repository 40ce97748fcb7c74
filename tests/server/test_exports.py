"""Exports over HTTP: one as the answer itself, or several beside it for their owner to fetch."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pandas
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image as PillowImage
from pydicom.uid import generate_uid
from server_support import MODEL, Server, assert_refused, discs, write_dicom, write_png

DISC = 149  # pixels within a radius of 7


@pytest.fixture
def picture(tmp_path):
    return write_png(tmp_path / "sent.png", discs(48, 72))


def ask(server: Server, image, output: str, params: str = "{}"):
    return server.post(
        f"/infer/{MODEL}",
        params={"output": output},
        data={"params": params},
        files={"file": (image.name, image.read_bytes())},
    )


@pytest.mark.parametrize(
    ("output", "media_type", "name"),
    [
        ("table", "text/csv", "sent_table.csv"),
        ("table.parquet", "application/vnd.apache.parquet", "sent_table.parquet"),
        ("overlay", "image/png", "sent_overlay.png"),
        ("rois", "application/zip", "sent_rois.zip"),
        ("geojson", "application/geo+json", "sent_geojson.geojson"),
        ("summary", "text/html", "sent_summary.html"),
    ],
)
def test_an_output_is_one_file(calm, picture, output, media_type, name):
    reply = ask(calm, picture, output)
    assert reply.ok, reply.text
    assert reply.headers["content-type"].startswith(media_type)
    assert name in reply.headers["content-disposition"]
    content = io.BytesIO(reply.content)
    if output == "table":
        assert pandas.read_csv(content).area_px.tolist() == [DISC] * 6
    elif output == "table.parquet":
        assert pandas.read_parquet(content).area_px.tolist() == [DISC] * 6
    elif output == "overlay":
        assert PillowImage.open(content).size == (72, 48)
    elif output == "rois":
        assert len(zipfile.ZipFile(content).namelist()) == 6
    elif output == "geojson":
        assert len(reply.json()["features"]) == 6


def test_a_stored_image_is_answered_by_its_id(calm):
    reply = calm.infer("fluorescence_000", output="table")
    assert reply.ok, reply.text
    assert set(pandas.read_csv(io.BytesIO(reply.content)).image) == {"fluorescence_000"}


def test_several_exports_lie_beside_the_answer_with_its_counts(calm, picture):
    reply = ask(calm, picture, "json", json.dumps({"exports": ["table", "overlay"]}))
    assert reply.ok, reply.text
    answer = reply.json()
    assert answer["counts"] == {"nuclei": 6}
    assert set(answer["exports"]) == {"table", "overlay"}
    table = calm.get(answer["exports"]["table"])
    assert table.ok and len(pandas.read_csv(io.BytesIO(table.content))) == 6
    assert calm.get(answer["exports"]["overlay"]).content[:4] == b"\x89PNG"


def test_without_exports_the_answer_names_none(calm, picture):
    answer = ask(calm, picture, "json").json()
    assert "exports" not in answer and answer["counts"] == {"nuclei": 6}


@pytest.mark.parametrize("asked", [["tabel"], ["../../etc/passwd"], {"table": "/tmp/t.csv"}, [1]])
def test_wrong_exports_are_refused_and_write_nothing(calm, picture, asked):
    reply = ask(calm, picture, "json", json.dumps({"exports": asked}))
    assert reply.status_code in (400, 404), reply.text
    assert "export" in reply.json()["detail"]


def test_an_unknown_output_names_those_there_are(calm, picture):
    reply = ask(calm, picture, "spreadsheet")
    assert 400 <= reply.status_code < 500
    assert "table" in reply.text and "overlay" in reply.text


def test_a_dicom_segmentation_beside_others_refers_to_its_image(calm, tmp_path, picture):
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    image = write_dicom(tmp_path / "cells.dcm", discs(48, 72), **uids)
    reply = ask(calm, image, "json", json.dumps({"exports": ["dicom_seg", "rois"]}))
    assert reply.ok, reply.text
    assert calm.get(reply.json()["exports"]["dicom_seg"]).content[128:132] == b"DICM"
    assert ask(calm, image, "dicom_seg").content[128:132] == b"DICM"
    reply = ask(calm, picture, "json", json.dumps({"exports": ["dicom_seg"]}))
    assert_refused(reply, 400, "no DICOM image")


BATCH = {
    "label_tag": "exported",
    "device": "cpu",
    "images": ["fluorescence_006", "fluorescence_007"],
}


def test_a_batch_writes_exports_of_all_its_images_for_users_to_fetch(calm):
    exports = ["table", "geojson", "overlay", "summary"]
    for _ in range(2):  # those of the last batch replace those before, and all is answered again
        reply = calm.post(
            f"/batch/infer/{MODEL}", params={"run_sync": True}, json={**BATCH, "exports": exports}
        )
        assert reply.ok and set(reply.json()) == set(BATCH["images"]), reply.text
    listed = calm.get(f"/batch/exports/{MODEL}").json()
    assert set(listed) == set(exports)
    table = pandas.read_csv(io.BytesIO(calm.get(listed["table"]).content))
    assert set(table.image) == set(BATCH["images"])
    for image in BATCH["images"]:
        single = pandas.read_csv(io.BytesIO(calm.infer(image, output="table").content))
        assert table[table.image == image].area_px.tolist() == single.area_px.tolist()
    packed = zipfile.ZipFile(io.BytesIO(calm.get(listed["overlay"]).content))
    assert packed.namelist() == [f"{image}_overlay.png" for image in BATCH["images"]]
    assert calm.get(listed["summary"]).content.startswith(b"<!doctype html>")
    labels = calm.images()["fluorescence_006"]["labels"]
    assert labels["exported"]["info"]["params"]["model_version"]


def test_a_batch_in_a_process_of_its_own_exports_too(calm):
    reply = calm.post(f"/batch/infer/{MODEL}", json={**BATCH, "exports": ["rois"]})
    assert reply.ok, reply.text
    calm.wait_for(lambda: calm.get("/batch/infer").json()["status"] in ("DONE", "ERROR"), "batch")
    listed = calm.get(f"/batch/exports/{MODEL}").json()
    assert set(listed) == {"rois"}, calm.get("/batch/infer").text[-2000:]
    assert len(zipfile.ZipFile(io.BytesIO(calm.get(listed["rois"]).content)).namelist()) == 2


def test_wrong_exports_of_a_batch_and_files_that_are_not_there_are_refused(calm):
    reply = calm.post(f"/batch/infer/{MODEL}", json={**BATCH, "exports": ["tabel"]})
    assert_refused(reply, 404, "tabel", "table")
    reply = calm.get(f"/batch/exports/{MODEL}/..%2F..%2Fnuclei.pt")
    assert reply.status_code == 404
    assert_refused(calm.get(f"/batch/exports/{MODEL}/none.csv"), 404, "none.csv", "exports")
    assert_refused(calm.get("/batch/exports/nobody"), 404, "nobody")


def export(server: Server, image: str, output: str, label: np.ndarray, **params):
    label_file = server.studies.parent / "label.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(label), str(label_file))
    return server.post(
        "/viewer/export",
        params={"image": image, "output": output},
        data={"params": json.dumps({"labels": {"nuclei": 1}, **params})},
        files={"label": ("label.nrrd", label_file.read_bytes())},
    )


def test_a_label_that_a_viewer_shows_is_exported(calm, tmp_path):
    drawn = np.zeros(image_shape(calm, "fluorescence_000"), np.uint8)
    drawn[3:8, 4:10] = 1
    drawn[20:24, 30:31] = 1
    table = export(calm, "fluorescence_000", "table", drawn)
    assert table.ok and "table.csv" in table.headers["content-disposition"], table.text
    rows = pandas.read_csv(io.BytesIO(table.content))
    assert rows.area_px.tolist() == [30, 4] and set(rows.structure) == {"nuclei"}
    outlines = export(calm, "fluorescence_000", "geojson", drawn).json()
    assert len(outlines["features"]) == 2
    assert_refused(export(calm, "fluorescence_000", "dicom_seg", drawn), 400, "no DICOM image")
    assert_refused(export(calm, "fluorescence_000", "table", 2 * drawn), 400, "value 2")
    assert_refused(export(calm, "fluorescence_000", "table", drawn[1:]), 400)
    assert_refused(export(calm, "fluorescence_000", "tabel", drawn), 404, "tabel")
    assert_refused(export(calm, "fluorescence_000", "table", drawn, labels={}), 400, "labels")
    assert_refused(export(calm, "fluorescence_000", "table", drawn, labels={"n": 0}), 400, "labels")


def test_a_label_on_a_dicom_image_becomes_a_dicom_segmentation(calm, tmp_path):
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    image = write_dicom(calm.studies / "shown.dcm", discs(48, 72), **uids)
    try:
        calm.wait_for_image("shown")
        about = calm.get("/viewer/image", params={"image": "shown"}).json()
        assert about["dicom"] is True
        drawn = (discs(48, 72) > 100).astype(np.uint8)
        reply = export(calm, "shown", "dicom_seg", drawn, model=MODEL)
        assert reply.ok, reply.text
        seg = pydicom.dcmread(io.BytesIO(reply.content))
        assert seg.Modality == "SEG" and seg.SegmentSequence[0].SegmentLabel == "nuclei"
        assert seg.pixel_array.sum() == drawn.sum()
    finally:
        image.unlink()
    about = calm.get("/viewer/image", params={"image": "fluorescence_000"}).json()
    assert about["dicom"] is False


def image_shape(server: Server, image: str) -> tuple[int, int]:
    (file,) = server.studies.glob(f"{image}.*")
    width, height = PillowImage.open(file).size
    return height, width
