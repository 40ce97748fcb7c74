"""What a request may send: how much, how slowly and in how many parts, before it is read.

MONAI Label (0.8.5) takes whatever comes: a login of 10 GB is kept in memory until it ends.
"""

from __future__ import annotations

import asyncio
import time

from starlette import requests
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.web.access import Body, find_row, path_of

MAX_FIELDS_BYTES = 1 << 20  # of JSON, and of all fields of a form together, without files
MAX_FIELDS = 100
MAX_FILES = 100  # each takes a handle of the process
GIB = 1 << 30
PATIENCE_SECONDS = 30.0
LEAST_BYTES_PER_SECOND = 1024
# what is read of a refused body, so that the client has sent enough to look for the answer
_DRAIN_BYTES, _DRAIN_SECONDS = 64 << 20, 3.0


def _size(count: int) -> str:
    return f"{count / GIB:.3g} GB" if count >= GIB else f"{count / 2**20:.3g} MB"


class Form(MultiPartParser):
    """Starlette's reader of forms with files, which keeps 1000 fields of 1 MB each in memory."""

    spool_max_size = 64 << 10  # of a file, kept in memory
    _fields_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a part."""
        if self._current_part.file is None:
            self._fields_bytes += end - start
            if self._fields_bytes > MAX_FIELDS_BYTES:
                raise MultiPartException(
                    f"the fields of the form have more than {_size(MAX_FIELDS_BYTES)} together; "
                    f"send files as files"
                )
        super().on_part_data(data, start, end)

    def on_headers_finished(self) -> None:
        """Begin a part."""
        super().on_headers_finished()
        if self._current_fields > MAX_FIELDS:
            raise MultiPartException(f"the form has more than {MAX_FIELDS} fields; send fewer")
        if self._current_files > MAX_FILES:
            raise MultiPartException(f"the form has more than {MAX_FILES} files; send fewer")


def bound_forms() -> None:
    """Have forms read by `Form`."""
    vars(requests)["MultiPartParser"] = Form


class BodyLimit:
    """ASGI middleware that refuses bodies that are too long, too slow or compressed.

    Args:
        app: what answers the others.
        max_upload: bytes of a request with files, where the route takes any.
        patience: seconds without a byte, and on top of a slow body's time.
    """

    def __init__(self, app: ASGIApp, max_upload: int, patience: float = PATIENCE_SECONDS) -> None:
        self.app, self.max_upload, self.patience = app, max_upload, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._limit(scope), self.patience)
        try:
            exchange.check(Headers(scope=scope))
        except HTTPException as error:
            answer = JSONResponse({"detail": error.detail}, error.status_code)
            await answer(scope, exchange.receive, exchange.send)
            return
        await self.app(scope, exchange.receive, exchange.send)

    def _limit(self, scope: Scope) -> int:
        kind = Headers(scope=scope).get("content-type", "").strip().lower()
        row = find_row(scope["method"], path_of(scope))
        takes_files = row is not None and row.body is Body.UPLOAD
        return (
            self.max_upload if takes_files and kind.startswith("multipart/") else MAX_FIELDS_BYTES
        )


class _Exchange:
    """One request and its answer, whose body is counted and timed."""

    def __init__(self, receive: Receive, send: Send, limit: int, patience: float) -> None:
        self._receive, self._send = receive, send
        self._limit, self._patience = limit, patience
        self._started = time.monotonic()
        self._bytes = 0
        self._ended = self._refused = False

    def check(self, headers: Headers) -> None:
        """Check what the headers say of the body.

        Raises:
            HTTPException: it is refused.
        """
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            raise self._refusal(
                415, f"Content-Encoding '{encoding[:40]}' is not read; send it plain"
            )
        length = headers.get("content-length", "0").strip()
        if not (length.isascii() and length.isdecimal()):
            raise self._refusal(400, f"Content-Length '{length[:40]}' is no number of bytes")
        size = int(length[:19])  # of more digits than any machine has bytes
        if size > self._limit:
            raise self._refusal(413, self._too_long(_size(size)))

    async def receive(self) -> Message:
        """Return the next piece of the body.

        Raises:
            HTTPException: it is refused.
        """
        if self._ended:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._seconds_left())
        except asyncio.TimeoutError:
            raise self._refusal(
                408, f"the body comes too slowly: {self._bytes} bytes so far; send it again"
            ) from None
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._bytes > self._limit:
            raise self._refusal(413, self._too_long(f"more than {_size(self._limit)}"))
        return message

    async def send(self, message: Message) -> None:
        """Pass on the answer; the rest of a refused body is thrown away before it ends."""
        if self._refused and message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        elif self._refused and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _seconds_left(self) -> float:
        allowed = self._patience + self._bytes / LEAST_BYTES_PER_SECOND
        return max(0.0, min(self._patience, self._started + allowed - time.monotonic()))

    def _refusal(self, status: int, reason: str) -> HTTPException:
        self._refused = True
        return HTTPException(status, reason)

    def _too_long(self, size: str) -> str:
        hint = (
            "send less"
            if self._limit == MAX_FIELDS_BYTES
            else "start the server with --conf max_upload_gb and a larger number to take more"
        )
        return f"the request has {size}, at most {_size(self._limit)} are read here; {hint}"

    async def _drain(self) -> None:
        deadline, most = time.monotonic() + _DRAIN_SECONDS, self._bytes + _DRAIN_BYTES
        while not self._ended and self._bytes < most and (left := deadline - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except asyncio.TimeoutError:
                return
            self._bytes += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
