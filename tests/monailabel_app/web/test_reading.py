"""What the reading room tells a reader: no answers of others before the own one, doubtful first."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from lib.mammography.readers import exams_of_readers
from monailabel_app.lane import Lane
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.web.access import Access
from monailabel_app.web.people import Person, asking
from monailabel_app.web.reading import reading_router
from monailabel_app.web.reasons import answered

EXAMS = "exam_000", "exam_001", "exam_002"
Answer = Callable[..., None]


@pytest.fixture
def store(exam_studies: Path, tmp_path: Path) -> StudiesDatastore:
    """A studies folder of three exams that nobody has read."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for file in exam_studies.glob("exam_00[012]_*"):
        shutil.copyfile(file, folder / file.name)
    return StudiesDatastore(str(folder))


@pytest.fixture
def doubts() -> dict[str, float]:
    """What the served model is said to doubt, by exam."""
    return {}


@pytest.fixture
def client(store, doubts) -> TestClient:
    active = SimpleNamespace(exam_doubts=lambda: doubts)
    app: Any = SimpleNamespace(datastore=lambda: store, active=active)
    web = FastAPI()
    web.include_router(reading_router(app, answered, Lane("test", 1, 9, 60.0)))
    return TestClient(web, base_url="http://localhost")


@pytest.fixture
def give(store, tmp_path: Path) -> Answer:
    """Save an answer as the page does."""

    def save(exam: str, reader: str, density: str, view: str = "R-CC", **sent: Any) -> None:
        file = tmp_path / "answer.json"
        file.write_text(json.dumps({"density": density}))
        store.save_label(f"{exam}_{view}", str(file), "final", {"client_id": reader, **sent})

    return save


def seen(client: TestClient, reader: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a reader's worklist by name, in their order."""
    answer = client.get("/reading/exams", params={"reader": reader})
    assert answer.status_code == 200, answer.text
    return {row["name"]: row for row in answer.json()["exams"]}


def lists(client: TestClient, reader: str) -> list[str]:
    return [row["list"] for _, row in sorted(seen(client, reader).items())]


def test_unread_exams_are_offered_with_their_images_and_study(client, store):
    rows = seen(client, "anna")
    assert sorted(rows) == list(EXAMS) and lists(client, "anna") == ["first"] * 3
    row = rows["exam_001"]
    assert row["images"] == [f"exam_001_{view}" for view in ("R-CC", "L-CC", "R-MLO", "L-MLO")]
    assert row["StudyInstanceUID"] == store.uids_of("exam_001_R-CC")["StudyInstanceUID"]
    views = client.get("/reading/exam", params={"exam": row["exam"]}).json()["views"]
    assert views["L-MLO"] == "exam_001_L-MLO"


def test_a_second_reader_is_told_no_answer_of_the_first_until_both_have_read(client, give):
    give("exam_000", "anna", "C")
    for reader in ("bert", ""):
        text = client.get("/reading/exams", params={"reader": reader}).text
        row = seen(client, reader)["exam_000"]
        assert row["list"] == "second" and row["read_by"] == ["anna"]
        assert row["own"] is row["answers"] is row["consensus"] is None
        assert '"C"' not in text.replace('["A","B","C","D"]', "")
    assert seen(client, "anna")["exam_000"]["own"] == "C"
    assert lists(client, "anna") == ["done", "first", "first"]
    give("exam_000", "bert", "B", view="L-MLO")
    for reader in ("anna", "bert"):
        row = seen(client, reader)["exam_000"]
        assert row["list"] == "differ" and row["answers"] == {"anna": "C", "bert": "B"}
    row = seen(client, "cleo")["exam_000"]
    assert row["list"] == "done" and row["answers"] is None and not row["needs_second"]


def test_agreement_is_told_on_exams_that_the_reader_read(client, give):
    for exam, other in zip(EXAMS, "ABD", strict=True):
        give(exam, "anna", "A")
        give(exam, "bert", other)
    give("exam_000", "cleo", "A")
    table = client.get("/reading/exams?reader=bert").json()["agreement"]
    (pair,) = [pair for pair in table if pair["readers"] == ["anna", "bert"]]
    assert pair["exams"] == 3 and pair["percent_agreement"] == pytest.approx(100 / 3)
    table = client.get("/reading/exams?reader=cleo").json()["agreement"]
    assert {pair["exams"] for pair in table} == {1}
    assert client.get("/reading/exams?reader=doris").json()["agreement"] == []


def test_a_consensus_settles_it_and_leaves_what_each_said_alone(client, give, store):
    give("exam_000", "anna", "A")
    give("exam_000", "bert", "C")
    give("exam_000", "bert", "B", consensus=True)
    row = seen(client, "anna")["exam_000"]
    assert (row["list"], row["consensus"]) == ("done", "B")
    assert row["answers"] == {"anna": "A", "bert": "C"}
    (pair,) = client.get("/reading/exams?reader=anna").json()["agreement"]
    assert pair["percent_agreement"] == 0
    for readers in ("latest", "consensus"):
        (exam,) = exams_of_readers(store.folder, readers)
        assert exam.density == "B"


def test_what_a_model_doubts_comes_first(client, doubts, store, tmp_path):
    ids = {name: row["exam"] for name, row in seen(client, "anna").items()}
    doubts.update({ids["exam_002"]: 0.9, ids["exam_001"]: 0.2})
    assert list(seen(client, "anna")) == ["exam_002", "exam_001", "exam_000"]
    doubts.clear()
    (tmp_path / "answer.json").write_text('{"density": "C"}')
    for name, lead in (("exam_000", 0.9), ("exam_001", 0.4)):
        params = {"probabilities": {"A": 0.0, "C": lead, "D": 1 - lead}}
        info = {"model": "density_birads", "params": params}
        store.save_label(f"{name}_R-CC", str(tmp_path / "answer.json"), "original", info)
    assert list(seen(client, "anna")) == ["exam_001", "exam_000", "exam_002"]
    assert seen(client, "anna")["exam_001"]["doubt"] == pytest.approx(0.8)


def test_who_logged_in_is_the_reader_whatever_the_request_says(client, give):
    give("exam_000", "anna", "C")
    token = asking.set(Person(name="bert", access=Access.ANNOTATOR))
    try:
        answer = client.get("/reading/exams?reader=anna").json()
    finally:
        asking.reset(token)
    assert answer["reader"] == "bert" and answer["login"]
    assert all(row["own"] is None for row in answer["exams"])


def test_pictures_are_small(client):
    answer = client.get("/reading/picture?image=exam_000_L-CC&side=64")
    assert answer.headers["content-type"] == "image/jpeg" and len(answer.content) < 10_000
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 64


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("/reading/exams?reader=consensus", 400, "found together"),
        ("/reading/exams?reader=a%00b", 400, "reader: expected a text"),
        ("/reading/exam?exam=nothing", 404, "unknown exam 'nothing'"),
        ("/reading/picture?image=nothing", 404, "unknown image 'nothing'"),
        ("/reading/picture?image=../x", 400, "plain name"),
    ],
)
def test_what_there_is_not_is_refused(client, address, status, reason):
    answer = client.get(address)
    assert answer.status_code == status and reason in answer.json()["detail"]


def test_sizes_of_pictures_are_bounded(client):
    assert client.get("/reading/picture?image=exam_000_L-CC&side=99999").status_code == 422
