"""Pages of other sites and other names get nothing; the own page, listed pages and programs do."""

from __future__ import annotations

import asyncio

import pytest
from asgi import OWN, Answer, ask
from starlette.responses import PlainTextResponse

from monailabel_app.addresses import read_origins
from monailabel_app.web.guard import MAX_HEADER_BYTES, MAX_TARGET_BYTES, Guard, own_names

LISTED = "https://viewer.example"
FOREIGN = ("null", "", "http://evil.test", "https://viewer.example.evil.test", "http://localhost")
FOREIGN += ("http://localhost:9000", "http://127.0.0.1:8000", "http://viewer.example", "file://")
FOREIGN += ("https://viewer.example:8443", "chrome-extension://a", "http://localhost:8000/", "*")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MADE-UP")
GUARD = Guard(PlainTextResponse("answered"), own_names() | {"labels.example"}, read_origins(LISTED))


def _get(headers, **arguments) -> Answer:
    return ask(GUARD, headers={**OWN, **headers}, **arguments)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_sites_are_refused_whatever_they_send(method, origin):
    for path in ("/info/", "/train/nuclei", "/reload", "/", "/ohif/", "/openapi.json"):
        answer = _get({"origin": origin}, method=method, path=path)
        assert answer.status == 403 and "--conf origins" in answer.detail
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "made-up", ""])
@pytest.mark.parametrize("method", METHODS)
def test_requests_without_an_origin_are_refused_by_the_site_that_the_browser_names(site, method):
    for mode, kind in (("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe")):
        fetched = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": kind}
        assert _get(fetched, method=method, path="/ohif/").status == 403


def test_links_of_other_sites_lead_to_pages_only():
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    link["sec-fetch-dest"] = "document"
    for path in ("/", "/docs", "/ohif/", "/ohif/viewer"):
        assert _get(link, path=path).status == 200
        assert _get(link, path=path, method="POST").status == 403
        assert _get(link, path=f"/labels{path}", root_path="/labels").status == 200
    for path in ("/datastore/dataset", "/datastore/image", "/logs/", "/info/", "/train/", "/ohifx"):
        assert _get(link, path=path).status == 403


def test_the_own_pages_and_programs_are_answered_without_permission_for_others():
    own = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
    for headers in ({}, own, {"sec-fetch-site": "none"}):
        for method in ("GET", "POST", "DELETE"):
            answer = _get(headers, method=method)
            assert (answer.status, answer.body) == (200, b"answered")
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_like_the_own_does_not_help_where_the_browser_says_otherwise():
    assert _get({"origin": "https://localhost:8000", "sec-fetch-site": "cross-site"}).status == 403
    assert _get({"origin": "http://localhost:8000"}, scheme="https").status == 403
    assert _get({"origin": "https://localhost:8000"}).status == 200  # TLS ends in front


def test_listed_pages_may_do_as_the_own():
    page = {"origin": LISTED, "sec-fetch-site": "cross-site"}
    answer = _get(page, method="PUT")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"
    asked = {**page, "access-control-request-method": "PUT"}
    asked["access-control-request-headers"] = "authorization"
    preflight = _get(asked, method="OPTIONS")
    assert (preflight.status, preflight.body) == (204, b"")
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    assert preflight.headers["access-control-allow-origin"] == LISTED


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 200) for name in ("localhost", "LOCALHOST.:80", "labels.example:8000")),
        *((address, 200) for address in ("127.0.0.1", "[::1]:8000", "192.168.1.7:8000", "0.0.0.0")),
        *((name, 421) for name in ("evil.test", "localhost.evil.test", "evil.localhost", "127.1")),
        *(
            (text, 400)
            for text in ("", "a@localhost", "localhost:x", "localhost, a", "[::1", "a b")
        ),
    ],
)
def test_the_server_answers_to_its_names_and_to_addresses(host, status):
    answer = ask(GUARD, headers={"host": host})
    assert answer.status == status
    if status == 421:
        assert f"--conf hosts {host}" in answer.detail
    anywhere = Guard(PlainTextResponse("answered"), frozenset({"*"}), frozenset())
    assert ask(anywhere, headers={"host": host}).status == (400 if status == 400 else 200)


def test_a_rebound_name_is_no_own_page():
    rebound = {"host": "evil.test:8000", "origin": "http://evil.test:8000"}
    assert ask(GUARD, headers={**rebound, "sec-fetch-site": "same-origin"}).status == 421


def test_requests_that_may_mean_two_things_are_refused():
    assert ask(GUARD).status == 400
    assert ask(GUARD, headers=[("host", "localhost"), ("host", "evil.test")]).status == 400
    assert ask(GUARD, headers=[*OWN.items(), ("origin", LISTED), ("origin", LISTED)]).status == 400
    forwarded = {
        "host": "evil.test",
        "x-forwarded-host": "localhost",
        "forwarded": "host=localhost",
    }
    assert ask(GUARD, headers=forwarded).status == 421
    assert _get({}, path="http://evil.test/info/").status == 400


def test_long_addresses_and_headers_are_refused():
    assert _get({}, query_string=b"a" * MAX_TARGET_BYTES).status == 414
    assert _get({"x": "a" * MAX_HEADER_BYTES}).status == 431


def test_answers_and_refusals_are_not_for_other_pages_to_show_or_run():
    for headers in ({}, {"origin": "null"}):
        found = _get(headers).headers
        assert found["x-content-type-options"] == "nosniff"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert found["x-frame-options"] == "SAMEORIGIN"
        assert found["referrer-policy"] == "same-origin"
        assert "default-src 'none'" in found["content-security-policy"]
    page = _get({}, path="/ohif/viewer").headers["content-security-policy"]
    assert page == "frame-ancestors 'self'"


def test_a_web_socket_is_closed():
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(GUARD({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_body_of_two_lengths_is_refused_and_its_connection_ends():
    both = {"content-length": "5", "transfer-encoding": "chunked"}
    answer = _get(both, method="POST")
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert "send one of them" in answer.detail
