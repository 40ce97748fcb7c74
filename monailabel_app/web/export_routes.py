"""Routes for what is taken away: of a label as a viewer shows it, and of the last batch."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
from fastapi import APIRouter, Depends, File, Form, UploadFile
from fastapi.responses import FileResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.dicom.sources import read_sources
from lib.errors import InputError, shown
from lib.exports.answer import answer_of_label
from lib.exports.formats import EXPORTS, media_type, read_name
from lib.image import MAX_VOXELS
from lib.io.channels import Chooser
from lib.io.labels import read_label
from lib.io.read import extension, read_image
from lib.mammography.mammogram import is_dicom
from monailabel_app import __version__
from monailabel_app.batch_exports import ADDRESS, BatchExports
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.web.dicom_seg import DICOM_SEG
from monailabel_app.web.objects import read_object
from monailabel_app.web.parameters import LABEL_EXPORT, read_parameters
from monailabel_app.web.uploads import take_name

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_NRRD = ".nrrd"


def exports_router(
    app: AppServices, answer: Callable[[Callable[[], Any]], Any], cheap: Lane, changes: Lane
) -> APIRouter:
    """Return the routes.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        cheap, changes: the threads for what is sent at once, and for what takes longer.
    """
    router = APIRouter()
    written = BatchExports(app.config.model_dir)

    @router.post("/viewer/export", response_class=Response, tags=["Viewer"])
    @changes.wrap
    def export(
        image: str,
        output: str,
        label: UploadFile = File(...),  # noqa: B008
        params: str = Form("{}"),
        user: User = _USER,
    ) -> Any:
        """Return a label of an image as one file: a table, outlines, an overlay or DICOM SEG.

        ``output`` as of POST /infer. The label is an NRRD on the grid of the image. Parameters:
        ``labels``, the value of each structure by its name, and ``model``, which made it. Nothing
        is stored. Objects are the connected parts of each structure.
        """
        return answer(lambda: _of_label(app, image, output, label, params))

    @router.get(f"{ADDRESS}/{{model}}", tags=["Infer"])
    @cheap.wrap
    def listed(model: str, user: User = _USER) -> Any:
        """List the exports of a model's last batch: path by name."""

        def found() -> dict[str, str]:
            app.model_file(model, validate=False)  # refuses unknown models
            return written.listed(model)

        return answer(found)

    @router.get(f"{ADDRESS}/{{model}}/{{name}}", response_class=FileResponse, tags=["Infer"])
    @cheap.wrap
    def fetched(model: str, name: str, user: User = _USER) -> Any:
        """Download an export of a model's last batch."""

        def found() -> FileResponse:
            app.model_file(model, validate=False)
            file = written.find(model, name)
            return FileResponse(file, filename=f"{model}_{file.name}")

        return answer(found)

    return router


def _of_label(app: AppServices, uid: str, output: str, label: UploadFile, params: str) -> Response:
    """Return an export of a label that was sent.

    Raises:
        InputError: no such image or export, no NRRD of its grid, values without a name, or the
            image is not DICOM where it has to be.
    """
    name, suffix = read_name(output)
    options = read_parameters(read_object("params", params), LABEL_EXPORT)
    labels, model = options.get("labels"), str(options.get("model", ""))
    if not labels:
        raise InputError("labels: expected the value of each structure by its name, found none")
    sent = take_name(label, "label")
    if extension(str(label.filename)) != _NRRD:
        raise InputError(f"label '{shown(sent)}' is no NRRD file; send the label as label.nrrd")
    store = app.datastore()
    id, channel = store.image_of(uid), store.channel_of(uid)
    path = store.files([id])[id]
    with TemporaryDirectory(prefix="request-") as folder:
        file = Path(folder, f"label{_NRRD}")
        with open(file, "wb") as kept:
            shutil.copyfileobj(label.file, kept)
        image = read_image(path, MAX_VOXELS, None, channel)
        drawn = read_label(file, image)
    unnamed = sorted(set(np.unique(drawn).tolist()) - {0, *labels.values()})
    if unnamed:
        raise InputError(f"labels: no name for the value {unnamed[0]} of the label")
    found = answer_of_label(image, drawn, labels, model, __version__)
    if name == DICOM_SEG:
        content = _seg(store.sources(id), found.label, labels, model, image.channel)
    else:
        row = EXPORTS[name]
        content = row.content([row.take(found)], suffix)
    headers = {"Content-Disposition": f'attachment; filename="{name}{suffix}"'}
    return Response(content, 200, headers, media_type(name, suffix))


def _seg(
    files: list[Path], label: np.ndarray, labels: dict[str, int], model: str, channel: str
) -> bytes:
    if others := [file.name for file in files if not is_dicom(file)]:
        raise InputError(
            f"{others[0]} is no DICOM image, so no DICOM segmentation can refer to it; choose "
            f"another export"
        )
    sources = read_sources(files, Chooser(channel) if channel else None)
    seg = make_seg(label, sources, labels, Author(model, "", "", __version__), too_many="merge")
    content = io.BytesIO()
    pydicom.dcmwrite(content, seg, enforce_file_format=True)
    return content.getvalue()
