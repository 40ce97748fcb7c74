"""Which pages and names of hosts may use the server: asked before anything else of a request.

A browser sends requests of any page that its user visits to any server that it reaches, this one
included, and tells the server who asks by `Origin` and `Sec-Fetch-Site`. MONAI Label (0.8.5) admits
every origin, with the user's password. Programs such as 3D Slicer and curl send neither header.

* A name that is not the server's own may belong to a page that has turned it to this server's
  address (DNS rebinding), and is refused.
* Pages of other origins are refused, unless `--conf origins` lists theirs. What they may do is
  lead a browser to the pages meant for people.
* Each answer tells the browser not to show or run it on pages of others.
"""

from __future__ import annotations

import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.errors import InputError
from monailabel_app.addresses import ANY, LOCALHOST, Host, Origin, read_host, read_origin
from monailabel_app.web.access import path_of

MAX_HEADER_BYTES = 32 * 1024
MAX_TARGET_BYTES = 16 * 1024
_SAFE = ("GET", "HEAD")
_OWN = ("same-origin", "none")  # "none": typed, a bookmark, or a link from outside the browser
# what a link of another site may open: pages for people, which answer no question of a program
_PAGES = ("/", "/docs", "/ohif", "/reading")
_FOLDERS_OF_PAGES = ("/ohif/", "/static/")
_WITH_SCRIPTS = ("/logs/",)  # MONAI Label's page of the log
_FRAMES = "frame-ancestors 'self'"
_NO_SCRIPTS = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; "
    f"object-src 'self'; {_FRAMES}"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}
_METHODS = "DELETE, GET, HEAD, POST, PUT"
_READABLE = "Content-Disposition, Retry-After"


def own_names() -> frozenset[str]:
    """Return the names by which this machine knows itself."""
    return frozenset({LOCALHOST, _plain(socket.gethostname()), _plain(socket.getfqdn())})


def _plain(name: str) -> str:
    try:
        return read_host(name).name
    except InputError:
        return LOCALHOST


class Guard:
    """ASGI middleware that refuses requests of other sites' pages and to other names.

    Args:
        app: what answers the others.
        hosts: names by which the server may be asked; `ANY` admits all.
        origins: other sites whose pages may use the server as its own may.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], origins: frozenset[Origin]) -> None:
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":  # nothing here has one
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        page, answer = "", None
        try:
            page = self._check(scope)
            if page and _is_preflight(scope):
                answer = Response(status_code=204, headers=_permission(scope))
        except HTTPException as error:
            answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), path_of(scope), page, self.origins)
            await send(message)

        await (answer or self.app)(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> str:
        """Return the origin that asks if it is one of `origins`, and else an empty text.

        Raises:
            HTTPException: the request is refused.
        """
        _check_size(scope)
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # a web server in front may believe the one, and this one the other: what it takes for a
            # body would be the next request
            raise HTTPException(
                400,
                "the request has Content-Length and Transfer-Encoding; send one of them",
                {"Connection": "close"},
            )
        host = self._host(scope, headers)
        if len(sent := headers.getlist("origin")) > 1:
            raise HTTPException(400, "the request has several Origin headers; send one or none")
        site = headers.get("sec-fetch-site", "none")
        if sent:
            try:
                origin = read_origin(sent[0])
            except InputError:
                origin = None  # "null", or the page of an extension
            if origin in self.origins:
                return sent[0]
            if origin is None or not origin.is_at(host, scope.get("scheme", "http")):
                raise HTTPException(403, _foreign(sent[0], headers["host"]))
        if site not in _OWN and not _opens_a_page(scope, headers):
            raise HTTPException(403, _foreign("another site", headers["host"]))
        return ""

    def _host(self, scope: Scope, headers: Headers) -> Host:
        """Return the host that is asked for; see `_check`."""
        if not path_of(scope).startswith("/") and path_of(scope) != "*":
            raise HTTPException(400, "expected a path after the method, such as GET /info/")
        sent = headers.getlist("host")
        if len(sent) != 1:
            raise HTTPException(
                400, f"the request has {len(sent) or 'no'} Host headers; expected one"
            )
        try:
            host = read_host(sent[0])
        except InputError as error:
            raise HTTPException(400, f"the Host header: {error}") from None
        if not (host.is_address or host.name in self.hosts or ANY in self.hosts):
            raise HTTPException(
                421,
                f"'{host.name}' is no name of this server; use its address, or start it with "
                f"--conf hosts {host.name} if the name is right",
            )
        return host


def _check_size(scope: Scope) -> None:
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    if target > MAX_TARGET_BYTES:
        raise HTTPException(
            414, f"the address has {target} bytes, at most {MAX_TARGET_BYTES} are read; shorten it"
        )
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size > MAX_HEADER_BYTES:
        raise HTTPException(
            431, f"the headers have {size} bytes, at most {MAX_HEADER_BYTES} are read; send fewer"
        )


def _foreign(origin: str, host: str) -> str:
    return (
        f"a page of {origin[:200]} may not use this server (asked as {host[:200]}); if it should, "
        f"start the server with --conf origins and the origin of the page, and if it is the "
        f"server's own page, have the web server in front pass on the Host header"
    )


def _is_page(path: str) -> bool:
    return path in _PAGES or path.startswith(_FOLDERS_OF_PAGES)


def _opens_a_page(scope: Scope, headers: Headers) -> bool:
    """Tell whether a link or a new window leads to a page that is meant to be opened."""
    kind = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return (
        scope["method"] in _SAFE and kind == ("navigate", "document") and _is_page(path_of(scope))
    )


def _is_preflight(scope: Scope) -> bool:
    asked = Headers(scope=scope).get("access-control-request-method")
    return scope["method"] == "OPTIONS" and asked is not None


def _permission(scope: Scope) -> dict[str, str]:
    """Return what a listed page may send, as the answer to the browser's question."""
    headers = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": "600"}
    if asked := Headers(scope=scope).get("access-control-request-headers"):
        headers["Access-Control-Allow-Headers"] = asked
    return headers


def _add_headers(headers: MutableHeaders, path: str, page: str, origins: frozenset[Origin]) -> None:
    """Add to an answer what browsers are to know of it.

    Args:
        page: the listed origin that asks, if one does.
    """
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    scripts = _is_page(path) or path in _WITH_SCRIPTS
    headers.setdefault("Content-Security-Policy", _FRAMES if scripts else _NO_SCRIPTS)
    if origins:
        headers.add_vary_header("Origin")
    if page:
        headers["Access-Control-Allow-Origin"] = page
        headers["Access-Control-Allow-Credentials"] = "true"
        headers["Access-Control-Expose-Headers"] = _READABLE
