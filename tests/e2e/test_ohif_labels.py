"""Labels of several people and ways, with OHIF in Chromium among them: kept, and trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from archive import objects, store_all
from archive_server import ArchiveServer
from server_support import MODEL, QUICK
from test_density import _weights_that_answer_c as weights_that_answer_c
from viewer import Viewer

from lib.mammography.report.read import read_density_report
from lib.phantoms.dicom_studies import DemoStudy, frame_study, mammogram_study
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS
from monailabel_app.web.users import Users

DENSITY = "density_birads"
PEOPLE = ("anna", "bert")
PATIENCE = 600  # s: that process steps behind all others of a busy machine; alone it takes 20


@pytest.fixture(scope="module")
def frames() -> list[DemoStudy]:
    return [frame_study(seed, (48, 64)) for seed in range(4)]


@pytest.fixture(scope="module")
def exams() -> list[DemoStudy]:
    return [mammogram_study(seed, 0.04, density) for seed, density in enumerate("BD")]


@pytest.fixture(scope="module")
def users() -> Users:
    users = Users.empty()
    for name in PEOPLE:
        users.set(name, "annotator", f"password of {name}")
    users.set("boss", "admin", "password of boss")
    return users


@pytest.fixture(scope="module")
def tokens(users) -> dict[str, str]:
    return {name: users.new_token(name) for name in PEOPLE}


@pytest.fixture(scope="module")
def profiles(new_profile) -> dict[str, Any]:
    """A browser for each."""
    return {name: new_profile() for name in PEOPLE}


@pytest.fixture(scope="module")
def server(
    new_orthanc, frames, exams, users, tokens, profiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    """A server that asks who is there, over an archive without a label."""
    orthanc = new_orthanc()
    store_all(orthanc, [*frames, *exams])
    folder = tmp_path_factory.mktemp("labels_server")
    users.write(folder / "users.json")
    server = ArchiveServer(folder, orthanc, DENSITY, users=str(folder / "users.json"))
    server.headers = {"Authorization": f"Bearer {users.login('boss')}"}
    weights_that_answer_c(server.model_dir / f"{DENSITY}.pt")
    yield server.start()
    server.stop()


@pytest.fixture
def people(profiles, tokens, server) -> dict[str, Any]:
    """The browsers, each told the name and the token once, as a page of OHIF asks for them."""
    for name, profile in profiles.items():
        page = profile.new_page()
        page.goto(f"http://{name}:{tokens[name]}@127.0.0.1:{server.port}/ohif/app-config.js")
        page.close()
    return profiles


def _label(server: ArchiveServer, image: str) -> np.ndarray:
    response = server.get("/datastore/label", params={"label": image, "tag": "final"})
    assert response.ok, response.text
    (server.folder / "got.nrrd").write_bytes(response.content)
    return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(server.folder / "got.nrrd"))))


def _density(server: ArchiveServer, exam: DemoStudy) -> set[str]:
    answers = [
        server.get("/datastore/label", params={"label": view, "tag": "final"}).json()
        for view in exam.series
    ]
    return {answer["density"] for answer in answers}


def _labelled(server: ArchiveServer) -> set[str]:
    return {id for id, item in server.images().items() if "final" in item["labels"]}


def _painted(viewer: Viewer, side: int) -> np.ndarray:
    """Turn round a square of the label that is drawn, and return the label."""
    viewer.paint(0, side)
    (drawn,) = viewer.drawn().values()
    return drawn


def test_labels_of_the_viewer_of_rest_and_of_a_density_outlive_a_kill_and_are_trained_on(
    new_viewer, server, people, frames, exams, tmp_path: Path
):
    drawn, sent = (study.series[0] for study in frames[:2])
    viewer = new_viewer(people["anna"], server.url)
    viewer.open(frames[0].study)
    viewer.choose(MODEL)
    viewer.press("Run")
    labels = {drawn: _painted(viewer, 5)}
    assert viewer.press("Submit") == "The label is saved"
    viewer.open(exams[0].study)
    viewer.press("Run")
    assert "Class B is saved" in viewer.press("B")  # the model answered C
    labels[sent] = (frames[1].truth[sent] > 0).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(labels[sent]), str(tmp_path / "label.nrrd"))
    assert server.save_label(sent, tmp_path / "label.nrrd").ok
    (tmp_path / "answer.json").write_text(json.dumps({"density": "D"}))
    assert server.save_label(exams[1].series[2], tmp_path / "answer.json").ok

    server.kill()
    server.conf["archive_cache"] = str(tmp_path / "empty")
    server.start()
    assert _labelled(server) == {drawn, sent, *exams[0].series, *exams[1].series}
    for image, label in labels.items():
        assert label.any() and np.array_equal(_label(server, image), label)
    assert [_density(server, exam) for exam in exams] == [{"B"}, {"D"}]
    assert len(objects(server.orthanc, "SEG")) == 2
    reports = [read_density_report(report) for report in objects(server.orthanc, "SR")]
    assert sorted(report.density for report in reports) == ["B", "D"]
    for model, params, cases in (
        (MODEL, QUICK, 2),
        (DENSITY, {"max_epochs": 1, "input_size": 64, "device": "cpu"}, 8),
    ):
        reply = server.post(f"/train/{model}", params={"run_sync": True}, json=params)
        assert reply.ok, reply.text
        outcome = reply.json()
        assert outcome["training_cases"] + outcome["validation_cases"] == cases


def test_two_people_with_tokens_of_their_own_label_different_images_at_once(
    new_viewer, server, people, frames
):
    before = {str(seg.SOPInstanceUID) for seg in objects(server.orthanc, "SEG")}
    viewers = {name: new_viewer(people[name], server.url) for name in PEOPLE}
    for viewer in viewers.values():
        viewer.open(frames[0].study)
    images = {name: viewer.next_image() for name, viewer in viewers.items()}
    assert sorted(images.values()) == sorted(study.series[0] for study in frames[2:])
    for viewer in viewers.values():
        viewer.choose(MODEL)
        viewer.click("Run")
    labels = {}
    for side, (name, viewer) in enumerate(viewers.items(), start=5):
        assert f"{MODEL} answered" in viewer.status()
        labels[name] = _painted(viewer, side)
    for viewer in viewers.values():
        viewer.click("Submit")
    assert [viewer.status() for viewer in viewers.values()] == ["The label is saved"] * 2
    assert not np.array_equal(*labels.values())
    for name, image in images.items():
        assert np.array_equal(_label(server, image), labels[name])
        assert server.images()[image]["labels"]["final"]["info"]["user"] == name
    for name, viewer in viewers.items():  # opened again, the label is that which was submitted
        viewer.open(next(study.study for study in frames if images[name] in study.series))
        viewer.choose(MODEL)
        assert "what you submit" in viewer.correct()
        (drawn,) = viewer.drawn().values()
        assert np.array_equal(drawn, labels[name])
    segs = [seg for seg in objects(server.orthanc, "SEG") if str(seg.SOPInstanceUID) not in before]
    assert {
        str(seg.ContentCreatorName): str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)
        for seg in segs
    } == images


def test_a_training_in_a_process_of_its_own_takes_the_labels_of_the_archive(server, frames):
    """Those of the tests above."""
    known = len(ModelStore(server.model_dir, SHIPPED_MODELS).versions(MODEL))
    reply = server.post(f"/train/{MODEL}", json=QUICK)
    assert reply.ok, reply.text
    ended = ("DONE", "ERROR")
    server.wait_for(lambda: server.training()["status"] in ended, "the end of it", PATIENCE)
    done = server.training()
    assert done["status"] == "DONE", done["details"]
    made = ModelStore(server.model_dir, SHIPPED_MODELS).versions(MODEL)
    assert len(made) == known + 1
    record = load_checkpoint(made[-1].path).provenance
    labelled = _labelled(server) & {study.series[0] for study in frames}
    assert record["training_cases"] + record["validation_cases"] == len(labelled)
