"""Reasons of refusals: one sentence each, and nothing of what was sent but a short part."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from lib.errors import (
    NO_SPACE,
    BusyError,
    DivergedError,
    InputError,
    NotFoundError,
    UnpublishedError,
    shown,
)
from monailabel_app.archive.circuit import ArchiveError

logger = logging.getLogger(__name__)

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def answered(work: Callable[[], Any]) -> Any:
    """Call a function; its errors are answered with the reason."""
    try:
        return work()
    except HTTPException:
        raise
    except Exception as error:
        status, reason = explain(error)
        if status >= 500:
            logger.exception(reason)
        raise HTTPException(status, reason) from None


def explain(error: Exception) -> tuple[int, str]:
    """Return the HTTP status and the one-line reason for an error."""
    if isinstance(error, NotFoundError):
        return 404, str(error)
    if isinstance(error, UnpublishedError):
        return 409, str(error)
    if isinstance(error, BusyError):
        return 429, str(error)
    if isinstance(error, (InputError, DivergedError)):
        return 400, str(error)
    if isinstance(error, ArchiveError):
        return 502, str(error)
    if isinstance(error, MONAILabelException):
        missing = error.error in (MONAILabelError.APP_ERROR, MONAILabelError.INVALID_INPUT)
        return (404 if missing else 500), error.msg
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return 507, "no space left on the server's disk; not finished; free some, then repeat"
    if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
        return 409, (
            f"the server may not write or read {Path(error.filename or '').name or 'a file'} "
            f"({error.strerror}); nothing was changed; give its user the right to"
        )
    if isinstance(error, MemoryError):
        return 507, "the server ran out of memory for this request; use a smaller image"
    return 500, f"the server failed on this request ({type(error).__name__}); see its log"


async def answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer 422 with the first reason.

    FastAPI would repeat the whole body, and fail where that is no text (bytes, NaN).
    """
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    reason = _sentence(found[0]) if found else "the request does not fit this route; see /docs"
    return JSONResponse({"detail": reason}, 422)


def _sentence(found: dict[str, Any]) -> str:
    """Return one error of pydantic as a sentence."""
    place, *names = map(str, found["loc"])
    where = f"{place} {'.'.join(names)}".strip()
    value = found.get("input")
    told = f", found '{shown(value, 60)}'" if isinstance(value, (str, int, float)) else ""
    return f"{shown(where)}: {shown(found['msg'], 120)}{told}; /docs shows what is expected"
