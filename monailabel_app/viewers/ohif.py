"""OHIF as the monailabel wheel ships it, with this app's mode and panel; nothing is built anew.

Upstream (0.8.5) joins paths with `os.pathsep`, so files in folders come back as the start page, and
its mode opens CT and MR alone. OHIF reads `app-config.js` before it starts: the scripts beside this
file are appended to it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi.responses import FileResponse, Response
from monailabel.endpoints import ohif
from monailabel.utils.others.generic import get_mime_type

from lib.errors import NotFoundError
from monailabel_app.viewers.ohif_patches import mended

SCRIPTS = ("server", "nrrd", "images", "labelmaps", "style", "density", "clicks", "panel", "mode")
_CONFIG, _PAGE = "app-config.js", "index.html"
_HERE = Path(__file__).parent / "ohif"
_STALE = {"Cache-Control": "no-cache"}  # asked for again after each update of the app


def root() -> Path:
    """Return the folder of the OHIF that the wheel ships."""
    return Path(ohif.__file__).resolve().parent / "static" / "ohif"


@cache
def config() -> str:
    """Return OHIF's configuration with this app's scripts, which share one scope."""
    scripts = "\n".join((_HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    shipped = (root() / _CONFIG).read_text("utf-8")
    return f"{shipped}\n(() => {{\n'use strict';\n{scripts}}})();\n"


def serve(path: str) -> Response:
    """Return a file of OHIF, or its start page for the addresses of its own pages.

    Raises:
        NotFoundError: a file that it does not have.
    """
    if path == _CONFIG:
        return Response(config(), media_type="text/javascript", headers=_STALE)
    file = (root() / path).resolve()
    if not (file.is_relative_to(root()) and file.is_file()):
        if Path(path).suffix in (".js", ".css", ".wasm", ".png", ".svg", ".json", ".map"):
            raise NotFoundError(f"OHIF has no file '{path}'")
        file = root() / _PAGE
    if (text := mended(file)) is not None:
        return Response(text, media_type="text/javascript", headers=_STALE)
    headers = _STALE if file.name == _PAGE else None
    return FileResponse(file, media_type=get_mime_type(str(file)), headers=headers)
