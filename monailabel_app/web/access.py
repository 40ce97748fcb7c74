"""Who may use which route, and what body it takes: one table, the source of truth.

A request without a row is answered 404: a route that a new version brings is closed until somebody
decides about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from starlette.routing import compile_path
from starlette.types import Scope


class Access(IntEnum):
    """What a route asks for; each role may do what those before it may."""

    OPEN = 0  # nobody has to log in
    USER = 1
    ANNOTATOR = 2
    REVIEWER = 3
    ADMIN = 4

    @property
    def role(self) -> str:
        """The role's name in a file of users."""
        return self.name.lower()


class Body(Enum):
    """What is sent with a request, which decides how long it may be."""

    NONE = "none"  # nothing is read
    JSON = "json"  # JSON, or the fields of a form without files
    UPLOAD = "upload"  # images, labels, weights


class Row(NamedTuple):
    """A route.

    Attributes:
        path: template as in `/openapi.json`; `{name:path}` stands for several folders.
    """

    method: str
    path: str
    access: Access
    body: Body = Body.NONE


_OPEN, _USER, _ANNOTATOR, _ADMIN = Access.OPEN, Access.USER, Access.ANNOTATOR, Access.ADMIN
_JSON, _UPLOAD = Body.JSON, Body.UPLOAD

ROWS = (
    # pages that hold no data, and the login
    Row("GET", "/", _OPEN),
    Row("GET", "/docs", _OPEN),
    Row("GET", "/openapi.json", _OPEN),
    Row("GET", "/favicon.ico", _OPEN),
    Row("GET", "/static/{path:path}", _OPEN),
    Row("GET", "/auth/", _OPEN),
    Row("POST", "/auth/token", _OPEN, _JSON),
    Row("GET", "/auth/token/valid", _USER),
    # looking
    Row("GET", "/info/", _USER),
    Row("GET", "/ohif/{path:path}", _USER),
    Row("GET", "/viewer/image", _USER),
    Row("GET", "/agreement", _USER),
    Row("GET", "/reading", _USER),
    Row("GET", "/reading/exams", _USER),
    Row("GET", "/reading/exam", _USER),
    Row("GET", "/reading/picture", _USER),
    Row("GET", "/viewer/density", _USER),
    Row("GET", "/datastore/", _USER),
    Row("GET", "/datastore/image", _USER),
    Row("HEAD", "/datastore/image", _USER),
    Row("GET", "/datastore/image/info", _USER),
    Row("GET", "/datastore/label", _USER),
    Row("HEAD", "/datastore/label", _USER),
    Row("GET", "/datastore/label/info", _USER),
    Row("GET", "/datastore/label/versions", _USER),
    Row("GET", "/datastore/label/version", _USER),
    Row("GET", "/viewer/saved", _USER),
    Row("GET", "/viewer/label", _USER),
    Row("GET", "/viewer/training", _USER),
    Row("GET", "/viewer/trainable", _USER),
    Row("GET", "/viewer/versions", _USER),
    *(
        Row("GET", f"/proxy/dicom/{service}{{path:path}}", _USER)
        for service in ("wado/", "qido/", "stow/", "")
    ),
    # asking models; what stores an answer is for annotators, see `checks`
    Row("POST", "/activelearning/{strategy}", _USER, _JSON),
    Row("POST", "/infer/{model}", _USER, _UPLOAD),
    Row("POST", "/viewer/interpolate", _USER, _UPLOAD),
    Row("POST", "/viewer/export", _USER, _UPLOAD),
    Row("POST", "/infer/wsi/{model}", _USER, _JSON),
    Row("POST", "/infer/wsi_v2/{model}", _USER, _UPLOAD),
    Row("GET", "/results/{key}/{name}", _USER),  # one's own
    Row("PUT", "/session/", _USER, _UPLOAD),
    Row("GET", "/session/{session_id}", _USER),  # one's own
    Row("DELETE", "/session/{session_id}", _USER),
    # labelling
    Row("PUT", "/datastore/", _ANNOTATOR, _UPLOAD),
    Row("PUT", "/datastore/image", _ANNOTATOR, _UPLOAD),
    Row("PUT", "/datastore/image/info", _ANNOTATOR, _JSON),
    Row("PUT", "/datastore/label", _ANNOTATOR, _UPLOAD),
    Row("PUT", "/datastore/label/info", _ANNOTATOR, _JSON),
    Row("PUT", "/datastore/updatelabelinfo", _ANNOTATOR, _JSON),
    Row("POST", "/datastore/label/restore", _ANNOTATOR),
    Row("GET", "/datastore/dataset", _ANNOTATOR),
    *(
        Row("POST", f"/proxy/dicom/{service}{{path:path}}", _ANNOTATOR, _UPLOAD)
        for service in ("wado/", "qido/", "stow/", "")
    ),
    Row("POST", "/scoring/", _ANNOTATOR, _JSON),
    Row("POST", "/scoring/{method}", _ANNOTATOR, _JSON),
    Row("DELETE", "/scoring/", _ANNOTATOR),
    # progress of what runs
    Row("GET", "/train/", _USER),
    Row("GET", "/scoring/", _USER),
    Row("GET", "/batch/infer", _USER),
    Row("GET", "/batch/exports/{model}", _USER),
    Row("GET", "/batch/exports/{model}/{name}", _USER),
    # what everybody then works with
    Row("POST", "/train/", _ADMIN, _JSON),
    Row("POST", "/train/{model}", _ADMIN, _JSON),
    Row("DELETE", "/train/", _ADMIN),
    Row("POST", "/batch/infer/{model}", _ADMIN, _JSON),
    Row("DELETE", "/batch/infer", _ADMIN),
    Row("DELETE", "/datastore/", _ADMIN),
    Row("DELETE", "/datastore/image", _ADMIN),
    Row("DELETE", "/datastore/label", _ADMIN),
    Row("GET", "/model/{model}", _ADMIN),
    Row("PUT", "/model/{model}", _ADMIN, _UPLOAD),
    Row("DELETE", "/model/{model}", _ADMIN),
    Row("GET", "/model/info/{model}", _ADMIN),
    Row("POST", "/model/restore/{model}", _ADMIN),
    Row("GET", "/logs/", _ADMIN),
    Row("GET", "/logs/gpu", _ADMIN),
    Row("POST", "/reload", _ADMIN),
)

_PATTERNS = tuple((compile_path(row.path)[0], row) for row in ROWS)
_HEAD_OF_GET = ("/docs", "/openapi.json", "/static/{path:path}")  # what is no endpoint has both


def find_row(method: str, path: str) -> Row | None:
    """Return the row of a request; None if there is no such route.

    A path that lacks, or has, a slash at its end gets the row of the path that it is redirected to.

    Args:
        method: as in an ASGI scope, in capitals.
        path: as in an ASGI scope, decoded.
    """
    rows = _rows_at(path) or _rows_at(path[:-1] if path.endswith("/") else f"{path}/")
    for row in rows:
        if method == row.method or (method == "HEAD" and row.path in _HEAD_OF_GET):
            return row
    return None


def path_of(scope: Scope) -> str:
    """Return the path of a request, below the root path that the server was started with."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if path.startswith(f"{root}/") else path


def methods_at(path: str) -> tuple[str, ...]:
    """Return the methods of the routes at a path, sorted; empty if there is none."""
    return tuple(sorted({row.method for row in _rows_at(path)}))


@lru_cache(maxsize=1024)
def _rows_at(path: str) -> tuple[Row, ...]:
    return tuple(row for pattern, row in _PATTERNS if pattern.match(path))


def routes_of(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield method and path template of each route of a web application."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from routes_of(included.routes)  # FastAPI keeps routers that were included
        elif (methods := getattr(route, "methods", None)) is None:
            yield "GET", f"{route.path}/{{path:path}}"  # a folder of files
        else:
            implied = {"HEAD"} if route.path in _HEAD_OF_GET else set()
            yield from ((method, route.path) for method in methods - implied)


def without_row(routes: Iterable[Any]) -> list[tuple[str, str]]:
    """Return the routes of a web application, as method and path, that have no row: not served."""
    known = {(row.method, row.path) for row in ROWS}
    return sorted(set(routes_of(routes)) - known)
