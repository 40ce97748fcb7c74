"""Files of one request, which go with it, whatever becomes of it.

MONAI Label (0.8.5) keeps what is sent with a request until its answer is on its way. Where there is
none, because the request is refused or the disk is full, the files stay for ever.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi.responses import FileResponse
from monailabel.endpoints import datastore, infer, session
from starlette.types import Receive, Scope, Send

_KEEP_FILES = (datastore, infer, session)  # the modules that keep what is sent
_request = threading.local()


class PassingFile(FileResponse):
    """An answer with a temporary file, which is deleted when it is sent, or cannot be."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, then delete it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


@contextmanager
def request_files(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Keep the files that are sent with a request in a folder of its own, within the context.

    If the body fails, the file of its answer is deleted too.

    Args:
        arguments: of the endpoint; MONAI Label notes in ``background_tasks`` what to delete later.
    """
    with tempfile.TemporaryDirectory(prefix="request-") as folder:
        _request.folder = folder
        try:
            yield
        except BaseException:
            for task in getattr(arguments.get("background_tasks"), "tasks", ()):
                with suppress(OSError):
                    task.func(*task.args, **task.kwargs)
            raise
        finally:
            _request.folder = None


class _NamesInFolder:
    """Stands for `tempfile` in MONAI Label's endpoints, which use nothing of it but names."""

    def NamedTemporaryFile(self, suffix: str = "") -> Any:  # noqa: N802
        folder = getattr(_request, "folder", None)
        if folder is None:
            return tempfile.NamedTemporaryFile(suffix=suffix)
        return SimpleNamespace(name=str(Path(folder, f"{secrets.token_hex(8)}{suffix}")))


def keep_files_in_requests() -> None:
    """Let MONAI Label's endpoints take the names of their files from `request_files`."""
    for module in _KEEP_FILES:
        module.tempfile = _NamesInFolder()
