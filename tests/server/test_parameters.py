"""Parameters of the wrong type, range or sign, on every route: refused by name, nothing changed."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from server_support import MODEL, QUICK, Server, assert_refused, discs, write_png

IMAGE = "fluorescence_000"
EMOJI = "\N{PILE OF POO}"
JSON = {"content-type": "application/json"}
DEEP = '{"a":' + "[" * 900 + "]" * 900 + "}"
NAMES = ["x" * 300, EMOJI * 60, "a\u202eb", "a\nb", "\x7f"]


@pytest.mark.parametrize(
    "params",
    [
        *('{"a": NaN}', '{"a": 1e999}', r'{"a": "\ud800"}', r'{"\u0000": 1}', DEEP),
        *("[" * 10_000, f'{{"a": {"9" * 5000}}}', '{"a": 9999999999999999999}', "[]", "\ufeff{}"),
        *('{"device": ["cpu", {}], "flips": [[1]]}', '{"label_info": "x"}', '{"slice": true}'),
        *('{"save_label": {"a": 1}}', '{"foreground": 5}', '{"result": 5}', '{"label_tag": "a/b"}'),
    ],
    ids=lambda params: params[:24],
)
def test_parameters_that_no_model_could_read_are_refused(calm: Server, params: str) -> None:
    response = calm.post(
        "/infer/region_click", params={"image": IMAGE}, data={"params": params.encode()}
    )
    assert_refused(response, 400)


@pytest.mark.parametrize("body", [b"\xff", b'{"a": "\xff\xc3("}', b"{", b"[" * 10_000, b'"x"'])
@pytest.mark.parametrize("route", ["train", "batch/infer", "scoring", "activelearning"])
def test_bodies_that_are_no_object_are_refused(calm: Server, route: str, body: bytes) -> None:
    response = calm.post(f"/{route}/{MODEL}", data=body, headers=JSON)
    assert response.status_code in (400, 422) and isinstance(response.json()["detail"], str)


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        (f"/batch/infer/{MODEL}", {"images": {"a": 1}}, ["images", "ids"]),
        (f"/batch/infer/{MODEL}", {"images": [1, None]}, ["images"]),
        (f"/batch/infer/{MODEL}", {"max_batch_size": "many"}, ["max_batch_size", "whole number"]),
        (f"/batch/infer/{MODEL}", {"max_batch_size": True}, ["max_batch_size"]),
        (f"/batch/infer/{MODEL}", {"max_workers": -1}, ["max_workers"]),
        (f"/batch/infer/{MODEL}", {"gpus": 5}, ["gpus", "5"]),
        (f"/batch/infer/{MODEL}", {"model": {"a": 1}}, ["model"]),
        (f"/batch/infer/{MODEL}", {"images": ["x" * 90] * 2000}, ["bytes", "send less"]),
        (f"/train/{MODEL}", {"bundle_path": "/tmp"}, ["bundle_path"]),
        (f"/train/{MODEL}", {"gpus": "0\0"}, ["NUL"]),
        (f"/train/{MODEL}", {"gpus": "$(id)"}, ["gpus"]),
        (f"/train/{MODEL}", {"model": [MODEL, {}], "name": {"a": 1}}, ["name"]),
        (f"/train/{MODEL}", {"max_epochs": 10**12}, ["max_epochs", "at most"]),
        (f"/train/{MODEL}", {"train_batch_size": 10**9}, ["train_batch_size", "at most"]),
        (f"/train/{MODEL}", {"max_epochs": True}, ["max_epochs"]),
        (f"/train/{MODEL}", {"seed": 2**40}, ["seed"]),
        ("/train/", {MODEL: {"bundle_path": "/tmp"}}, ["bundle_path"]),
        ("/scoring/dice", {"model": {"a": 1}}, ["model"]),
        ("/scoring/dice", {"method": "hausdorff"}, ["method", "dice"]),
        ("/scoring/dice", {"bundle_path": "/tmp"}, ["bundle_path"]),
        ("/scoring/", {"model": {"a": 1}}, ["model"]),
        ("/scoring/", {"dice": "x"}, ["dice", "object"]),
        ("/activelearning/random", {"client_id": {"a": 1}}, ["client_id"]),
        ("/activelearning/random", {"model": "\n"}, ["model"]),
        ("/activelearning/random", {"strategy": "finished"}, ["strategy", "random"]),
    ],
    ids=str,
)
def test_parameters_of_tasks_and_samples_are_refused_by_name(
    calm: Server, path: str, params: dict[str, Any], words: list[str]
) -> None:
    assert_refused(calm.post(path, data=json.dumps(params), headers=JSON), 400, *words)
    for task in ("train/", "batch/infer", "scoring/"):
        assert calm.get(f"/{task}", params={"check_if_running": True}).status_code == 404


def test_a_choice_may_come_as_the_list_that_was_offered(calm: Server) -> None:
    body = {"model": [MODEL], "client_id": "a"}
    assert calm.post("/activelearning/random", json=body).json()["id"]
    body = {**QUICK, "model": [MODEL], "max_batch_size": 1, "device": ["cpu", "cuda"]}
    batch = calm.post(f"/batch/infer/{MODEL}", params={"run_sync": True}, json=body)
    assert batch.ok, batch.text


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_no_file_can_have_are_refused(calm: Server, name: str, tmp_path) -> None:
    content = write_png(tmp_path / "a.png", discs(64, 64)).read_bytes()
    before = calm.images()
    image = calm.put("/datastore/image", params={"image": name}, files={"file": ("a.png", content)})
    assert_refused(image, 400, "image id")
    session = calm.put("/session/", files={"files": (f"{name}.png", content)})
    assert session.status_code == 400 or "\n" not in session.text
    assert calm.get("/datastore/label", params={"label": name, "tag": name}).status_code == 400
    assert calm.images() == before


@pytest.mark.parametrize("name", [*NAMES, "../../a", "a\\b", "a.b.c", ".png", "a\0", '"', "."])
def test_the_name_of_an_uploaded_file_is_never_part_of_a_path(
    calm: Server, name: str, tmp_path
) -> None:
    content = write_png(tmp_path / "a.png", discs(64, 64)).read_bytes()
    answer = calm.post(f"/infer/{MODEL}", files={"file": (f"{name}.png", content)})
    assert answer.ok, answer.text
    for sent in (f"{name}.{'x' * 300}", f"{name}.exe"):
        refused = calm.post(f"/infer/{MODEL}", files={"file": (sent, content)})
        assert_refused(refused, 400)


def test_files_of_a_session_have_names_of_their_own(calm: Server) -> None:
    twice = [("files", ("a.png", b"x")), ("files", ("b/a.png", b"y"))]
    assert_refused(calm.put("/session/", files=twice), 400, "a.png", "taken")
    assert_refused(calm.put("/session/", files={"files": ("meta.info", b"{}")}), 400, "taken")
    assert_refused(calm.put("/session/", files={"files": ("..", b"{}")}), 400, "plain name")


def test_two_files_of_a_session_are_not_offered_as_one(calm: Server) -> None:
    two = [("files", ("a.png", b"x")), ("files", ("b.png", b"y"))]
    made = calm.put("/session/", files=two).json()["session_id"]
    assert_refused(calm.get(f"/session/{made}", params={"image": True}), 400, "2 files")
    assert_refused(calm.post(f"/infer/{MODEL}", params={"session_id": made}), 400)
    assert calm.delete(f"/session/{made}").ok


@pytest.mark.parametrize(
    "info",
    [
        '{"label_info": 5}',
        '{"label_info": [{"idx": 1}]}',
        '{"params": "x"}',
        '{"client_id": {"a": 1}}',
        DEEP,
    ],
)
def test_records_keep_no_field_that_others_could_not_read(calm: Server, info: str) -> None:
    label = {"label": IMAGE, "tag": "final"}
    assert_refused(calm.put("/datastore/label/info", params=label, data={"info": info}), 400)
    assert_refused(calm.put("/datastore/updatelabelinfo", params=label, data={"params": info}), 400)


def test_what_the_server_itself_records_is_not_taken_from_a_request(calm: Server) -> None:
    label = {"label": "fluorescence_001", "tag": "final"}
    before = calm.get("/datastore/label/info", params=label).json()
    info = json.dumps({"restored_from": "x", "ts": "x", "name": "../a", "note": "kept"})
    assert calm.put("/datastore/label/info", params=label, data={"info": info}).ok
    after = calm.get("/datastore/label/info", params=label).json()
    assert after == {**after, **before, "note": "kept"}
    assert calm.post("/activelearning/finished", json={"id": label["label"]}).ok
    assert calm.get("/datastore/label/versions", params={"image": label["label"]}).ok


@pytest.mark.parametrize("agent", [b"x" * 8000, b"\xff\xfe", b"a\tb", "\u0416".encode(), b""])
def test_the_program_that_sends_a_label_is_kept_as_a_short_text(
    calm: Server, agent: bytes, tmp_path
) -> None:
    label = write_png(tmp_path / "a.png", discs(256, 256) // 200).read_bytes()
    reply = calm.put(
        "/datastore/label",
        params={"image": "fluorescence_003"},
        files={"label": ("a.png", label)},
        headers={"User-Agent": agent},
    )
    assert reply.ok, reply.text
    versions = calm.get("/datastore/label/versions", params={"image": "fluorescence_003"}).json()
    client = versions["versions"][-1]["client"]
    assert client.isprintable() and 0 < len(client) <= 200


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/logs/", {"lines": "9" * 30}, 400),
        ("/logs/", {"lines": -1}, 400),
        ("/logs/", {"lines": "NaN"}, 422),
        ("/logs/", {"refresh": -5}, 400),
        ("/datastore/dataset", {"limit_cases": -1}, 400),
        ("/datastore/dataset", {"limit_cases": "1e999"}, 422),
        ("/datastore/label/version", {"image": IMAGE, "version": "9" * 400}, 404),
        ("/datastore/", {"output": "\0"}, 422),
        (f"/infer/{MODEL}", {"output": "\ud800"}, 405),
        ("/agreement", {"image": "\0", "task": "x" * 5000}, 400),
        ("/agreement", {"task": "x" * 5000}, 404),
        ("/model/info/%00", {}, 404),
        (f"/model/{'x' * 5000}", {}, 404),
        (f"/session/{'x' * 5000}", {}, 404),
        ("/results/%00/%00", {}, 404),
    ],
)
def test_values_in_an_address_are_refused_in_one_sentence(
    calm: Server, path: str, query: dict[str, Any], status: int
) -> None:
    reply = calm.get(path, params={k: str(v).encode("utf-8", "replace") for k, v in query.items()})
    assert_refused(reply, status)
    assert len(reply.text) < 1100


@pytest.mark.parametrize(
    "path", ["", "wado/studies/1.2", "%00", "..%2f", "%ff", "aets", "studies/../../info/"]
)
def test_what_a_folder_does_not_have_as_dicomweb_is_refused(calm: Server, path: str) -> None:
    status, content = calm.raw("GET", f"/proxy/dicom/{path}")
    assert status == 404 and "root:" not in content.decode()


@pytest.mark.parametrize("path", ["", "studies", "wado/studies/1.2", "%00", "%ff"])
def test_a_folder_takes_nothing_by_dicomweb(calm: Server, path: str) -> None:
    assert_refused(calm.post(f"/proxy/dicom/{path}"), 405, "read only", "PUT /datastore/label")


@pytest.mark.parametrize(
    "path", ["%00", "x" * 5000, "a%0d%0ab", "%ff%fe", EMOJI * 80, "..%2f..%2fetc", "%C3%28/a.js"]
)
def test_any_path_below_ohif_is_its_page_or_none(calm: Server, path: str) -> None:
    reply = calm.get(f"/ohif/{path}")
    assert reply.status_code in (200, 404)
    assert "root:" not in reply.text and "X-Injected" not in reply.headers


def test_other_methods_and_web_sockets_are_refused(calm: Server) -> None:
    for method in ("TRACE", "PATCH", "PROPFIND", "OPTIONS"):
        assert 400 <= calm.request(method, "/info/").status_code < 500
    assert calm.request("HEAD", "/datastore/image", params={"image": IMAGE}).ok
    connection = http.client.HTTPConnection("127.0.0.1", calm.port, timeout=10)
    connection.request(
        "GET",
        "/info/",
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
        },
    )
    assert connection.getresponse().status in (200, 403, 404)
    connection.close()


@pytest.mark.parametrize("name", ["x" * 5000, "%D0%96" * 150])
def test_a_long_name_of_no_model_is_refused_without_a_traceback(calm: Server, name: str) -> None:
    told = len(calm.log)
    assert calm.delete(f"/model/{name}").status_code == 404
    assert calm.put(f"/model/{name}", files={"file": ("w.pt", b"x")}).status_code == 404
    assert "Traceback" not in calm.log[told:]


@pytest.mark.parametrize("checksum", ["http://[::1", "SHA256", "SHA256:xyz", "MD5:\0", ":", "é"])
def test_a_checksum_that_is_none_is_refused(calm: Server, checksum: str) -> None:
    params = {"image": IMAGE, "check_sum": checksum}
    assert calm.request("HEAD", "/datastore/image", params=params).status_code == 400
    right = {"image": IMAGE, "check_sum": f"SHA256:{'0' * 64}"}
    assert calm.request("HEAD", "/datastore/image", params=right).status_code == 404
