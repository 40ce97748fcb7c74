"""Pages and all that they load come from this server."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib.errors import NotFoundError
from monailabel_app.viewers.ohif import serve
from monailabel_app.viewers.pages import asset, pages_router

BASE = "http://localhost/labels/"


@pytest.fixture
def client() -> TestClient:
    app = FastAPI(docs_url=None)
    app.include_router(pages_router())
    return TestClient(app, base_url="http://localhost")


def _loaded(text: str, address: str) -> set[str]:
    found = re.findall(r"""(?:src|href)="([^"]+)"|url\(["']?([^"')]+)""", text)
    return {urljoin(address, one or other) for one, other in found}


@pytest.mark.parametrize("page", ["", "docs", "reading"])
def test_a_page_loads_nothing_from_elsewhere_and_all_that_it_loads_is_there(client, page):
    left, seen = [f"{BASE}{page}"], set()
    while left:
        address = left.pop()
        if address in seen or address == f"{BASE}ohif/":
            continue
        seen.add(address)
        assert address.startswith(BASE)
        name = address.removeprefix(BASE)
        if name in ("favicon.ico", "openapi.json"):  # of MONAI Label
            continue
        answer = client.get(f"/{name}")
        assert answer.status_code == 200, name
        if answer.headers["content-type"].startswith(("text/html", "text/css")):
            left += [one for one in _loaded(answer.text, address) if not one.startswith("data:")]
    assert len(seen) > 3
    assert client.get("/static/pages/gone.css").status_code == 404
    assert client.head("/static/pages/start.css").status_code == 200


def test_the_page_of_the_interface_names_the_description(client):
    assert "url: 'openapi.json'" in client.get("/docs").text


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("fonts", "../pages.py"),
        ("fonts", "LICENSE-Inter.txt"),
        ("", "pages.py"),
        ("pages", "a.css"),
    ],
)
def test_other_files_are_not_found(folder, name):
    with pytest.raises(NotFoundError, match="load no file"):
        asset(folder, name)


def test_no_page_or_style_of_ohif_names_another_site_for_its_font():
    for name in ("", "app.bundle.css"):
        text = serve(name).body.decode()
        assert "fonts.g" not in text
    assert "/static/fonts/inter.css" in serve("").body.decode()
