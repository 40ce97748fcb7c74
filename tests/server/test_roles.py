"""Who may do what, against a real server: each route by each role, and what belongs to whom."""

from __future__ import annotations

import json
import secrets
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPBasicAuth
from server_support import MODEL, Server, assert_refused, discs, threshold_weights, write_png

from monailabel_app.web.access import ROWS, Access, Row
from monailabel_app.web.users import ROLES, Users

PASSWORD = "correct horse {}"
PEOPLE = {role: role for role in ROLES} | {"anna": "annotator", "bert": "annotator", "cleo": "user"}


@pytest.fixture(scope="module")
def users_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("users") / "users.json"


@pytest.fixture(scope="module")
def tokens(users_file: Path) -> dict[str, str]:
    with Users.changed(users_file) as users:
        for name, role in PEOPLE.items():
            users.set(name, role, PASSWORD.format(name))
        return {name: users.new_token(name) for name in PEOPLE}


@pytest.fixture(scope="module")
def guarded(
    launch: Callable[..., Server], users_file: Path, tokens: dict[str, str]
) -> Iterator[Server]:
    """A server with users of each role, over three images without labels."""

    def prepare(server: Server) -> None:
        server.conf["users"] = str(users_file)
        threshold_weights(server.live_file)
        for number in range(3):
            write_png(server.studies / f"cell_{number}.png", discs(48, 72))

    return launch(prepare)


@pytest.fixture
def sent(guarded: Server, tokens: dict[str, str]) -> Callable[..., requests.Response]:
    """Return a function that sends a request as somebody."""

    def send(name: str, method: str, path: str, **arguments: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {tokens[name]}"} if name else {}
        return guarded.request(method, path, headers=headers, **arguments)

    return send


def _address(row: Row) -> str:
    """Return an address of a route at which there is nothing to change."""
    path = row.path.replace("{path:path}", "x")
    for name in ("model", "strategy", "method", "session_id", "key", "name"):
        path = path.replace(f"{{{name}}}", "nothing")
    return path


@pytest.mark.parametrize("role", ["", *ROLES])
def test_each_route_admits_whom_the_table_names(sent, role):
    held = Access[role.upper()] if role else Access.OPEN
    wrong = []
    for row in ROWS:
        query = {"image": "none", "id": "none", "label": "none", "tag": "final", "version": "1"}
        answer = sent(role, row.method, _address(row), params=query, json=5)
        if held >= row.access or row.access is Access.OPEN:
            fits = answer.status_code not in (401, 403) or row.path == "/auth/token"
        else:
            fits = answer.status_code == (403 if role else 401)
            if row.method != "HEAD" and role:
                fits &= f"role {row.access.role}" in answer.json()["detail"]
        if not fits:
            wrong.append((row.method, row.path, answer.status_code))
    assert not wrong


def test_the_documented_routes_are_those_of_the_table(guarded):
    known = {(row.method, row.path.replace(":path", "")) for row in ROWS}
    paths = guarded.get("/openapi.json", headers={}).json()["paths"]
    documented = {(m.upper(), path) for path, ways in paths.items() for m in ways}
    assert len(documented) > 30 and documented <= known
    assert "has no row" not in guarded.log


def test_who_asks_is_known_before_a_body_is_read(guarded):
    head = (
        "PUT /datastore/label?image=cell_0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999"
    )
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=60) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())  # and no body at all
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_only_annotators_store_an_answer_and_their_name_is_kept_with_it(guarded, sent):
    def ask(name: str, image: str, **params: Any) -> requests.Response:
        data = {"params": json.dumps(params)}
        return sent(name, "POST", f"/infer/{MODEL}?image={image}&output=json", data=data)

    assert ask("cleo", "cell_0").ok
    for params in ({"save_label": True, "label_tag": "final"}, {"label_tag": "final"}):
        assert_refused(ask("cleo", "cell_0", **params), 403, "role annotator", "'cleo' has user")
    assert_refused(ask("cleo", "cell_0", save_label="yes"), 403, "role annotator")
    assert sent("cleo", "HEAD", "/datastore/label?image=cell_0&tag=final").status_code == 404
    assert ask("anna", "cell_0", save_label=True, label_tag="final", user="chief").ok
    info = sent("cleo", "GET", "/datastore/label/info?label=cell_0&tag=final").json()
    assert info["user"] == "anna" and info["model"] == MODEL
    (version,) = sent("cleo", "GET", "/datastore/label/versions?image=cell_0").json()["versions"]
    assert version["reader"] == "anna"
    batch = {"images": ["cell_1"], "save_label": True, "label_tag": "first", "user": "chief"}
    asked = sent("admin", "POST", f"/batch/infer/{MODEL}?run_sync=true", json=batch)
    assert asked.ok, asked.text
    info = sent("cleo", "GET", "/datastore/label/info?label=cell_1&tag=first").json()
    assert info["user"] == "admin"
    lines = [json.loads(one) for one in (guarded.model_dir / "audit.jsonl").open()]
    by = [(one["by"], one["on"]) for one in lines if one["what"] == "label saved by a model"]
    assert by == [("anna", "cell_0"), ("admin", "cell_1")]


def test_a_session_and_its_image_belong_to_who_made_it(sent, tmp_path):
    content = write_png(tmp_path / "own.png", discs(48, 72)).read_bytes()
    made = sent("cleo", "PUT", "/session/", files={"files": ("own.png", content)})
    id = made.json()["session_id"]

    def ask(name: str) -> list[int]:
        model = f"/infer/{MODEL}?session_id={id}&output=json"
        asked = [("GET", f"/session/{id}?image=true"), ("GET", f"/session/{id}"), ("POST", model)]
        return [sent(name, *one).status_code for one in asked]

    assert ask("cleo") == ask("admin") == [200, 200, 200]
    assert ask("anna") == [404, 404, 404]
    assert sent("anna", "DELETE", f"/session/{id}").status_code == 404
    assert sent("cleo", "DELETE", f"/session/{id}").ok
    assert ask("cleo") == [404, 404, 404]


def test_nobody_takes_the_image_that_another_works_on(sent):
    def next_image(name: str, **params: Any) -> str:
        return sent(name, "POST", "/activelearning/first", json=params).json()["id"]

    mine = next_image("anna")
    assert next_image("bert", client_id="anna") != mine == next_image("anna", client_id="bert")


def test_a_token_ends_with_the_password_with_the_user_and_when_it_is_revoked(guarded, users_file):
    def look(token: str) -> int:
        return guarded.get("/info/", headers={"Authorization": f"Bearer {token}"}).status_code

    with Users.changed(users_file) as users:
        for name in ("dora", "emil", "fred"):
            users.set(name, "user", PASSWORD.format(name))
        script = {name: users.new_token(name) for name in ("dora", "emil", "fred")}
        short = users.new_token("fred", days=1.5 / 86400)
    time.sleep(1.1)  # a running server sees the change within a second
    logins = {}
    for name in script:
        form = {"username": name, "password": PASSWORD.format(name)}
        logins[name] = guarded.post("/auth/token", data=form).json()["access_token"]
    assert [look(token) for token in (*script.values(), *logins.values())] == [200] * 6
    with Users.changed(users_file) as users:
        users.set("dora", "user", "another password")
        del users.rows["emil"]
        users.revoke("fred", users.tokens("fred")[0].id)
    time.sleep(1.1)
    assert [look(token) for token in (*script.values(), short)] == [401] * 4
    assert [look(token) for token in logins.values()] == [401, 401, 200]


def test_a_damaged_file_of_users_leaves_everybody_as_before(guarded, sent, users_file):
    good = users_file.read_bytes()
    users_file.write_bytes(good[: len(good) // 2])
    time.sleep(1.1)
    assert sent("anna", "GET", "/info/").ok and sent("", "GET", "/info/").status_code == 401
    assert "The users stay as they were" in guarded.log
    users_file.write_bytes(good)


def test_changes_are_written_down_with_who_and_what(guarded, sent, tmp_path):
    label = write_png(tmp_path / "label.png", discs(48, 72) // 220)
    save = {"files": {"label": ("label.png", label.read_bytes())}}
    assert sent("anna", "PUT", "/datastore/label?image=cell_2&tag=final", **save).ok
    assert sent("bert", "POST", "/datastore/label/restore?image=cell_2&version=1").ok
    assert sent("admin", "DELETE", "/datastore/label?id=cell_2&tag=final").ok
    weights = {"files": {"file": ("w.pt", guarded.live_file.read_bytes())}}
    assert sent("admin", "PUT", f"/model/{MODEL}", **weights).ok
    assert sent("admin", "DELETE", f"/model/{MODEL}").ok
    lines = [json.loads(one) for one in (guarded.model_dir / "audit.jsonl").open()]
    told = [(one["by"], one["what"], one["on"]) for one in lines][-5:]
    assert told == [
        ("anna", "label saved", "cell_2"),
        ("bert", "label restored", "cell_2"),
        ("admin", "label removed", "cell_2"),
        ("admin", "model uploaded", MODEL),
        ("admin", "model withdrawn", MODEL),
    ]
    saved, _, removed, uploaded, _ = lines[-5:]
    assert saved["after"] == removed["before"] and len(saved["sent"]) == 64
    assert "after" not in removed and len(uploaded["after"]) == 64
    assert all(one["address"] == "127.0.0.1" and one["time"].endswith("+00:00") for one in lines)
    assert (guarded.model_dir / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_thirty_who_guess_passwords_slow_nobody_and_lock_nobody_else_out(guarded, tokens, sent):
    known = HTTPBasicAuth("bert", PASSWORD.format("bert"))
    ways = [{"headers": {"Authorization": f"Bearer {tokens['anna']}"}}, {"auth": known}]

    def seconds(count: int = 15) -> float:
        """Return the median time of a request with a token, or with a password known already."""
        took = []
        for number in range(count):
            start = time.monotonic()
            assert guarded.get("/auth/token/valid", **ways[number % 2]).ok
            took.append(time.monotonic() - start)
        return statistics.median(took)

    end, answers = threading.Event(), Counter()

    def guess(number: int) -> None:
        # for one name that there is, or for ever new ones
        while not end.is_set():
            name = "reviewer" if number % 2 else secrets.token_hex(4)
            answer = guarded.get("/info/", auth=HTTPBasicAuth(name, "guessed"), headers={})
            answers[answer.status_code] += 1
            assert answer.status_code == 401 or int(answer.headers["retry-after"]) > 0

    before = seconds()
    threads = [threading.Thread(target=guess, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        during = seconds()
        first = guarded.get("/info/", auth=HTTPBasicAuth("cleo", PASSWORD.format("cleo")))
        for _ in range(3):  # it may itself be the one that is checked when a wait is over
            refused = guarded.get("/info/", auth=HTTPBasicAuth("reviewer", "guessed"), headers={})
            if refused.status_code != 401:
                break
    finally:
        end.set()
        for thread in threads:
            thread.join()
    print(f"before {before * 1000:.0f} ms, during {during * 1000:.0f} ms, answers {answers}")
    assert during - before < 0.5  # thirty checks take seconds
    assert first.ok  # a login that nothing is remembered of
    assert_refused(refused, 429, "too many wrong passwords", "try again in")
    assert set(answers) == {401, 429} and answers[401] < 400
    lines = [json.loads(one) for one in (guarded.model_dir / "audit.jsonl").open()]
    noted = [one for one in lines if one["what"] == "wrong password"]
    assert 1 <= len(noted) < 10 and noted[0]["on"] == "reviewer" and noted[0]["times"] >= 5


def test_who_changes_what_is_said_of_a_label_does_not_become_its_reader(guarded, sent):
    label = {"image": "cell_2", "tag": "final"}
    content = {"label": ("a.png", (guarded.studies / "cell_2.png").read_bytes())}
    assert sent("anna", "PUT", "/datastore/label", params=label, files=content).ok
    where = {"label": "cell_2", "tag": "final"}
    info = json.dumps({"user": "cleo", "note": 1})
    for path, field in (("label/info", "info"), ("updatelabelinfo", "params")):
        assert sent("bert", "PUT", f"/datastore/{path}", params=where, data={field: info}).ok
    found = sent("cleo", "GET", "/datastore/label/info", params=where).json()
    assert (found["user"], found["note"]) == ("anna", 1)
