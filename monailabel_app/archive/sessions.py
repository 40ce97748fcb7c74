"""HTTP sessions for an archive that end when it is silent, or answers a byte at a time."""

from __future__ import annotations

import http.client
import io
import os
import time
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from typing import Self  # of Python 3.11

CONNECT_SECONDS = 3.0
SILENT_SECONDS = 8.0  # without a byte
STORE_SECONDS = 30.0  # the same, after objects were sent: an archive may write them first
LEAST_BYTES_PER_S = 1000.0


def new_session(
    login: tuple[str, str] | None, silent_seconds: float = SILENT_SECONDS
) -> requests.Session:
    """Return a session with a login and time limits, and with nothing else of the environment.

    Only ``REQUESTS_CA_BUNDLE``, the certificates to trust, counts: netrc files and proxies are
    meant for other servers.
    """
    session = requests.Session()
    session.trust_env = False
    session.auth = login
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Bounded(silent_seconds))
    return session


class _Again(Retry):
    """Tries again, and not where a time limit ended a request."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


# an archive that says that it is busy is asked twice more; what stores something is sent once
_AGAIN = _Again(
    total=2,
    connect=1,
    read=1,
    status_forcelist=(429, 503),
    backoff_factor=0.2,
    respect_retry_after_header=False,
    raise_on_status=False,
)


class _Bounded(HTTPAdapter):
    """Sets time limits for requests."""

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        super().__init__(max_retries=_AGAIN)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def send(
        self, request: requests.PreparedRequest, *arguments: Any, **options: Any
    ) -> requests.Response:
        silent = self._silent_seconds
        if request.method == "POST":
            silent = max(silent, STORE_SECONDS)
        options["timeout"] = (CONNECT_SECONDS, silent)
        if isinstance(request.body, bytes):
            # sent in blocks: the time limit is for each, not for all of it
            request.body = io.BytesIO(request.body)
        return super().send(request, *arguments, **options)


class _Paced(io.RawIOBase):
    """What a socket receives; ends when too little comes while somebody waits for it.

    The time limit of a socket is for each read, so a byte a second would go on for ever.

    Args:
        seconds: that are waited for, however little comes.
    """

    def __init__(self, source: Any, seconds: float) -> None:
        self._source, self._limit = source, seconds
        self._bytes, self._seconds = 0, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        begin = time.monotonic()
        count: int | None = self._source.readinto(buffer)
        if self._bytes:  # the first byte has the time limit of the socket
            self._seconds += time.monotonic() - begin
        self._bytes += count or 0
        if count and self._seconds > max(self._limit, self._bytes / LEAST_BYTES_PER_S):
            raise TimeoutError(f"{self._bytes} bytes in {self._seconds:.0f} s")
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), sock.gettimeout()))


class _Connection(HTTPConnection):
    response_class = _PacedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _PacedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
