"""The reading room over an archive: who read what, from the reports that the archive keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from archive import objects, store_all
from archive_server import ArchiveServer

from lib.mammography.report.read import read_density_report
from lib.phantoms.dicom_studies import DemoStudy, frame_study, mammogram_study

DENSITY = "density_birads"


@pytest.fixture(scope="module")
def exams() -> list[DemoStudy]:
    return [mammogram_study(seed, 0.04, density) for seed, density in enumerate("BD")]


@pytest.fixture(scope="module")
def server(new_orthanc, exams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    orthanc = new_orthanc()
    store_all(orthanc, [*exams, frame_study(3, (48, 64))])
    server = ArchiveServer(tmp_path_factory.mktemp("reading"), orthanc, DENSITY)
    yield server.start()
    server.stop()


def _seen(server: ArchiveServer, reader: str) -> dict[str, dict[str, Any]]:
    answer = server.get("/reading/exams", params={"reader": reader})
    assert answer.ok, answer.text
    return {row["exam"]: row for row in answer.json()["exams"]}


def _give(server: ArchiveServer, image: str, density: str, **sent: Any) -> None:
    answer = server.put(
        "/datastore/label",
        params={"image": image},
        data={"params": json.dumps(sent)},
        files={"label": ("answer.json", json.dumps({"density": density}))},
    )
    assert answer.ok, answer.text


def test_readers_of_an_archive_read_apart_and_settle_it(server, exams):
    first, second = (exam.study for exam in exams)
    rows = _seen(server, "anna")
    assert rows.keys() == {first, second}
    row = rows[first]
    assert row["StudyInstanceUID"] == first and row["list"] == "first" and row["name"]
    views = server.get("/reading/exam", params={"exam": first}).json()["views"]
    assert list(views) == ["R-CC", "L-CC", "R-MLO", "L-MLO"]
    assert sorted(views.values()) == sorted(row["images"])
    picture = server.get("/reading/picture", params={"image": views["L-CC"], "side": 64})
    assert picture.ok and picture.content[:2] == b"\xff\xd8"

    _give(server, row["images"][0], "C", client_id="anna")
    seen = _seen(server, "bert")[first]
    assert (seen["list"], seen["read_by"], seen["answers"]) == ("second", ["anna"], None)
    _give(server, row["images"][0], "B", client_id="bert")
    assert _seen(server, "anna")[first]["answers"] == {"anna": "C", "bert": "B"}
    _give(server, row["images"][0], "C", client_id="bert", consensus=True)
    settled = _seen(server, "bert")[first]
    assert (settled["list"], settled["consensus"], settled["own"]) == ("done", "C", "B")
    assert settled["answers"] == {"anna": "C", "bert": "B"}
    reports = [read_density_report(report) for report in objects(server.orthanc, "SR")]
    newest = max(reports, key=lambda report: report.when)
    assert newest.density == "C" and newest.author.person == "bert"
    assert _seen(server, "anna")[second]["list"] == "first"
