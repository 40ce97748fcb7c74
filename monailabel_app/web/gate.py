"""The gate: who asks, and may they, by the table of routes, before any body is read."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.audit import AuditLog
from monailabel_app.web.access import Access, Row, find_row, methods_at, path_of, without_row
from monailabel_app.web.login import CHALLENGE, Authenticate, address_of, retry_after
from monailabel_app.web.passwords import TooManyTriesError
from monailabel_app.web.people import Person, asking, refusal

logger = logging.getLogger(__name__)

_ARCHIVE = "/proxy/dicom/"


def install_gate(web: FastAPI, authenticate: Authenticate | None, audit: AuditLog) -> None:
    """Put the gate behind the first middleware of a running web server."""
    for method, path in without_row(web.routes):
        logger.error(f"{method} {path} is not served: it has no row in monailabel_app.web.access")
    web.user_middleware.insert(1, Middleware(Gate, authenticate, audit))
    web.middleware_stack = None  # built already, when the server began to start; built again


class Gate:
    """ASGI application that lets through what `access.ROWS` allows, and answers all else itself.

    Args:
        app: the application behind it, where `people.person` then is who asks.
        authenticate: None lets everybody do all, as on a server without users.
        audit: gets a line for what a viewer stores in an archive, which no endpoint reads.
    """

    def __init__(
        self, app: ASGIApp, authenticate: Authenticate | None, audit: AuditLog | None = None
    ) -> None:
        self.app, self.authenticate, self.audit = app, authenticate, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        row = find_row(scope["method"], path_of(scope))
        who, refused = await self._admit(scope, row)
        if refused is not None or row is None:
            await (refused or _no_route(scope))(scope, receive, send)
            return
        token = asking.set(who)
        try:
            stores = row.method == "POST" and row.path.startswith(_ARCHIVE)
            await self.app(scope, receive, self._noting(scope, send) if stores else send)
        finally:
            asking.reset(token)

    def _noting(self, scope: Scope, send: Send) -> Send:
        """Return `send` that writes down what was stored."""

        async def sending(message: Message) -> None:
            done = message["type"] == "http.response.start" and message["status"] < 300
            if done and self.audit is not None:
                path = scope["path"][len(_ARCHIVE) :]
                await run_in_threadpool(self.audit.write, "stored in the archive", path)
            await send(message)

        return sending

    async def _admit(self, scope: Scope, row: Row | None) -> tuple[Person, JSONResponse | None]:
        """Return who asks, and the answer if they may not."""
        address = address_of(scope.get("client"))
        nobody = Person(address=address)
        if row is None:
            return nobody, _no_route(scope)
        if self.authenticate is None:
            return nobody, None
        if row.access is Access.OPEN:
            return Person(access=Access.OPEN, address=address), None
        try:
            who = await self.authenticate(Headers(scope=scope), address)
        except TooManyTriesError as error:
            return nobody, _refused(429, str(error), retry_after(error))
        except OSError as error:  # of the realm
            logger.error(f"nobody can log in now: {error}")
            return nobody, _refused(503, "the OpenID realm does not answer; try again later")
        if who is None:
            return nobody, _refused(401, "log in first", CHALLENGE)
        if who.access < row.access:
            return who, _refused(403, refusal(who, row.access))
        return who, None


def _no_route(scope: Scope) -> JSONResponse:
    path = path_of(scope)
    shown = f"{scope['method']} {path[:80]}"
    if methods := methods_at(path):
        allowed = ", ".join(methods)
        return _refused(405, f"{shown}: expected {allowed}", {"Allow": allowed})
    return _refused(404, f"{shown}: no such route; those that there are stand in /openapi.json")


def _refused(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": reason}, status, headers)
