"""The page about the requests that the server answers, made of its OpenAPI description."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from tables import code, table

from monailabel_app.archive.proxy import proxy_router
from monailabel_app.config import AppConfig
from monailabel_app.web import routes
from monailabel_app.web.access import Access, find_row
from monailabel_app.web.users import Users
from monailabel_app.web.users_file import UsersFile

_HEAD = """\
# Requests

Made of the description that a running server gives at `/openapi.json`, and shows at `/docs`,
where a request can be tried. *Who* is the least role that may ask, on a server with
[users](../docs/dicom.md#who-may-use-it); on others everybody may.

"""


def page() -> str:
    """Return the page: a chapter for each first part of the paths."""
    description = _openapi()
    schemas = description.get("components", {}).get("schemas", {})
    chapters: dict[str, list[str]] = {}
    for path, operations in sorted(description["paths"].items()):
        for method, operation in operations.items():
            first = path.strip("/").partition("/")[0] or "start page"
            text = _operation(method.upper(), path, operation, schemas)
            chapters.setdefault(first, []).append(text)
    return _HEAD + "".join(f"## {name}\n\n{''.join(texts)}" for name, texts in chapters.items())


def _openapi() -> dict[str, Any]:
    """Return the description of MONAI Label's web application with this app's routes."""
    from monailabel.app import app as web

    app = MagicMock(config=AppConfig())  # routes ask it when they are called, not when installed
    app.datastore().router.return_value = proxy_router(MagicMock(), lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "users.json"
        Users.empty().write(file)
        routes.install(app, UsersFile(file))
        return web.openapi()


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> str:
    row = find_row(method, path.replace("{", "").replace("}", ""))
    access = row.access if row else Access.ADMIN
    who = "everybody" if access is Access.OPEN else access.role
    about = operation.get("description") or operation.get("summary", "")
    rows = [*_parameters(operation, schemas), *_body(operation, schemas)]
    head = ("parameter", "in", "type", "default", "meaning")
    listed = f"\n{table(head, rows)}" if rows else ""
    return f"### `{method} {path}`\n\n*Who:* {who}. {' '.join(about.split())}\n{listed}\n"


def _parameters(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[list[str]]:
    for parameter in operation.get("parameters", ()):
        schema = parameter.get("schema", {})
        told = parameter.get("description", "")
        yield _row(parameter["name"], parameter["in"], schema, told, parameter.get("required"))


def _body(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the fields of a form, or the body as a whole."""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
        needed = schema.get("required", ())
        if "form" not in media or "properties" not in schema:
            yield _row("", media, schema, schema.get("description", ""), None)
            continue
        for name, inner in schema["properties"].items():
            yield _row(name, "form", inner, inner.get("description", ""), name in needed)


def _row(name: str, where: str, schema: Mapping[str, Any], about: str, needed: Any) -> list[str]:
    default = "needed" if needed else code(schema.get("default", ""))
    return [code(name), where, _type(schema), default, about]


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a value in words."""
    if "enum" in schema:
        return ", ".join(code(one) for one in schema["enum"])
    if options := schema.get("anyOf"):
        kinds = dict.fromkeys(_type(one) for one in options if one.get("type") != "null")
        return " or ".join(kinds)
    if schema.get("contentMediaType") or schema.get("format") == "binary":
        return "file"
    return str(schema.get("type", "") or schema.get("$ref", "any").rpartition("/")[2])
