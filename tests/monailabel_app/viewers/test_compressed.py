"""Files of the viewer in gzip, and texts that a browser has already."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from monailabel_app.viewers import compressed, ohif
from monailabel_app.viewers.ohif_patches import EARLY

SCRIPT = "1266.bundle.336f6cdc0a45bd0e2c68.js"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(compressed, "_packed", {})
    app = FastAPI()
    app.add_api_route("/ohif/{path:path}", ohif.serve)
    return TestClient(app, base_url="http://localhost")


def _wait() -> None:
    for waiting in compressed._packed.values():
        waiting.result(60)


@pytest.mark.parametrize("path", [SCRIPT, "app-config.js", ""])
def test_nobody_waits_for_the_compression_and_who_comes_later_gets_it(client, path):
    first = client.get(f"/ohif/{path}")
    assert "content-encoding" not in first.headers
    _wait()
    later = client.get(f"/ohif/{path}")
    assert later.headers["content-encoding"] == "gzip"
    assert int(later.headers["content-length"]) < len(first.content) / 2
    assert later.content == first.content and later.headers["vary"] == "Accept-Encoding"
    for name in ("content-type", "cache-control"):
        assert later.headers[name] == first.headers[name]


def test_who_takes_no_gzip_or_asks_for_a_part_gets_the_file_as_it_is(client):
    client.get(f"/ohif/{SCRIPT}")
    _wait()
    plain = client.get(f"/ohif/{SCRIPT}", headers={"Accept-Encoding": "br"})
    assert "content-encoding" not in plain.headers
    part = client.get(f"/ohif/{SCRIPT}", headers={"Range": "bytes=0-9"})
    assert part.status_code == 206 and part.content == plain.content[:10]


@pytest.mark.parametrize("path", ["app-config.js", ""])
def test_what_a_browser_has_is_not_sent_again(client, path):
    etags = {client.get(f"/ohif/{path}").headers["etag"]}
    _wait()
    etags.add(client.get(f"/ohif/{path}").headers["etag"])
    assert len(etags) == 2, "of the text, and of the text in gzip"
    for etag in etags:
        again = client.get(f"/ohif/{path}", headers={"If-None-Match": etag})
        assert again.status_code == 304 and not again.content
    assert client.get(f"/ohif/{path}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_page_asks_early_for_scripts_that_there_are():
    page = ohif.serve("").body.decode()
    for name in EARLY:
        assert (ohif.root() / name).is_file() and f"'{name}'" in page
    deferred = re.search(r'src="/ohif/(app\.bundle\.[0-9a-f]+\.js)"', page)
    assert deferred and deferred[1] == EARLY[0]
