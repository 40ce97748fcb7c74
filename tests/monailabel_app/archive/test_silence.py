"""Time limits of requests to an archive, and the circuit that opens after one waited in vain."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import requests

from monailabel_app.archive import circuit, sessions
from monailabel_app.archive.circuit import Circuit, SilentArchiveError

LIMIT = 0.5
AT_MOST = 8 * LIMIT  # with a busy machine; what drips or sleeps here goes on for longer
_STATUS = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def archive() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """A function that serves one connection by a function, and returns its address."""
    listeners = []

    def serve(answer: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    answer(connection)
                except OSError:
                    pass

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield serve
    for listener in listeners:
        listener.close()


def _drip(connection: socket.socket, head: bytes) -> None:
    connection.recv(65536)
    connection.sendall(head)
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


def _seconds_until_silent(url: str, **options) -> float:
    begin = time.monotonic()
    with pytest.raises(requests.RequestException) as failed:
        sessions.new_session(None, LIMIT).get(url, **options).content  # noqa: B018
    assert circuit.is_silence(failed.value)
    return time.monotonic() - begin


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_byte_at_a_time_ends_in_time(archive, head, stream):
    url = archive(lambda connection: _drip(connection, head))
    assert _seconds_until_silent(url, stream=stream) < AT_MOST


def test_silence_in_the_middle_of_a_body_ends_in_time(archive):
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhalf")
        time.sleep(10 * LIMIT)

    assert _seconds_until_silent(archive(answer)) < AT_MOST


def test_an_answer_that_begins_late_or_is_read_late_is_no_silence(archive):
    body = b"y" * 300_000

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        time.sleep(0.1 * limit)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body)

    limit = 6 * LIMIT  # beginning late must not become too late on a busy machine
    reply = sessions.new_session(None, limit).get(archive(answer), stream=True)
    blocks = []
    for block in reply.iter_content(100_000):
        time.sleep(0 if blocks else 1.2 * limit)  # a viewer with a slow line
        blocks.append(block)
    assert b"".join(blocks) == body


def test_a_large_object_may_take_longer_than_a_connection(archive, monkeypatch):
    monkeypatch.setattr(sessions, "CONNECT_SECONDS", LIMIT)
    body = b"z" * 8_000_000

    def answer(connection: socket.socket) -> None:
        left = len(body)
        while left > 0:
            left -= len(connection.recv(400_000))
            time.sleep(0.1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    assert sessions.new_session(None, LIMIT).post(archive(answer), data=body).text == "ok"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still; `now` sets it."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(circuit, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_after_a_wait_in_vain_one_request_tries_and_the_others_fail_at_once(clock):
    gate = Circuit("http://archive", trial_seconds=60)
    with pytest.raises(requests.ReadTimeout), gate.request():
        raise requests.ReadTimeout
    assert not gate.closed
    with pytest.raises(SilentArchiveError, match="http://archive does not answer"):
        gate.request().__enter__()
    clock.now += circuit.PAUSE_SECONDS
    with gate.request():
        with pytest.raises(SilentArchiveError):  # while another tries
            gate.request().__enter__()
    assert gate.closed
    with gate.request(), gate.request():
        pass


def test_an_archive_that_refuses_is_not_silent():
    gate = Circuit("http://archive", trial_seconds=60)
    with pytest.raises(requests.ConnectionError), gate.request():
        raise requests.ConnectionError("refused")
    assert gate.closed


def test_a_trial_that_takes_long_keeps_nobody_out(clock):
    gate = Circuit("http://archive", trial_seconds=3)
    with pytest.raises(requests.ReadTimeout), gate.request():
        raise requests.ReadTimeout
    clock.now += circuit.PAUSE_SECONDS
    with gate.request():  # a series of thousands of slices
        with pytest.raises(SilentArchiveError):
            gate.request().__enter__()
        clock.now += 3
        with gate.request():
            pass
        with gate.request():
            pass
