"""What is drawn in OHIF is downloaded as a file, which other programs open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest
from PIL import Image
from pydicom import dcmread
from server_support import MODEL, Server, discs, threshold_weights, write_dicom
from viewer import Viewer

ROWS, COLUMNS, DISC = 48, 72, 149
SQUARE = 6
UIDS = {"StudyInstanceUID": "1.2.840.113619.2.5.1", "SeriesInstanceUID": "1.2.840.113619.2.5.2"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("download"), MODEL)
    Image.fromarray(discs(ROWS, COLUMNS)).save(server.studies / "cells.png")
    write_dicom(
        server.studies / "device.dcm",
        discs(ROWS, COLUMNS),
        PatientName="device",
        Modality="OT",
        **UIDS,
    )
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def studies(server: Server) -> dict[str, str]:
    rows = server.get("/proxy/dicom/studies").json()
    return {row["00100010"]["Value"][0]["Alphabetic"]: row["0020000D"]["Value"][0] for row in rows}


def download(viewer: Viewer, kind: str, folder: Path) -> Path:
    """Choose a type of file, press Download, and return what the browser saved."""
    viewer.page.get_by_label("File", exact=True).select_option(kind)
    with viewer.page.expect_download() as waiting:
        viewer.click("Download")
    saved = folder / waiting.value.suggested_filename
    waiting.value.save_as(saved)
    assert saved.name in viewer.status()
    return saved


def test_what_is_drawn_is_downloaded_and_opens(new_profile, new_viewer, server, studies, tmp_path):
    viewer = new_viewer(new_profile(), server.url)
    viewer.open(studies["cells"])
    viewer.page.locator("details[data-fold='download'] summary").click()
    offered = viewer.page.get_by_label("File", exact=True).locator("option").all_inner_texts()
    assert offered == ["Table (CSV)", "GeoJSON", "ImageJ ROIs", "Overlay (PNG)"]
    viewer.press("Run")
    table = pandas.read_csv(download(viewer, "table", tmp_path))
    assert table.area_px.tolist() == [DISC] * 6 and set(table.structure) == {"nuclei"}
    viewer.paint(0, SQUARE)  # corrected by hand
    outlines = json.loads(download(viewer, "geojson", tmp_path).read_text())
    assert len(outlines["features"]) == 7
    assert Image.open(download(viewer, "overlay", tmp_path)).size == (COLUMNS, ROWS)
    assert download(viewer, "rois", tmp_path).read_bytes()[:2] == b"PK"


def test_of_dicom_there_is_a_segmentation(new_profile, new_viewer, server, studies, tmp_path):
    viewer = new_viewer(new_profile(), server.url)
    viewer.open(studies["device"])
    viewer.page.locator("details[data-fold='download'] summary").click()
    viewer.press("Run")
    seg = dcmread(download(viewer, "dicom_seg", tmp_path))
    assert seg.Modality == "SEG" and int(seg.pixel_array.sum()) == 6 * DISC
