"""`POST /infer/<model>?output=dicom_seg`: an answer as DICOM segmentation of the image.

MONAI Label's own (0.8.5) works with its own class of archive only, and answers 500 without a
parameter that is not documented. Here it works on every DICOM image, of an archive or a folder or
uploaded.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from fastapi.responses import Response
from pydicom import Dataset

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.dicom.sources import Sources, read_sources
from lib.errors import InputError
from lib.io.channels import Chooser
from lib.io.labels import read_label
from lib.io.read import image_size
from lib.mammography.mammogram import is_dicom
from lib.segmentation.answer import INSTANCES
from monailabel_app import __version__
from monailabel_app.services import AppServices
from monailabel_app.web.objects import read_object

DICOM_SEG = "dicom_seg"


def answer_as_seg(app: AppServices, arguments: dict[str, Any]) -> Response:
    """Return a model's answer as DICOM segmentation.

    Args:
        arguments: the checked arguments of the endpoint.

    Raises:
        InputError: the image is not DICOM, or no segmentation can refer to it.
    """
    params = {**read_object("params", arguments.get("params")), "result_extension": ".nrrd"}
    model = arguments["model"]
    with image_of(app, arguments) as (image, files):
        if others := [file.name for file in files if not is_dicom(file)]:
            raise InputError(
                f"{others[0]} is no DICOM image, so no DICOM segmentation can refer to it; ask for "
                f"output=image"
            )
        sources = read_sources(files)
        answer = app.infer({**params, "model": model, "image": image})
        try:
            labels = app.require_model(model).labels
            if channel := answer["params"].get("channel"):
                sources = read_sources(files, Chooser(channel))
            seg = _seg(Path(answer["file"]), answer["params"], sources, model, labels)
        finally:
            Path(answer["file"]).unlink()
    content = io.BytesIO()
    pydicom.dcmwrite(content, seg, enforce_file_format=True)
    name = f'attachment; filename="{seg.SOPInstanceUID}.dcm"'
    return Response(content.getvalue(), 200, {"Content-Disposition": name}, "application/dicom")


@contextmanager
def image_of(app: AppServices, arguments: dict[str, Any]) -> Iterator[tuple[str, Sequence[Path]]]:
    """Yield the image, as its id or its file, and its DICOM files."""
    upload = arguments.get("file")
    if upload:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / (Path(upload.filename or "").name or "image")
            with open(file, "wb") as target:
                shutil.copyfileobj(upload.file, target)
            yield str(file), [file]
    elif arguments.get("session_id"):
        file = Path(app.sessions().get_session(arguments["session_id"]).image)
        yield str(file), [file]
    else:
        yield arguments["image"], app.datastore().sources(arguments["image"])


def _seg(
    label: Path, summary: dict[str, Any], sources: Sources, model: str, labels: Mapping[str, int]
) -> Dataset:
    """Return an answer as segmentation; a mask if there are more objects than segments allowed.

    Args:
        summary: of the answer, with ``label_names`` and ``model_version``.
        labels: of the model.
    """
    pixels = read_label(label, tuple(image_size(label)[::-1]))
    names, numbered = summary["label_names"], summary.get("result") == INSTANCES
    if answered := summary.get("class"):  # of an exam; the other classes would be empty segments
        names = {answered: names[answered]}
    author = Author(model, str(summary.get("model_version", "")), "", __version__)
    return make_seg(
        pixels, sources, labels if numbered else names, author, instances=numbered, too_many="merge"
    )
