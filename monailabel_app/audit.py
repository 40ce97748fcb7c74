"""The audit log: who changed which label or model, one line of JSON for each change.

The file is only ever appended to. Each line is written at once, and lies on the disk before the
request is answered, so that several processes can share the file and a killed one leaves no half
line that would spoil the next. What cannot be written is said in the server's log instead: a label
is never lost for it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, where a file is not locked so
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

FILE = "audit.jsonl"
LONGEST_TEXT = 300  # characters of a value, as JSON writes them
REFUSED_SECONDS = 10.0  # between two lines about refusals
UNKNOWN = "unknown"


class AuditLog:
    """Appends to the file of changes.

    Args:
        file: made, with its folder, when it is first written.
        who: returns name and address of who asks for what is being done.
    """

    def __init__(self, file: Path, who: Callable[[], tuple[str, str]] = lambda: ("", "")) -> None:
        self.file, self.who = file, who
        self._refusals, self._said = 0, float("-inf")

    def write(self, what: str, on: str, *, by: str = "", **facts: Any) -> None:
        """Append a line; a failure is logged, never raised.

        Args:
            what: was done, such as "label saved".
            on: the image or model.
            by: who did it, where that is not who sends the request.
            facts: further values, such as checksums; empty ones are left out.
        """
        name, address = self.who()
        values = {"by": by or name or UNKNOWN, "address": address, "what": what, "on": on, **facts}
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": now, **{key: _short(value) for key, value in values.items() if value != ""}}
        try:
            self._append(json.dumps(line).encode())
        except OSError as error:
            reason = error.strerror or str(error)
            logger.error(f"not in the audit log '{self.file}' ({reason}): {json.dumps(line)}")

    @contextmanager
    def change(
        self, what: str, on: str, checksum: Callable[[], str], by: str = "", **facts: Any
    ) -> Iterator[None]:
        """Append a line with the checksums of before and after the body, if it ends well."""
        before = _known(checksum)
        yield
        self.write(what, on, by=by, before=before, after=_known(checksum), **facts)

    def refused(self, name: str, address: str, count: int) -> None:
        """Note that a password was wrong again; in a flood a line stands for several.

        Args:
            count: of wrong ones for this name from this address lately.
        """
        self._refusals += 1
        if time.monotonic() - self._said < REFUSED_SECONDS:
            return
        refusals = self._refusals
        self._said, self._refusals = time.monotonic(), 0
        self.write("wrong password", name, address=address, times=count, refusals=refusals)

    def _append(self, line: bytes) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # another process may have written half of its line, which is not a half line that stays
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            whole = not size or os.pread(handle, 1, size - 1) == b"\n"
            os.write(handle, (b"" if whole else b"\n") + line + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)


def _known(checksum: Callable[[], str]) -> str:
    """Return a checksum; empty where there is none to be had: nothing is refused for it."""
    try:
        return checksum()
    except Exception:
        logger.exception("no checksum for the audit log")
        return ""


def _short(value: Any) -> Any:
    """Return a value for a line; JSON escapes control signs, and what is not ASCII."""
    if isinstance(value, (int, float)):
        return value
    text = str(value)[:LONGEST_TEXT]
    while len(json.dumps(text)) > LONGEST_TEXT + 2:
        text = text[: len(text) * 9 // 10]
    return text
