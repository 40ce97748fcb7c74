"""OHIF as the monailabel wheel ships it, with this app's mode and panel, without a new build.

MONAI Label (0.8.5) joins paths with `os.pathsep`, so it answers with the start page for files in
folders, and its mode opens CT and MR only. OHIF reads `app-config.js` before it starts: the scripts
in the folder `ohif` are appended to it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from fastapi.responses import Response
from monailabel.endpoints import ohif
from monailabel.utils.others.generic import get_mime_type

from lib.errors import NotFoundError, shown
from monailabel_app.viewers.compressed import PackedFile, PackedText
from monailabel_app.viewers.ohif_patches import patched

SCRIPTS = (  # `sections` before all that add one
    "server",
    "nrrd",
    "images",
    "mammograms",
    "hanging",
    "labelmaps",
    "icons",
    "style",
    "sections",
    "study_list",
    "refusals",
    "waiting",
    "density",
    "layers",
    "tissue",
    "overlay",
    "structures",
    "plane",
    "undo",
    "scribbles",
    "clicks",
    "click_objects",
    "drawing",
    "armed",
    "shortcuts",
    "image_section",
    "run_section",
    "answer_section",
    "density_section",
    "tools_section",
    "look_section",
    "cine",
    "frame_ranges",
    "submit_section",
    "download_section",
    "questions",
    "label_layers",
    "unsaved",
    "saved_section",
    "train_section",
    "reading_section",
    "panel",
    "mode",
)
_CONFIG, _PAGE = "app-config.js", "index.html"
_HERE = Path(__file__).parent / "ohif"
_NO_CACHE = {"Cache-Control": "no-cache"}  # browsers ask again, so an update of the app is seen
# a name with a hash of the content: browsers keep the 20 MB of OHIF, and what they compiled of it
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
_HASHED = re.compile(r"(.+\.)?[0-9a-f]{16,}\.(js|wasm)")
_UPLOAD = "window.config.dataSources[0].configuration.dicomUploadEnabled = false;"


def root() -> Path:
    """Return the folder of the OHIF that the wheel ships."""
    return Path(ohif.__file__).resolve().parent / "static" / "ohif"


@cache
def config(uploads: bool = True) -> str:
    """Return OHIF's configuration followed by this app's scripts, all in one scope.

    Args:
        uploads: whether the list of studies offers to store DICOM files.
    """
    scripts = "\n".join((_HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    shipped = (root() / _CONFIG).read_text("utf-8")
    shipped += "" if uploads else f"\n{_UPLOAD}"
    return f"{shipped}\n(() => {{\n'use strict';\n{scripts}}})();\n"


def serve(path: str, uploads: bool = True) -> Response:
    """Return a file of OHIF, or the start page for addresses of its other pages.

    Args:
        uploads: see `config`.

    Raises:
        NotFoundError: OHIF has no such file.
    """
    if path == _CONFIG:
        return PackedText(config(uploads), "text/javascript", _NO_CACHE)
    file = _find(path)
    if file is None:
        if Path(path).suffix in (".js", ".css", ".wasm", ".png", ".svg", ".json", ".map"):
            raise NotFoundError(f"OHIF has no file '{shown(path)}'")
        file = root() / _PAGE
    media_type = get_mime_type(str(file))
    if (text := patched(file)) is not None:
        return PackedText(text, media_type, _NO_CACHE)
    kept = _KEPT if _HASHED.fullmatch(file.name) else None
    return PackedFile(file, media_type=media_type, headers=kept)


def _find(path: str) -> Path | None:
    """Return a file of OHIF; None where there is none, or could be none of such a name."""
    try:
        file = (root() / path).resolve()
        return file if file.is_relative_to(root()) and file.is_file() else None
    except (OSError, ValueError):
        return None
