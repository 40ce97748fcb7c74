"""Bodies that are too long, too slow, compressed or in too many parts are refused, with why."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest
from asgi import OWN, Answer, ask
from fastapi import FastAPI, Form, UploadFile

from monailabel_app.web.bodies import (
    MAX_FIELDS,
    MAX_FIELDS_BYTES,
    MAX_FILES,
    BodyLimit,
    bound_forms,
)

MAX_UPLOAD = 3 * MAX_FIELDS_BYTES
PATIENCE = 1.0
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=B"}
_PART = b'--B\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> BodyLimit:
    """Two routes by the names of the app's: one that reads JSON, one that takes a file."""
    from starlette import requests

    monkeypatch.setattr(requests, "MultiPartParser", requests.MultiPartParser)  # undone at the end
    bound_forms()
    app = FastAPI()

    @app.post("/train/{model}")
    def train(model: str, params: dict | None = None) -> int:
        return len(str(params))

    @app.put("/datastore/image")
    def add(file: UploadFile, params: str = Form("")) -> int:  # noqa: B008
        return len(file.file.read())

    return BodyLimit(app, MAX_UPLOAD, patience=PATIENCE)


def _train(web: BodyLimit, headers: dict[str, str], pieces=(b"{}",)) -> Answer:
    return ask(web, "POST", "/train/a", {**OWN, **JSON, **headers}, pieces)


def _add(web: BodyLimit, pieces, **headers: str) -> Answer:
    return ask(web, "PUT", "/datastore/image", {**OWN, **FORM, **headers}, pieces)


def _file(size: int) -> list[bytes]:
    whole = _PART % (b"file", b'; filename="a.png"', b"x" * size) + b"--B--\r\n"
    return [whole[i : i + 65536] for i in range(0, len(whole), 65536)]


def _open_files() -> set[str]:
    gc.collect()
    return {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()}


def test_what_fits_is_read(web):
    assert _train(web, {}, [b'{"a": ', b"1}"]).status == 200
    answer = _add(web, _file(2 * MAX_FIELDS_BYTES))
    assert (answer.status, answer.body) == (200, b"%d" % (2 * MAX_FIELDS_BYTES))


def test_a_promised_length_is_refused_before_a_byte_is_read(web):
    answer = _train(web, {"content-length": str(MAX_FIELDS_BYTES + 1)}, [b"", 3600])
    assert answer.status == 413 and "at most 1 MB" in answer.detail
    assert answer.headers["connection"] == "close"
    answer = _add(web, [b"", 3600], **{"content-length": str(10 * MAX_UPLOAD)})
    assert answer.status == 413 and "30 MB" in answer.detail and "max_upload_gb" in answer.detail
    for length in ("-1", "1e3", "², ", "1 1"):
        assert _train(web, {"content-length": length}).status == 400
    assert _train(web, {"content-length": "9" * 5000}).status == 413


def test_pieces_are_counted_and_nothing_is_left_of_them(web):
    before = _open_files()
    answer = _add(web, _file(2 * MAX_UPLOAD))
    assert answer.status == 413 and "max_upload_gb" in answer.detail
    assert answer.headers["connection"] == "close"
    assert _open_files() <= before
    assert _train(web, {}, [b"x" * 65536] * 40).status == 413


def test_a_client_may_send_what_it_began_and_then_sees_the_answer(web):
    """A connection that is closed with bytes unread is reset, and the answer lost."""
    answer = _train(web, {"content-length": "3000000"}, [b"x" * 65536] * 45)
    assert (answer.status, answer.unread) == (413, 0)
    answer = _train(web, {"content-length": "200000000"}, [b"x" * (1 << 20)] * 190)
    assert answer.status == 413 and 100 < answer.unread < 140  # not without end


def test_forms_without_files_and_routes_without_them_take_little(web):
    pieces = [b"params=", *[b"x" * 65536] * 40]
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    assert _add(web, pieces, **urlencoded).status == 413
    assert _train(web, FORM, _file(2 * MAX_FIELDS_BYTES)).status == 413
    assert ask(web, "PUT", "/nowhere", {**OWN, **FORM}, _file(2 * MAX_FIELDS_BYTES)).status in (
        404,
        413,
    )


def test_fields_of_a_form_are_bounded_in_size_and_number(web):
    long = [_PART % (b"f%d" % i, b"", b"x" * 65536) for i in range(20)]
    answer = _add(web, [*long, *_file(10)])
    assert answer.status == 400 and "1 MB together" in answer.detail
    many = [_PART % (b"f", b"", b"x")] * (MAX_FIELDS + 1)
    answer = _add(web, [*many, *_file(10)])
    assert answer.status == 400 and f"more than {MAX_FIELDS} fields" in answer.detail
    many = [_PART % (b"file", b'; filename="a.png"', b"x")] * (MAX_FILES + 1)
    answer = _add(web, [*many, *_file(10)])
    assert answer.status == 400 and f"more than {MAX_FILES} files" in answer.detail


def test_slow_bodies_are_given_up(web):
    answer = _train(web, {}, [b"{", 3600, b"}"])
    assert answer.status == 408 and "too slowly: 1 bytes" in answer.detail
    trickle = [piece for _ in range(40) for piece in (b" ", 0.05)]
    assert _train(web, {}, [*trickle, b"{}"]).status == 408
    assert _train(web, {}, [b"{", 0.1 * PATIENCE, b"}"]).status == 200


def test_compressed_bodies_are_refused(web):
    for encoding in ("gzip", "deflate", "br", "identity, gzip"):
        answer = _train(web, {"content-encoding": encoding})
        assert answer.status == 415 and encoding in answer.detail
    assert _train(web, {"content-encoding": "identity"}).status == 200


def test_an_answer_that_waits_for_the_client_to_go_is_not_hurried():
    async def app(scope, receive, send):
        assert not (await receive())["more_body"]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receive(), 0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    assert ask(BodyLimit(app, MAX_UPLOAD, patience=0.1), "POST", headers=OWN).status == 200
