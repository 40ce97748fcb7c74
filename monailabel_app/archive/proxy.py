"""The archive for viewers, under the server's own address: `/proxy/dicom/...`.

MONAI Label (0.8.5) drops the query, so a viewer's filters have no effect and the studies of every
patient are listed. It passes on paths with `..`, which lead from DICOMweb into the archive's
administration. And it blocks the event loop until the archive has answered; here the proxy has
threads of its own, and gives up an archive that is silent.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import IO, Any
from urllib.parse import unquote

import requests
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from lib.errors import InputError, NotFoundError
from monailabel_app.archive.circuit import ArchiveError, SilentArchiveError, is_silence
from monailabel_app.archive.decoded import DecodedFrames, is_metadata
from monailabel_app.archive.dicomweb import Archive
from monailabel_app.archive.veil import Veil
from monailabel_app.lane import Lane
from monailabel_app.studies.dicomweb.wado import NO_STORE, OCTETS, in_parts

logger = logging.getLogger(__name__)

_PART = r"[A-Za-z0-9_,=-][A-Za-z0-9._,=-]*"
# of patients' objects: beside them archives list, say, the other archives that they know
_PATH = re.compile(rf"(?:studies|series|instances|bulkdata)(?:/{_PART})*/?")
_STOW = re.compile(r"studies(?:/[0-9.]+)?/?")
_FIELDS = re.compile(r"includefield=(?:[A-Za-z0-9]|%2[Cc])+")
_PASSED_ON = ("accept", "content-type")
_BLOCK = 1 << 18
_NOT_GIVEN = (400, 404, 406, 415, 500, 501)  # as archives answer for frames that they cannot give
_READER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_WRITER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
_PREFIXES = {
    "wado": settings.MONAI_LABEL_WADO_PREFIX,
    "qido": settings.MONAI_LABEL_QIDO_PREFIX,
    "stow": settings.MONAI_LABEL_STOW_PREFIX,
}


def proxy_router(
    archive: Archive,
    on_stored: Callable[[], None],
    decoded: DecodedFrames | None = None,
    veil: Veil | None = None,
) -> APIRouter:
    """Return the routes of the proxy for an archive.

    Args:
        on_stored: called after a viewer stored objects, which may be labels.
        decoded: makes the frames that the archive does not give as viewers can show them.
        veil: keeps what others said of an exam from a reader who has not read it.
    """
    router = APIRouter()
    lane = Lane("proxy", threads=16, waiting=128, patience=10.0)

    async def read(
        request: Request,
        path: str,
        user: User = _READER,
    ) -> Response:
        _, _, rest = _split(path)
        reader = veil.reader() if veil is not None else ""
        if veil is None or not reader:
            return await show(request, path, rest)
        hidden = await lane.run(partial(_over, veil, rest, reader))
        answer = await show(request, path, rest)
        if not hidden or answer.status_code != 200:
            return answer
        body = await _body(answer)
        shown = await lane.run(partial(veil.without, hidden, body), admitted=True)
        kind = answer.headers.get("content-type")
        return Response(shown, 200, NO_STORE, kind, background=answer.background)

    async def show(request: Request, path: str, rest: str) -> Response:
        if decoded is None or ".." in rest:
            return await _ask(lane, archive, request, path, None)
        if frames := await lane.run(partial(_frames, decoded.coloured, rest)):
            return in_parts(map(memoryview, frames), OCTETS)
        answer = await _ask(lane, archive, request, path, None)
        if answer.status_code in _NOT_GIVEN:
            with suppress(HTTPException):
                if frames := await lane.run(partial(_frames, decoded.stored, rest), admitted=True):
                    return in_parts(map(memoryview, frames), OCTETS)
        if answer.status_code != 200 or not is_metadata(rest):
            return answer
        stored = await _body(answer)
        body = await lane.run(partial(decoded.metadata, stored), admitted=True)
        kind = answer.headers.get("content-type")
        return Response(body, 200, NO_STORE, kind, background=answer.background)

    async def write(
        request: Request,
        path: str,
        user: User = _WRITER,
    ) -> StreamingResponse:
        _, _, rest = _split(path)
        if not _STOW.fullmatch(rest):
            raise HTTPException(404, f"POST to '{path[:80]}': only objects are stored, in studies")
        # gigabytes, of several viewers at once: none of them in memory
        with tempfile.TemporaryFile() as body:
            async for block in request.stream():
                await run_in_threadpool(body.write, block)
            body.seek(0)
            try:
                return await _ask(lane, archive, request, path, body)
            finally:
                on_stored()

    router.add_api_route("/proxy/dicom/{path:path}", read, methods=["GET"])
    router.add_api_route("/proxy/dicom/{path:path}", write, methods=["POST"])
    return router


async def _ask(
    lane: Lane, archive: Archive, request: Request, path: str, body: IO[bytes] | None
) -> StreamingResponse:
    """Pass a request on to the archive and stream its answer."""
    service, prefix, rest = _split(path)
    if not _PATH.fullmatch(rest) or ".." in rest:
        raise HTTPException(404, f"'{path[:80]}' is no path of DICOMweb")
    if service == "qido" and rest.endswith("metadata"):  # as some versions of OHIF ask
        prefix = _PREFIXES["wado"] or ""
    address = "/".join(part for part in (archive.url, prefix, rest) if part)
    # Orthanc takes no encoded comma between the fields that OHIF asks for: the list of studies
    # would have no descriptions
    query = _FIELDS.sub(lambda fields: unquote(fields[0]), request.url.query)
    session = archive.new_session()
    send = partial(
        session.request,
        request.method,
        f"{address}?{query}" if query else address,
        headers={name: request.headers[name] for name in _PASSED_ON if name in request.headers},
        data=body,
        stream=True,
        allow_redirects=False,
    )
    try:
        answer = await lane.run(partial(_send, archive, send))
    except BaseException:
        session.close()
        raise
    # if the archive refuses the server's password, the viewer must not ask its user for one
    status = 502 if answer.status_code == 401 else answer.status_code
    headers: dict[str, Any] = {"Cache-Control": "no-store"}
    if "content-type" in answer.headers:
        headers["Content-Type"] = answer.headers["content-type"]
    return StreamingResponse(
        _blocks(lane, answer), status, headers, background=BackgroundTask(session.close)
    )


async def _body(answer: Response) -> bytes:
    """Return the whole body of an answer."""
    if not isinstance(answer, StreamingResponse):
        return bytes(answer.body)
    blocks = [bytes(block) async for block in answer.body_iterator]  # type: ignore[arg-type]
    return b"".join(blocks)


def _over(veil: Veil, path: str, reader: str) -> frozenset[str]:
    """Return what `Veil.over` does.

    Raises:
        HTTPException: 403, the path leads to what is hidden; 502, the archive does not answer.
    """
    try:
        return veil.over(path, reader)
    except ArchiveError as error:
        raise HTTPException(502, str(error)) from None


def _frames(make: Callable[[str], list[bytes] | None], path: str) -> list[bytes] | None:
    """Return the frames that `make` makes for a path, if any.

    Raises:
        HTTPException: 404, 422 or 502, they cannot be made.
    """
    try:
        return make(path)
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from None
    except ArchiveError as error:
        raise HTTPException(502, str(error)) from None
    except InputError as error:
        raise HTTPException(422, str(error)) from None


def _send(archive: Archive, send: Callable[[], requests.Response]) -> requests.Response:
    """Send a request and return the answer, of which the body is not read.

    Raises:
        HTTPException: 502 or 504, there is none.
    """
    try:
        with archive.circuit.request():
            return send()
    except SilentArchiveError as error:
        raise HTTPException(504, str(error)) from None
    except requests.RequestException as error:
        raise HTTPException(
            504 if is_silence(error) else 502,
            f"the archive at {archive.url} does not answer ({type(error).__name__}); is it "
            f"running?",
        ) from None


async def _blocks(lane: Lane, answer: requests.Response) -> AsyncIterator[bytes]:
    """Yield the body of an answer, read in the threads of a lane."""
    blocks = answer.iter_content(_BLOCK)
    try:
        while block := await lane.run(partial(next, blocks, b""), admitted=True):
            yield block
    except requests.RequestException as error:
        logger.warning(f"The archive stopped within an answer ({type(error).__name__})")
        raise
    finally:
        answer.close()


def _split(path: str) -> tuple[str, str, str]:
    """Return the service that a path names, the archive's prefix for it, and the rest."""
    service, _, rest = path.partition("/")
    if service not in _PREFIXES:
        return "", "", path
    return service, _PREFIXES[service] or "", rest
