"""Requests for every route that the server documents, with right, odd and hostile values."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fuzz.hostile import RAW, as_json, text, value

# routes that MONAI Label leaves out of its schema
# fmt: off
HIDDEN = (
    ("GET", "/ohif/{path}"), ("GET", "/proxy/dicom/{path}"), ("POST", "/proxy/dicom/{path}"),
    ("GET", "/static/{path}"), ("POST", "/reload"), ("PUT", "/datastore/"), ("GET", "/{path}"),
    ("DELETE", "/datastore/"), ("PUT", "/datastore/updatelabelinfo"), ("POST", "/train/"),
    ("POST", "/scoring/"), ("POST", "/infer/wsi/{model}"), ("GET", "/auth/"),
    ("POST", "/auth/token"),
)
_METHODS = ("HEAD", "OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND", "GET", "POST", "DELETE")
_FILE_NAMES = (
    "a.png", "a.nrrd", "a.nii.gz", "a.dcm", "a.tif", "a.json", "a.pt", "a", "a.bin", ".png",
)
_TYPES = ("image/png", "application/octet-stream", "text/html", "", "a", "multipart/mixed", "\xff")
_AGENTS = (b"x" * 8000, b"\xff\xfe", b"\x01", b"a\tb", b"", b" ", "\u0416".encode(), b"<b>")
_RANGES = (b"0-0", b"-1", b"9-1", b"99999999-", b"x")
_FORMS = (b"multipart/form-data", b"multipart/form-data; boundary=", b"text/plain")
# fmt: on


@dataclass(frozen=True)
class Vocabulary:
    """What the server knows.

    Attributes:
        routes: methods and templates of paths.
        query: names of query parameters by route.
        values: right values by the name of a parameter.
        bodies: names of parameters in the JSON of a request, by the start of its path.
        files: contents for uploads.
        spare: right values of what a request may delete.
    """

    routes: Sequence[tuple[str, str]]
    query: Mapping[tuple[str, str], Sequence[str]]
    values: Mapping[str, Sequence[Any]]
    bodies: Mapping[str, Sequence[str]]
    files: Sequence[bytes]
    spare: Sequence[str] = ("spare",)


@dataclass(frozen=True)
class Request:
    """One request: its method, what stands after it, headers and body."""

    method: str
    target: str
    headers: tuple[tuple[str, bytes], ...]
    body: bytes

    def encoded(self, host: str) -> bytes:
        """Return the bytes that are sent."""
        head = f"{self.method} {self.target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        lines = b"".join(
            name.encode() + b": " + content + b"\r\n" for name, content in self.headers
        )
        length = f"Content-Length: {len(self.body)}\r\n\r\n".encode()
        return head.encode("latin-1", "replace") + lines + length + self.body

    def __str__(self) -> str:
        return f"{self.method} {self.target[:300]} {self.body[:300]!r}"


def draw(rng: random.Random, known: Vocabulary) -> Request:
    """Draw a request."""
    route = rng.choice(known.routes)
    method, template = route
    deletes = method == "DELETE"
    path = "".join(
        _path_part(rng, known, part, deletes) if part.startswith("{") else part
        for part in template.replace("{", "\0{").replace("}", "}\0").split("\0")
    )
    names = [name for name in known.query.get(route, ()) if rng.random() < 0.85]
    if rng.random() < 0.05:
        names.append(text(rng))
    pairs = ((_quoted(rng, name), _one(rng, known, name, deletes)) for name in names)
    query = "&".join(f"{name}={_quoted(rng, value)}" for name, value in pairs)
    headers, body = _body(rng, known, method, path)
    if rng.random() < 0.05:
        method = rng.choice(_METHODS)
    if rng.random() < 0.1:
        headers.append(("User-Agent", rng.choice(_AGENTS)))
    if rng.random() < 0.03:
        headers.append(("Range", b"bytes=" + rng.choice(_RANGES)))
    return Request(method, path + (f"?{query}" if query else ""), tuple(headers), body)


def _path_part(rng: random.Random, known: Vocabulary, part: str, deletes: bool) -> str:
    name = part.strip("{}").partition(":")[0]
    return _quoted(rng, _one(rng, known, name, deletes)) or "%00"


def _one(rng: random.Random, known: Vocabulary, name: str, deletes: bool = False) -> str:
    """Draw a value of a parameter in the path or query."""
    right = known.spare if deletes else known.values.get(name, ("",))
    return str(rng.choice(right)) if rng.random() < 0.6 else text(rng)


def _quoted(rng: random.Random, content: str) -> str:
    """Return a text as a part of an address; now and then with percent signs that mean nothing."""
    raw = content.encode("utf-8", "surrogatepass")
    if rng.random() < 0.03:
        raw += rng.choice((b"\xff", b"\xc3("))
    return quote(raw, safe="" if rng.random() < 0.7 else "/.:+") + (
        "%" if rng.random() < 0.01 else ""
    )


def _body(
    rng: random.Random, known: Vocabulary, method: str, path: str
) -> tuple[list[tuple[str, bytes]], bytes]:
    if method in ("GET", "HEAD", "DELETE") or rng.random() < 0.03:
        return [], b""
    keys = next((keys for start, keys in known.bodies.items() if path.startswith(start)), ())
    content = as_json(rng, _object(rng, known, keys))
    if path.startswith(("/infer/", "/datastore/image", "/datastore/label", "/session", "/model/")):
        return _form(rng, known, path, content)
    if rng.random() < 0.9:
        return [("Content-Type", b"application/json")], content
    return [("Content-Type", rng.choice(_TYPES).encode("latin-1"))], content


def _object(rng: random.Random, known: Vocabulary, keys: Sequence[str]) -> dict[str, Any]:
    """Draw parameters: mostly right ones, with one or two that are not."""
    found = {key: rng.choice(known.values.get(key, (None,))) for key in keys if rng.random() < 0.3}
    for _ in range(rng.choice((0, 1, 1, 2))):
        found[rng.choice(keys) if keys and rng.random() < 0.85 else text(rng)] = value(rng)
    return found


def _form(
    rng: random.Random, known: Vocabulary, path: str, params: bytes
) -> tuple[list[tuple[str, bytes]], bytes]:
    """Return the parameters and files as a form, now and then as none."""
    fields = [(name, params) for name in ("params", "info") if rng.random() < 0.6]
    if path.endswith("info") and rng.random() < 0.8:
        body = b"&".join(name.encode() + b"=" + quote(content).encode() for name, content in fields)
        return [("Content-Type", b"application/x-www-form-urlencoded")], body
    boundary = b"x0x"
    parts = [b'name="' + name.encode() + b'"\r\n\r\n' + content for name, content in fields]
    names = ("files",) if path.startswith("/session") else ("file", "label")
    for name in names:
        for _ in range(rng.choice((0, 1, 1, 2))):
            parts.append(_file(rng, known, name))
    body = b"".join(
        b"--" + boundary + b"\r\nContent-Disposition: form-data; " + p + b"\r\n" for p in parts
    )
    end = b"--" + boundary + b"--\r\n" if rng.random() < 0.95 else rng.choice(RAW)
    kind = b"multipart/form-data; boundary=" + boundary
    if rng.random() < 0.05:
        kind = rng.choice(_FORMS)
    return [("Content-Type", kind)], body + end


def _file(rng: random.Random, known: Vocabulary, name: str) -> bytes:
    called = rng.choice(_FILE_NAMES) if rng.random() < 0.7 else text(rng) + rng.choice(("", ".png"))
    raw = called.encode("utf-8", "surrogatepass").replace(b'"', b"%22")
    head = f'name="{name}"; filename="'.encode() + raw + b'"'
    if rng.random() < 0.5:
        head += b"\r\nContent-Type: " + rng.choice(_TYPES).encode("latin-1")
    content = rng.choice(known.files) if rng.random() < 0.8 else rng.choice(RAW)
    return head + b"\r\n\r\n" + content
