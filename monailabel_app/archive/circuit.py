"""An archive that fell silent is asked by one request at a time, not by everybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from urllib3.exceptions import TimeoutError as SilentError

PAUSE_SECONDS = 5.0


class ArchiveError(RuntimeError):
    """The archive does not answer, or refuses (HTTP 502)."""


class SilentArchiveError(ArchiveError):
    """The archive just let a request wait in vain, so no other is sent (HTTP 502)."""


class Circuit:
    """Lets requests through to an archive, unless it has just let one wait in vain.

    After `PAUSE_SECONDS` one request tries it; the others follow when it is answered, and the next
    when it is still given something after a while, such as a series.

    Args:
        name: of the archive, for messages.
        trial_seconds: after which a request that tries it cannot be one that waits in vain.
    """

    def __init__(self, name: str, trial_seconds: float) -> None:
        self.name, self.trial_seconds = name, trial_seconds
        self._guard = threading.Lock()
        self._until = 0.0  # by `time.monotonic`; 0 while the archive answers
        self._trial_ends = 0.0  # of the request that tries it

    @property
    def closed(self) -> bool:
        """Whether the archive answered the last time, or was not asked yet."""
        return not self._until

    @contextmanager
    def request(self) -> Iterator[None]:
        """Send a request during the context, and note whether it was left waiting.

        Raises:
            SilentArchiveError: it is not sent.
        """
        with self._guard:
            now = time.monotonic()
            if self._until and now < max(self._until, self._trial_ends):
                raise SilentArchiveError(
                    f"the archive at {self.name} does not answer: it let the last request wait in "
                    f"vain; is it running? It is tried again every {PAUSE_SECONDS:g} s"
                )
            self._trial_ends = now + self.trial_seconds if self._until else 0.0
        silent = False
        try:
            yield
        except requests.RequestException as error:
            silent = is_silence(error)
            raise
        finally:
            with self._guard:
                self._trial_ends = 0.0
                self._until = time.monotonic() + PAUSE_SECONDS if silent else 0.0


def is_silence(error: requests.RequestException) -> bool:
    """Tell whether a request ended because nothing, or too little, came in time."""
    # a body that stops half way is a ConnectionError around urllib3's own
    around = isinstance(error, requests.ConnectionError) and error.args
    return isinstance(error, requests.Timeout) or bool(
        around and isinstance(error.args[0], SilentError)
    )
