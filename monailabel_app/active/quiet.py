"""When the server has a moment for work that nobody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_SECONDS = 0.3  # without a request
PATIENCE_SECONDS = 5.0  # after which the work goes on, though the server is never quiet


class Quiet:
    """Counts the requests in progress."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0
        self._last = 0.0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as in progress during the context."""
        with self._condition:
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                self._last = time.monotonic()
                self._condition.notify_all()

    def wait(self, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until there was no request for `QUIET_SECONDS`, at most `patience` seconds."""
        end = time.monotonic() + patience
        with self._condition:
            while (now := time.monotonic()) < end:
                missing = self._last + QUIET_SECONDS - now
                if self._running == 0 and missing <= 0:
                    return
                # the end of a request wakes; the quiet after it has to be waited for
                self._condition.wait(min(end - now, missing if not self._running else end - now))
