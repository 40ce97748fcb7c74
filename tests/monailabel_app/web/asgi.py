"""A request to ASGI middleware, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.types import ASGIApp

OWN = {"host": "localhost:8000"}


class Answer(NamedTuple):
    """What came back; ``headers`` has names in lower case, `unread` counts pieces of the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    unread: int = 0

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])


def ask(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/info/",
    headers: Iterable[tuple[str, str]] | dict[str, str] = (),
    pieces: Iterable[Any] = (b"",),
    **scope: Any,
) -> Answer:
    """Send a request.

    Args:
        pieces: of the body; a number is a pause of so many seconds.
    """
    pairs = headers.items() if isinstance(headers, dict) else headers
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
    request = {"type": "http", "method": method, "path": path, "scheme": "http"}
    request |= {"query_string": b"", "headers": encoded, **scope}
    left, sent = list(pieces), []

    async def receive() -> dict[str, Any]:
        while left and not isinstance(left[0], bytes):
            await asyncio.sleep(left.pop(0))
        if not left:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(request, receive, send))
    start, bodies = sent[0], sent[1:]
    assert not bodies[-1].get("more_body") and all(part.get("more_body") for part in bodies[:-1])
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    body = b"".join(part.get("body", b"") for part in bodies)
    return Answer(start["status"], found, body, len(left))
