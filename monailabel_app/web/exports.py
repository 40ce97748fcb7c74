"""`POST /infer/<model>?output=NAME`: an answer as one file of what can be taken away from it.

The names are those of `lib.exports.formats.EXPORTS`, beside MONAI Label's own, of which DICOM SEG
is made here too. "table.parquet" names another suffix than a row's first.
"""

from __future__ import annotations

import inspect
from enum import Enum
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse, Response
from monailabel.endpoints.infer import ResultType
from monailabel.interfaces.tasks.infer_v2 import InferTask

from infer.segmentation import SegmentationInfer
from lib.errors import InputError
from lib.exports.formats import EXPORTS, media_type, read_name, read_names
from monailabel_app.services import AppServices
from monailabel_app.web.dicom_seg import DICOM_SEG, answer_as_seg, image_of
from monailabel_app.web.objects import read_object

_NAMES = (
    *EXPORTS,
    *(f"{name}{suffix}" for name, row in EXPORTS.items() for suffix in row.suffixes),
)
MADE_HERE = {DICOM_SEG, *_NAMES}
_Output = Enum(  # type: ignore[misc]
    "_Output", {name: name for name in (*(one.value for one in ResultType), *_NAMES)}, type=str
)


def with_outputs(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature of an endpoint whose ``output``, if it has one, may name exports."""
    parameters = [
        one.replace(annotation=_Output | None) if one.annotation == ResultType | None else one
        for one in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters)


def check_exports(task: InferTask, model: str, params: dict[str, Any]) -> None:
    """Refuse exports of a batch that a model cannot have; and a function, which no client sends.

    Raises:
        InputError: an unknown export, or the model does not segment with a trained network.
    """
    params.pop("exporter", None)
    if read_names(params.get("exports")) and not isinstance(task, SegmentationInfer):
        raise InputError(
            f"'{model}' has no exports, it does not segment with a trained network; leave them away"
        )


def answer_as_file(app: AppServices, arguments: dict[str, Any]) -> Response:
    """Return a model's answer as one file.

    Args:
        arguments: the checked arguments of the endpoint, with an ``output`` of `MADE_HERE`.

    Raises:
        InputError: the model, or the image, has no such export.
    """
    output = arguments["output"].value
    name, suffix = read_name(output)
    if name == DICOM_SEG:
        return answer_as_seg(app, arguments)
    model = arguments["model"]
    if not isinstance(app.require_model(model), SegmentationInfer):
        raise InputError(
            f"'{model}' has no output '{output}', it does not segment with a trained network; ask "
            f"for output=all, image, json or dicom_seg"
        )
    params = read_object("params", arguments.get("params"))
    params = {**params, "exports": [output], "result_extension": ".tif"}
    with image_of(app, arguments) as (image, _):
        answer = app.infer({**params, "model": model, "image": image})
    Path(answer["file"]).unlink()
    _, _, key, file = answer["params"]["exports"][name].split("/")
    found = app.result_files.find(key, file)
    return FileResponse(found, media_type=media_type(name, suffix), filename=file)
