"""Connections whose clients neither ask nor take their answer are closed.

uvicorn waits without end for the head of a request, and for a client to take its answer: some
hundred silent connections would use up the handles of the process.
"""

from __future__ import annotations

import functools
import socket
from contextlib import suppress
from typing import Any

from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0  # for the head of a request; at most twice that after an earlier one
TAKING_SECONDS = 60  # in which a client takes nothing of its answer
MOST_HANDLES = 1 << 16
_BUSY = object()


def bound_connections() -> None:
    """Watch connections from now on, and allow as many of them as the system does."""
    for protocol in _protocols():
        if not hasattr(protocol.connection_made, "__wrapped__"):
            protocol.connection_made = _watched(protocol.connection_made)
            protocol.send_400_response = _last_word(protocol.send_400_response)
    _raise_handles()


def _protocols() -> list[Any]:
    """Return the classes of which uvicorn takes one."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return [H11Protocol]
    return [H11Protocol, HttpToolsProtocol]


def _watched(connection_made: Any) -> Any:
    @functools.wraps(connection_made)
    def made(connection: Any, transport: Any) -> None:
        connection_made(connection, transport)
        link = transport.get_extra_info("socket")
        if link is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            with suppress(OSError):  # a UNIX socket
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKING_SECONDS * 1000)
        connection.loop.call_later(HEAD_SECONDS, _look, connection, None)

    return made


def _look(connection: Any, before: object) -> None:
    """Close a connection on which no request has begun since the last look.

    Args:
        before: the request that was answered last, at that look; `_BUSY` if one was not yet.
    """
    if connection.transport.is_closing():
        return
    last = connection.cycle
    waits = last is None or last.response_complete
    if waits and last is before:
        connection.transport.close()  # when what is left of an answer has been taken
        return
    connection.loop.call_later(HEAD_SECONDS, _look, connection, last if waits else _BUSY)


def _last_word(send_400_response: Any) -> Any:
    """Let nothing follow the refusal of a body that breaks off: uvicorn would log a traceback."""

    @functools.wraps(send_400_response)
    def send(connection: Any, reason: str) -> None:
        try:
            send_400_response(connection, reason)
        except LocalProtocolError:  # within an answer
            connection.transport.close()
        if connection.cycle is not None:
            connection.cycle.disconnected = True

    return send


def _raise_handles() -> None:
    """Allow the process as many handles as the system lets it have."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_HANDLES if most == resource.RLIM_INFINITY else min(most, MOST_HANDLES)
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
