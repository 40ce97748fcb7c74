"""Files and texts of the viewer, compressed once and kept, for browsers that take them so.

OHIF is 20 MB of scripts, of which a fifth is sent so. A file is compressed in the background when
it is first asked for, so nobody waits for it: that request is answered with the file as it is.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fastapi.responses import FileResponse, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

SUFFIXES = (".js", ".css", ".html", ".json", ".svg", ".wasm")
_LEAST_BYTES = 1024
_LEVEL = 6  # a quarter of a second for OHIF's largest script; more takes long and gains little
_packed: dict[str, Future[bytes]] = {}
_packer = ThreadPoolExecutor(1, thread_name_prefix="compress")


def packed(key: str, read: Callable[[], bytes]) -> bytes | None:
    """Return content in gzip; None if it is not compressed yet, which is begun then.

    Args:
        key: names the content; the same key is the same content.
        read: returns the content.
    """
    found = _packed.get(key)
    if found is None:
        _packed[key] = _packer.submit(lambda: gzip.compress(read(), _LEVEL, mtime=0))
        return None
    return found.result() if found.done() else None


class PackedText(Response):
    """A text that browsers ask for again: they are told where they have it already."""

    def __init__(self, text: str, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(text, media_type=media_type, headers=headers)
        digest = hashlib.sha256(self.body).hexdigest()[:32]
        self.headers["ETag"] = f'"{digest}"'
        self.headers["Vary"] = "Accept-Encoding"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the text, in gzip if it can be, or that the browser has it."""
        asked, etag = Headers(scope=scope), self.headers["ETag"]
        reply: Response | None
        if asked.get("if-none-match", "").removeprefix("W/") == etag:
            kept = {name: self.headers[name] for name in ("ETag", "Vary", "Cache-Control")}
            reply = Response(status_code=304, headers=kept)
        else:
            reply = _in_gzip(self, etag, lambda: bytes(self.body), asked)
        await (reply(scope, receive, send) if reply else super().__call__(scope, receive, send))


class PackedFile(FileResponse):
    """A file, in gzip where it gains from that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, in gzip if it can be."""
        asked, file = Headers(scope=scope), Path(self.path)
        self.headers["Vary"] = "Accept-Encoding"
        whole = "range" not in asked and file.suffix in SUFFIXES
        gains = whole and file.stat().st_size >= _LEAST_BYTES
        reply = _in_gzip(self, str(file), file.read_bytes, asked) if gains else None
        await (reply(scope, receive, send) if reply else super().__call__(scope, receive, send))


def _in_gzip(
    response: Response, key: str, read: Callable[[], bytes], asked: Headers
) -> Response | None:
    """Return what a response holds in gzip, where that is taken and ready; see `packed`."""
    if "gzip" not in asked.get("accept-encoding", ""):
        return None
    content = packed(key, read)
    if content is None:
        return None
    left_out = ("content-length", "last-modified", "accept-ranges")
    headers = {name: text for name, text in response.headers.items() if name not in left_out}
    headers["content-encoding"] = "gzip"
    if "etag" in headers:
        headers["etag"] = f"W/{headers['etag']}"  # the same text, other bytes
    return Response(content, headers=headers)
