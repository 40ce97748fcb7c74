"""Connections that ask nothing end; good ones, slow answers and broken bodies leave no trace."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lib.processes import free_port
from monailabel_app.web import connections

HEAD_SECONDS = 0.4
PATIENCE = 30  # with a busy machine; idle connections are kept for longer
LONG = b"x" * (32 << 20)  # more than the system takes for a client that does not read
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def _application(scope, receive, send) -> None:
    """Answer at once, after a while or at length, as the path says; the body is not read."""
    if scope["path"] == "/slow":
        await asyncio.sleep(4 * HEAD_SECONDS)
    body = LONG if scope["path"] == "/long" else b"answered"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose connections are watched."""
    for name in ("connection_made", "send_400_response"):
        monkeypatch.setattr(H11Protocol, name, getattr(H11Protocol, name))  # undone at the end
    monkeypatch.setattr(connections, "HEAD_SECONDS", HEAD_SECONDS)
    connections.bound_connections()
    number = free_port()
    settings = {"http": "h11", "log_config": None, "lifespan": "off", "timeout_keep_alive": 60}
    server = uvicorn.Server(uvicorn.Config(_application, port=number, **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    yield number
    server.should_exit = server.force_exit = True
    thread.join()


def _connect(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(sent)
    return connection


def _all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG"],
)
def test_who_sends_no_whole_head_is_cut_off(port, sent):
    begin = time.monotonic()
    with _connect(port, sent) as connection:
        received = _all(connection)
    assert received.endswith(b"answered") or not received
    assert HEAD_SECONDS * 0.9 < time.monotonic() - begin < PATIENCE


def test_who_waits_for_an_answer_or_takes_it_slowly_is_not(port):
    with _connect(port, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        assert _all(connection).endswith(b"answered")
    with _connect(port, b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        time.sleep(5 * HEAD_SECONDS)
        assert _all(connection).count(b"x") == len(LONG)


def test_a_body_that_breaks_off_is_refused_once_and_logs_no_traceback(port, caplog):
    body = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n"
    with caplog.at_level(logging.INFO), _connect(port, body) as connection:
        assert _all(connection).startswith(b"HTTP/1.1 400")
        time.sleep(0.1)
    assert not [record for record in caplog.records if record.exc_info]


def test_silent_clients_use_up_as_many_handles_as_the_system_allows(port):
    resource = pytest.importorskip("resource")
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert now in (most, connections.MOST_HANDLES) or now > connections.MOST_HANDLES
