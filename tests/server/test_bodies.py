"""Bodies that are too long or too slow, sent to a real server: refused, and nobody else waits."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from server_support import MODEL, Server, assert_refused, files_below

from monailabel_app.web.users import Users

BLOCK = b"x" * 100_000


@pytest.fixture(scope="module")
def small(launch, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server with users that takes uploads of 2 MB; its headers are those of its admin."""

    def prepare(server: Server) -> None:
        users = Users.empty()
        users.set("anna", "admin", "correct horse")
        server.headers = {"Authorization": f"Bearer {users.new_token('anna')}"}
        users.write(server.folder / "users.json")
        server.conf |= {"users": str(server.folder / "users.json"), "max_upload_gb": "0.002"}

    return launch(prepare)


def _blocks(count: int, first: bytes = b"") -> Iterator[bytes]:
    yield first
    for _ in range(count):
        yield BLOCK


def test_long_bodies_are_refused_with_the_reason_and_leave_nothing(small: Server) -> None:
    json = {**small.headers, "Content-Type": "application/json"}
    for body in (BLOCK * 50, _blocks(50)):
        answer = small.post(f"/train/{MODEL}", data=body, headers=json)
        assert_refused(answer, 413, "at most 1 MB")
    upload = "/datastore/image?image=a"
    answer = small.put(upload, files={"file": ("a.png", BLOCK * 50)})
    assert_refused(answer, 413, "max_upload_gb")
    first = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    form = {**small.headers, "Content-Type": "multipart/form-data; boundary=B"}
    assert_refused(small.put(upload, data=_blocks(50, first), headers=form), 413, "max_upload_gb")
    left = {file.name for file in files_below(small.temporary) if file.suffix == ".png"}
    assert left <= {"rehearsal.png"} and small.get("/info/").ok  # what readers warm up with
    assert "Traceback" not in small.log


def test_a_body_without_a_login_is_not_read(small: Server) -> None:
    for path in ("/datastore/image?image=a", f"/model/{MODEL}"):
        with socket.create_connection(("127.0.0.1", small.port), timeout=60) as connection:
            head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode())  # and nothing of the body
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_many_slow_bodies_do_not_hold_up_others(small: Server) -> None:
    login = f"Authorization: {small.headers['Authorization']}"
    head = (
        f"POST /train/{MODEL} HTTP/1.1\r\nHost: localhost\r\n{login}\r\nContent-Length: 9\r\n\r\n{{"
    )
    slow = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(head.encode())
        started = time.monotonic()
        assert small.get("/info/").ok
        assert time.monotonic() - started < 10
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test:8000"])
def test_a_foreign_name_is_refused(server: Server, host: str) -> None:
    answer = server.get("/info/", headers={"Host": host})
    assert_refused(answer, 421, host.partition(":")[0], "--conf hosts")
    assert server.get("/info/", headers={"Host": f"localhost:{server.port}"}).ok


def test_a_page_of_another_site_is_refused(server: Server) -> None:
    for origin in ("null", "http://evil.test", f"http://localhost:{server.port}"):
        for answer in (
            server.get("/info/", headers={"Origin": origin}),
            server.post("/reload", headers={"Origin": origin}),
            server.request("OPTIONS", "/train/", headers={"Origin": origin}),
        ):
            assert_refused(answer, 403, origin)
            assert "Access-Control-Allow-Origin" not in answer.headers
    assert server.get("/info/", headers={"Origin": server.url}).ok


def test_behind_a_web_server_that_does_tls(server: Server) -> None:
    """The headers that docs/dicom.md has nginx pass on."""
    host = f"localhost:{server.port}"
    passed = {"Host": host, "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    answer = server.get("/ohif", headers=passed, allow_redirects=False)
    assert answer.headers["Location"].startswith(f"https://{host}/")
    own, plain = ({**passed, "Origin": f"{scheme}://{host}"} for scheme in ("https", "http"))
    assert server.get("/info/", headers=own).ok
    assert_refused(server.get("/info/", headers=plain), 403, f"http://{host}")
