"""The archive for viewers, under the server's own address: `/proxy/dicom/...`.

MONAI Label (0.8.5) drops the query, so a viewer's filters have no effect and the studies of every
patient are listed. It passes on paths with `..`, which lead from DICOMweb into the archive's
administration. And it blocks the event loop until the archive has answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import requests
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import StreamingResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from monailabel_app.archive.dicomweb import Archive

_PATH = re.compile(r"(?:[A-Za-z0-9_,=-][A-Za-z0-9._,=-]*/?)+")
_STOW = re.compile(r"studies(?:/[0-9.]+)?/?")
_PASSED_ON = ("accept", "content-type")
_BLOCK = 1 << 18
_READER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_WRITER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
_PREFIXES = {
    "wado": settings.MONAI_LABEL_WADO_PREFIX,
    "qido": settings.MONAI_LABEL_QIDO_PREFIX,
    "stow": settings.MONAI_LABEL_STOW_PREFIX,
}


def proxy_router(archive: Archive, on_stored: Callable[[], None]) -> APIRouter:
    """Return the routes of the proxy for an archive.

    Args:
        on_stored: called after a viewer stored objects, which may be labels.
    """
    router = APIRouter()

    async def read(
        request: Request,
        path: str,
        user: User = _READER,
    ) -> StreamingResponse:
        return await run_in_threadpool(_ask, archive, request, path, b"")

    async def write(
        request: Request,
        path: str,
        user: User = _WRITER,
    ) -> StreamingResponse:
        _, _, rest = _split(path)
        if not _STOW.fullmatch(rest):
            raise HTTPException(404, f"POST to '{path[:80]}': only objects are stored, in studies")
        body = await request.body()
        try:
            return await run_in_threadpool(_ask, archive, request, path, body)
        finally:
            on_stored()

    router.add_api_route("/proxy/dicom/{path:path}", read, methods=["GET"])
    router.add_api_route("/proxy/dicom/{path:path}", write, methods=["POST"])
    return router


def _ask(archive: Archive, request: Request, path: str, body: bytes) -> StreamingResponse:
    """Pass a request on to the archive and stream its answer."""
    service, prefix, rest = _split(path)
    if not _PATH.fullmatch(rest) or ".." in rest:
        raise HTTPException(404, f"'{path[:80]}' is no path of DICOMweb")
    if service == "qido" and rest.endswith("metadata"):  # as some versions of OHIF ask
        prefix = _PREFIXES["wado"] or ""
    address = "/".join(part for part in (archive.url, prefix, rest) if part)
    query = request.url.query
    try:
        answer = archive.new_session().request(
            request.method,
            f"{address}?{query}" if query else address,
            headers={name: request.headers[name] for name in _PASSED_ON if name in request.headers},
            data=body or None,
            stream=True,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise HTTPException(
            502, f"the archive at {archive.url} does not answer ({type(error).__name__})"
        ) from None
    # if the archive refuses the server's password, the viewer must not ask its user for one
    status = 502 if answer.status_code == 401 else answer.status_code
    headers: dict[str, Any] = {"Cache-Control": "no-store"}
    if "content-type" in answer.headers:
        headers["Content-Type"] = answer.headers["content-type"]
    return StreamingResponse(
        answer.iter_content(_BLOCK), status, headers, background=BackgroundTask(answer.close)
    )


def _split(path: str) -> tuple[str, str, str]:
    """Return the service that a path names, the archive's prefix for it, and the rest."""
    service, _, rest = path.partition("/")
    if service not in _PREFIXES:
        return "", "", path
    return service, _PREFIXES[service] or "", rest
