"""The table of routes and roles against the routes of the running application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from monailabel.config import settings
from pydantic import AnyHttpUrl

from monailabel_app.archive.proxy import proxy_router
from monailabel_app.config import AppConfig
from monailabel_app.web import access, routes
from monailabel_app.web.access import ROWS, Access, Body, find_row, methods_at, without_row
from monailabel_app.web.middleware import install_middleware
from monailabel_app.web.users import Users
from monailabel_app.web.users_file import UsersFile


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FastAPI]:
    """MONAI Label's web application with this app's routes, put back after the test."""
    from monailabel.app import app as web

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", False)
    monkeypatch.setattr(web, "dependency_overrides", {})
    monkeypatch.setattr(web, "openapi_schema", None)
    monkeypatch.setattr(web, "user_middleware", list(web.user_middleware))
    before = list(web.router.routes)
    app = MagicMock(config=AppConfig())
    app.datastore().router.return_value = proxy_router(MagicMock(), lambda: None)
    file = tmp_path / "users.json"
    Users.empty().write(file)
    routes.install(app, UsersFile(file))
    yield web
    web.router.routes[:] = before
    web.middleware_stack = None


def test_each_route_of_the_running_app_has_a_row_and_each_row_a_route(web):
    assert without_row(web.routes) == []
    served = set(access.routes_of(web.routes))
    assert {(row.method, row.path) for row in ROWS} - served == set()
    assert max(Counter((row.method, row.path) for row in ROWS).values()) == 1


def test_each_documented_operation_has_the_row_of_its_path(web):
    documented = [
        (method.upper(), path)
        for path, operations in web.openapi()["paths"].items()
        for method in operations
    ]
    assert len(documented) > 30
    for method, path in documented:
        row = find_row(method, path.replace("{", "").replace("}", ""))
        assert row is not None
        assert (row.method, row.path.replace(":path", "")) == (method, path)


def test_a_new_route_without_a_row_is_noticed():
    web = FastAPI(openapi_url=None)
    router = APIRouter()
    router.add_api_route("/new/{id}", lambda id: id, methods=["DELETE"])
    web.include_router(router)
    assert without_row(web.routes) == [("DELETE", "/new/{id}")]


def test_what_takes_a_body_says_which_kind(web):
    takes_file = set()
    for path, operations in web.openapi()["paths"].items():
        for method, operation in operations.items():
            content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
            row = find_row(method.upper(), path)
            assert row is not None
            assert bool(content) <= (row.body is not Body.NONE), row
            if "multipart/form-data" in content:
                takes_file.add(row.body)
    assert takes_file == {Body.UPLOAD}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", Access.OPEN),
        ("HEAD", "/static/css/style.css", Access.OPEN),
        ("GET", "/info", Access.USER),  # redirected to /info/
        ("PUT", "/datastore/image/", Access.ANNOTATOR),
        ("GET", "/proxy/dicom/wado/studies/1.2/series", Access.USER),
        ("POST", "/proxy/dicom/studies", Access.ANNOTATOR),
        ("PUT", "/model/nuclei", Access.ADMIN),
        ("POST", "/reload", Access.ADMIN),
        ("GET", "/model/info/nuclei", Access.ADMIN),
    ],
)
def test_a_request_finds_its_row(method, path, expected):
    row = find_row(method, path)
    assert row is not None and row.access is expected


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("GET", "//info/"), ("PATCH", "/model/nuclei"), ("GET", "/model/a/b/c")],
)
def test_a_request_for_no_route_finds_none(method, path):
    assert find_row(method, path) is None


def test_pages_that_monai_labels_own_setting_lists_are_admitted(web, monkeypatch):
    monkeypatch.setattr(settings, "MONAI_LABEL_CORS_ORIGINS", [AnyHttpUrl("https://a.example")])
    install_middleware(web, AppConfig(), None, MagicMock())
    client = TestClient(web, base_url="http://localhost")
    answer = client.get("/openapi.json", headers={"Origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert client.get("/openapi.json", headers={"Origin": "https://b.example"}).status_code == 403


def test_the_methods_of_a_path_are_told():
    assert methods_at("/model/nuclei") == ("DELETE", "GET", "PUT")
    assert methods_at("/nothing") == ()


def test_a_route_without_a_row_is_not_served_and_its_method_is_told(web):
    web.add_api_route("/new", lambda: "here", methods=["GET"])
    client = TestClient(web, base_url="http://localhost")
    assert client.get("/new").status_code == 404
    wrong = client.delete("/info/")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET"
    assert client.get("/info/").status_code == 401
    assert client.get("/openapi.json").status_code == 200
