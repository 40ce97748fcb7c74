"""Pages beside OHIF, with all that they load: the start page and that of the interface.

MONAI Label (0.8.5) loads the scripts of the interface's page, and OHIF's fonts, from other sites,
which a hospital's browser does not reach.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, HTTPException
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from lib.errors import NotFoundError, shown

_HERE = Path(__file__).parent
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_FOLDERS = {
    "pages": (_HERE / "pages", (".css", ".js")),
    "fonts": (_HERE / "fonts", (".css", ".woff2")),
    "swagger": (_SWAGGER, (".css", ".js")),
}


def asset(folder: str, name: str) -> Path:
    """Return a file that a page loads.

    Args:
        folder: "pages", "fonts" or "swagger".

    Raises:
        NotFoundError: there is no such file.
    """
    root, endings = _FOLDERS.get(folder, (_HERE, ()))
    for file in root.iterdir():
        if file.name == name and file.suffix in endings:
            return file
    raise NotFoundError(f"the pages load no file '{shown(folder)}/{shown(name)}'")


def pages_router() -> APIRouter:
    """Return the routes of the pages; what they name is relative, below the server's address."""
    router = APIRouter(include_in_schema=False)

    def start() -> FileResponse:
        return FileResponse(_HERE / "pages" / "start.html")

    def reading() -> FileResponse:
        return FileResponse(_HERE / "pages" / "reading.html")

    def interface() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="MONAI Label: interface",
            swagger_js_url="static/swagger/swagger-ui-bundle.js",
            swagger_css_url="static/swagger/swagger-ui.css",
            swagger_favicon_url="favicon.ico",
            swagger_ui_parameters={"defaultModelsExpandDepth": -1},
        )

    def file(path: str) -> FileResponse:
        folder, _, name = path.partition("/")
        try:
            return FileResponse(asset(folder, name))
        except NotFoundError as error:
            raise HTTPException(404, str(error)) from None

    router.add_api_route("/", start)
    router.add_api_route("/reading", reading)
    router.add_api_route("/docs", interface, methods=["GET", "HEAD"])
    router.add_api_route("/static/{path:path}", file, methods=["GET", "HEAD"])
    return router
