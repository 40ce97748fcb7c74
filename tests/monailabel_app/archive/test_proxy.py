"""Which addresses of an archive the proxy asks, and that odd ones are refused at once."""

from __future__ import annotations

import http.server
import threading
import time
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests
from asgi import OWN, ask
from fastapi import FastAPI
from fastapi.testclient import TestClient

from monailabel_app.archive.circuit import Circuit
from monailabel_app.archive.proxy import proxy_router


@pytest.fixture
def asked() -> Iterator[tuple[TestClient, list[str]]]:
    """A proxy, and the paths that its archive was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            left = size = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 1 << 20)))
            self.path += f" {size}"
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    archive = SimpleNamespace(
        url=f"http://127.0.0.1:{server.server_port}/dicom-web",
        new_session=requests.Session,
        circuit=Circuit("archive", trial_seconds=60),
    )
    web = FastAPI()
    web.include_router(proxy_router(archive, lambda: None))
    with TestClient(web) as client:
        yield client, paths
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "path",
    [
        "studies",
        "studies/",
        "qido/studies/1.2.3/series",
        "wado/studies/1.2/series/1.3/instances/1.4/frames/1,2/rendered",
        "qido/series",
        "wado/instances",
        "studies/1.2/metadata",
        "bulkdata/a_b-c=1.bin",
    ],
)
def test_objects_of_patients_are_asked_for(asked, path):
    client, paths = asked
    assert client.get(f"/proxy/dicom/{path}").status_code == 200
    assert paths == [f"/dicom-web/{path.removeprefix('qido/').removeprefix('wado/')}"]


@pytest.mark.parametrize(
    "path",
    ["servers", "servers/other", "info", "", "wado/", "app/x", "studies//1", "studies/.x", "a.b"]
    + ["studies/1/%2e%2e/servers", "studies;x", "STUDIES", "studiesx"],
)
def test_what_else_an_archive_has_is_not(asked, path):
    client, paths = asked
    assert client.get(f"/proxy/dicom/{path}").status_code == 404
    assert not paths


def test_an_address_that_nearly_fits_is_refused_at_once(asked):
    client, _ = asked
    begin = time.monotonic()
    for path in (f"studies/{'a' * 28}!", f"studies{'/a' * 5000}!", f"studies/{'a/' * 5000}/"):
        assert client.get(f"/proxy/dicom/{path}").status_code == 404
    assert time.monotonic() - begin < 10


def test_what_a_viewer_stores_is_passed_on_whole_and_not_kept_in_memory(asked):
    client, paths = asked
    size, block = 64 << 20, bytes(1 << 20)
    tracemalloc.start()
    try:
        answer = ask(client.app, "POST", "/proxy/dicom/stow/studies", OWN, [block] * 64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.status, paths) == (200, [f"/dicom-web/studies {size}"])
    assert peak < size / 2


def test_fields_reach_the_archive_with_commas_between_them(asked):
    client, paths = asked
    client.get("/proxy/dicom/qido/studies?PatientName=a%2Cb&includefield=00081030%2C00080060")
    assert paths == ["/dicom-web/studies?PatientName=a%2Cb&includefield=00081030,00080060"]
