"""OHIF as the monailabel wheel ships it, with this app's mode and panel, without a new build.

MONAI Label (0.8.5) joins paths with `os.pathsep`, so it answers with the start page for files in
folders, and its mode opens CT and MR only. OHIF reads `app-config.js` before it starts: the scripts
in the folder `ohif` are appended to it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi.responses import FileResponse, Response
from monailabel.endpoints import ohif
from monailabel.utils.others.generic import get_mime_type

from lib.errors import NotFoundError
from monailabel_app.viewers.ohif_patches import patched

SCRIPTS = ("server", "nrrd", "images", "labelmaps", "style", "density", "clicks", "panel", "mode")
_CONFIG, _PAGE = "app-config.js", "index.html"
_HERE = Path(__file__).parent / "ohif"
_NO_CACHE = {"Cache-Control": "no-cache"}  # browsers ask again, so an update of the app is seen


def root() -> Path:
    """Return the folder of the OHIF that the wheel ships."""
    return Path(ohif.__file__).resolve().parent / "static" / "ohif"


@cache
def config() -> str:
    """Return OHIF's configuration followed by this app's scripts, all in one scope."""
    scripts = "\n".join((_HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    shipped = (root() / _CONFIG).read_text("utf-8")
    return f"{shipped}\n(() => {{\n'use strict';\n{scripts}}})();\n"


def serve(path: str) -> Response:
    """Return a file of OHIF, or the start page for addresses of its other pages.

    Raises:
        NotFoundError: OHIF has no such file.
    """
    if path == _CONFIG:
        return Response(config(), media_type="text/javascript", headers=_NO_CACHE)
    file = (root() / path).resolve()
    if not (file.is_relative_to(root()) and file.is_file()):
        if Path(path).suffix in (".js", ".css", ".wasm", ".png", ".svg", ".json", ".map"):
            raise NotFoundError(f"OHIF has no file '{path}'")
        file = root() / _PAGE
    if (text := patched(file)) is not None:
        return Response(text, media_type="text/javascript", headers=_NO_CACHE)
    headers = _NO_CACHE if file.name == _PAGE else None
    return FileResponse(file, media_type=get_mime_type(str(file)), headers=headers)
