"""Threads for requests, in pools apart: what is slow for one reason delays nothing else.

* ``cheap``: whatever is answered at once.
* ``changes``: labels, images and weights that are sent or removed.
* ``archive``: what may have to wait for a DICOM archive; short of threads on purpose.
* ``long``: minutes of work that a client waits for, such as a training, at a low priority.
* models run in threads of their own, in the order of `monailabel_app.active.turns`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from fastapi import HTTPException, Request

from monailabel_app.active.turns import QueueFullError, Turn
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.web.people import person

QUEUE_SECONDS = 120.0  # that a request waits for a model at most
LOOK_SECONDS = 0.25  # between looks whether the client is still there
GONE = 499  # as other servers log requests that nobody waits for any more
_NICENESS = 10
_THREADS = 64  # made when none is idle; one stores its answer while the next model runs
_MODELS = frozenset(
    {
        "infer.api_run_inference",
        "wsi_infer.api_run_wsi_inference",
        "wsi_infer.api_run_wsi_v2_inference",
    }
)
_LONG = frozenset({"datastore.api_download_dataset"})
# modules and functions of MONAI Label that ask no archive
_WITHOUT_ARCHIVE = ("info.", "logs.", "model.", "ohif.", "session.")
_CHANGED = ("datastore.", "model.")
_TASK_STATES = ("api_status", "api_stop")

Value = TypeVar("Value")


class Lanes:
    """The pools of a server."""

    def __init__(self, app: AppServices) -> None:
        self.app, self.turns = app, app.turns
        self.cheap = Lane("cheap", threads=24, waiting=2000, patience=60.0)
        self.changes = Lane("changes", threads=8, waiting=256, patience=60.0)
        self.archive = Lane("archive", threads=16, waiting=64, patience=10.0)
        self.long = Lane("long", threads=8, waiting=8, patience=60.0, niceness=_NICENESS)
        self._models = ThreadPoolExecutor(_THREADS, "model")

    async def run(
        self,
        name: str,
        request: Request,
        arguments: dict[str, Any],
        check: Callable[[], object],
        work: Callable[[], Value],
    ) -> Value:
        """Return what `work` returns, called after `check` in the pool that an endpoint belongs to.

        Args:
            name: module and function of the endpoint.
            arguments: of the endpoint; `check` may correct them.

        Raises:
            HTTPException: 429, 499 or 503, see `Lane.run` and `_run_model`.
        """
        if name in _MODELS:
            await self.cheap.run(check)
            await self._fetch(arguments)
            return await self._run_model(request, work)

        def both() -> Value:
            check()
            return work()

        return await self._lane(name, request.method, arguments).run(both)

    def _lane(self, name: str, method: str, arguments: dict[str, Any]) -> Lane:
        if name.startswith(_CHANGED) and method not in ("GET", "HEAD"):
            return self.changes
        if name in _LONG or arguments.get("run_sync"):
            return self.long
        if self.app.datastore().is_local or name.startswith(_WITHOUT_ARCHIVE):
            return self.cheap
        return self.cheap if name.endswith(_TASK_STATES) else self.archive

    async def _fetch(self, arguments: dict[str, Any]) -> None:
        """Bring what a model needs onto this machine, before it gets its turn."""
        image, store = arguments.get("image"), self.app.datastore()
        if store.is_local or not image or arguments.get("file") or arguments.get("session_id"):
            return
        exam = getattr(self.app.require_model(arguments["model"]), "by_exam", False)
        if not await self.cheap.run(partial(store.at_hand, image, exam)):
            await self.archive.run(partial(store.fetch, image, exam))

    async def _run_model(self, request: Request, work: Callable[[], Value]) -> Value:
        """Return what `work` returns, called when it is the client's turn to run a model.

        Args:
            request: tells who asks, and whether the client still waits.
            work: releases the slot earlier by `Turns.slot`.

        Raises:
            HTTPException: 429 or 503 with ``Retry-After``, too many requests, or too long a wait;
                499, the client has gone.
        """
        try:
            turn = self.turns.ask(*_client_and_home(request))
        except QueueFullError as error:
            raise HTTPException(
                429, str(error), {"Retry-After": str(error.retry_seconds)}
            ) from None
        job: Future[Value] | None = None
        try:
            await _wait(turn, request)
            context = copy_context()
            context.run(self.turns.hold, turn)
            job = self._models.submit(context.run, partial(self._work, turn, work))
            return await asyncio.wrap_future(job)
        finally:
            if job is None or job.cancel():
                self.turns.end(turn)

    def _work(self, turn: Turn, work: Callable[[], Value]) -> Value:
        try:
            return work()
        finally:
            self.turns.end(turn)


async def _wait(turn: Turn, request: Request) -> None:
    """Wait until a turn comes, the client goes, or it took too long."""
    granted = asyncio.wrap_future(turn.granted)
    until = time.monotonic() + QUEUE_SECONDS
    while not granted.done():
        await asyncio.wait({granted}, timeout=LOOK_SECONDS)
        if granted.done():
            return
        if await request.is_disconnected():
            raise HTTPException(GONE, "the client has gone")
        if time.monotonic() > until:
            raise HTTPException(
                503,
                f"no turn within {QUEUE_SECONDS:g} s; ask again when the server is less busy",
                {"Retry-After": str(round(QUEUE_SECONDS / 4))},
            )


def _client_and_home(request: Request) -> tuple[str, str]:
    """Return who asks, see `Turn`: the user, or without a login the program and the address."""
    if name := person().name:
        return f"user {name}", ""
    address = request.client.host if request.client else ""
    return f"{address} {request.headers.get('user-agent', '')}", address
