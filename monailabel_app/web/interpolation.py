"""The route that fills a label between the slices, or frames, in which somebody drew it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, File, Form, UploadFile
from fastapi.responses import Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.errors import InputError
from lib.interactive.interpolation import fill_between
from lib.io.layers import read_label_file
from lib.io.masks import write_mask
from lib.io.read import extension
from monailabel_app.lane import Lane
from monailabel_app.web.objects import read_object
from monailabel_app.web.parameters import INTERPOLATION, read_parameters
from monailabel_app.web.uploads import take_name

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_NRRD = ".nrrd"


def interpolation_router(answer: Callable[[Callable[[], Any]], Any], lane: Lane) -> APIRouter:
    """Return the route.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        lane: the threads for it.
    """
    router = APIRouter(tags=["Viewer"])

    @router.post("/viewer/interpolate", response_class=Response)
    @lane.wrap
    def interpolate(
        label: UploadFile = File(...),  # noqa: B008
        params: str = Form("{}"),
        user: User = _USER,
    ) -> Any:
        """Return a label with structures filled in between the slices in which they are drawn.

        The label is an NRRD of a volume or a loop, and so is the answer. Parameters: ``values`` of
        the structures, all if left out; ``keys``, the indices from 0 of the slices that count as
        drawn, all that hold the structure if left out. Nothing is stored.
        """
        return answer(
            lambda: Response(_filled(label, params), media_type="application/octet-stream")
        )

    return router


def _filled(label: UploadFile, params: str) -> bytes:
    """Return the file of a filled label.

    Raises:
        InputError: no NRRD, a wrong parameter, or nothing to fill between.
    """
    options = read_parameters(read_object("params", params), INTERPOLATION)
    sent = take_name(label, "label")
    if extension(str(label.filename)) != _NRRD:
        raise InputError(f"label '{sent[:60]}' is no NRRD file; send the label as label.nrrd")
    with TemporaryDirectory(prefix="request-") as folder:
        file = Path(folder, f"label{_NRRD}")
        with open(file, "wb") as kept:
            shutil.copyfileobj(label.file, kept)
        drawn = read_label_file(file, 3)
        filled = fill_between(drawn.pixels, options.get("values", ()), options.get("keys", ()))
        return write_mask(file, filled, drawn.geometry, np.dtype(np.uint8)).read_bytes()
