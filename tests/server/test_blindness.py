"""Second reads are blind: what others said of an exam is told after the own class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from server_support import MODEL, Server, write_png

from lib.phantoms.mammograms.exams import write_exams
from monailabel_app.web.users import Users

PEOPLE = {"anna": "annotator", "bert": "annotator", "cleo": "user", "rita": "reviewer"}
EXAM, OTHER = "exam_000", "exam_001"
VIEW = f"{EXAM}_R-CC"
Send = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    file = tmp_path_factory.mktemp("users") / "users.json"
    with Users.changed(file) as users:
        for name, role in PEOPLE.items():
            users.set(name, role, f"correct horse {name}")
        return file, {name: users.new_token(name) for name in PEOPLE}


def _serve(folder: Path, **conf: str) -> Server:
    server = Server(folder, MODEL, device="cpu", **conf)
    write_exams(server.studies, seed=5, exams=2, scale=0.04, labelled=0.0)
    return server.start()


@pytest.fixture(scope="module")
def server(tokens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with users over two exams, of which `anna` read the first."""
    server = _serve(tmp_path_factory.mktemp("blind"), users=str(tokens[0]))
    yield server
    server.stop()


@pytest.fixture
def sent(server: Server, tokens) -> Send:
    def send(name: str, method: str, path: str, **arguments: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {tokens[1][name]}"}
        return server.request(method, path, headers=headers, **arguments)

    return send


def _give(put: Send, folder: Path, density: str, image: str = VIEW, **params: object) -> None:
    content = {"density": density, "percent_density": {"R-CC": 61.7}}
    (folder / "label.json").write_text(json.dumps(content))
    with (folder / "label.json").open("rb") as label:
        answer = put(
            "PUT",
            "/datastore/label",
            params={"image": image},
            data={"params": json.dumps(params)},
            files={"label": ("label.json", label)},
        )
    assert answer.ok, answer.text


def _draw_tissue(put: Send, server: Server, folder: Path) -> None:
    from lib.io.read import read_image

    shape = read_image(server.studies / f"{VIEW}.dcm", spatial_dims=2).pixels.shape[:2]
    file = write_png(folder / "tissue.png", np.ones(shape, np.uint8))
    with file.open("rb") as label:
        query = {"image": VIEW, "tag": "dense_tissue"}
        names = json.dumps({"params": {"label_names": {"dense tissue": 1}}})
        files = {"label": ("tissue.png", label)}
        answer = put("PUT", "/datastore/label", params=query, data={"params": names}, files=files)
    assert answer.ok, answer.text


TELLING = (
    ("/datastore/label", {"label": VIEW, "tag": "final"}),
    ("/datastore/label", {"label": VIEW, "tag": "dense_tissue"}),
    ("/datastore/label/info", {"label": VIEW, "tag": "final"}),
    ("/datastore/label/version", {"image": VIEW, "version": 1}),
    ("/viewer/label", {"image": VIEW, "tag": "dense_tissue"}),
    ("/datastore/dataset", {}),
)
LISTING = (
    ("/viewer/saved", {"image": VIEW}),
    ("/viewer/density", {"image": VIEW}),
    ("/viewer/image", {"image": VIEW}),
    ("/reading/exams", {}),
    ("/agreement", {}),
    ("/datastore/", {"output": "all"}),
    ("/datastore/label/versions", {"image": VIEW}),
)


def _tells(answer: requests.Response) -> bool:
    """Tell whether an answer holds the class, the percent or the tissue of the first reader."""
    text = answer.text.replace('["A","B","C","D"]', "")
    return '"C"' in text or "61.7" in text or "dense_tissue" in text


def test_who_has_not_read_an_exam_is_told_who_read_it_and_not_what_was_said(sent, server, tmp_path):
    def anna(*request: Any, **more: Any) -> requests.Response:
        return sent("anna", *request, **more)

    _give(anna, tmp_path, "C")
    _draw_tissue(anna, server, tmp_path)
    for name in ("bert", "cleo"):
        for path, query in TELLING:
            answer = sent(name, "GET", path, params=query)
            assert answer.status_code == 403, (path, answer.text)
            role = path == "/datastore/dataset" and name == "cleo"
            assert role or "read" in answer.json()["detail"], answer.text
        for path, query in LISTING:
            answer = sent(name, "GET", path, params=query)
            assert answer.ok and not _tells(answer), (path, answer.text)
        density = sent(name, "GET", "/viewer/density", params={"image": VIEW}).json()
        assert density["hidden"] and density["read_by"] == ["anna"]
    restored = {"image": VIEW, "version": 1}
    assert sent("bert", "POST", "/datastore/label/restore", params=restored).status_code == 403
    head = sent("bert", "HEAD", "/datastore/label", params={"image": VIEW, "tag": "final"})
    assert head.status_code == 403

    for name in ("anna", "rita"):  # the reader, and the role reviewer
        for path, query in TELLING:
            assert sent(name, "GET", path, params=query).ok, path
        for path, query in (
            row for row in LISTING if row[0].startswith(("/viewer/s", "/viewer/d"))
        ):
            assert _tells(sent(name, "GET", path, params=query)), path


def test_after_the_own_class_everything_is_shown(sent, tmp_path):
    def bert(*request: Any, **more: Any) -> requests.Response:
        return sent("bert", *request, **more)

    _give(bert, tmp_path, "B", f"{EXAM}_L-MLO")  # of whichever view
    found = bert("GET", "/viewer/density", params={"image": VIEW}).json()
    assert [label["density"] for label in found["labels"]] == ["B", "C"] and not found["hidden"]
    assert found["tissue"] and found["read_by"] == ["anna", "bert"]
    saved = bert("GET", "/viewer/saved", params={"image": VIEW}).json()
    assert {row["density"] for row in saved if row["kind"] == "density"} == {"B", "C"}
    for path, query in TELLING:
        assert bert("GET", path, params=query).ok, path
    (exam,) = bert("GET", "/agreement").json()["densities"]["exams"]
    assert exam["densities"] == {"anna": "C", "bert": "B"}
    assert sent("cleo", "GET", "/agreement").json()["densities"]["exams"] == []


def test_without_users_the_name_that_a_request_gives_is_the_reader(tmp_path):
    server = _serve(tmp_path / "open")
    try:
        _give(server.request, tmp_path, "C", client_id="anna")
        for path in ("/viewer/saved", "/viewer/density"):
            query = {"image": VIEW, "reader": "bert"}
            assert not _tells(server.get(path, params=query)), path
            assert _tells(server.get(path, params={**query, "reader": "anna"})), path
            assert _tells(server.get(path, params={"image": VIEW})), "who gives no name sees all"
        _give(server.request, tmp_path, "A", client_id="bert")
        assert _tells(server.get("/viewer/density", params={"image": VIEW, "reader": "bert"}))
    finally:
        server.stop()
