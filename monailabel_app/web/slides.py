"""`POST /infer/wsi/<model>`: outlines in a region of a slide, as asked by QuPath's extension.

MONAI Label's own (0.8.5) opens slides with OpenSlide and answers them tile by tile. Here the region
is cut out of the image and answered as one, by the same path as `POST /infer/<model>`.
"""

from __future__ import annotations

import inspect
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi.responses import Response
from fastapi.routing import APIRoute

from infer.clicks import ClickInfer
from infer.segmentation import SegmentationInfer
from lib.errors import InputError, parse_switch, shown
from lib.exports.slide_annotations import FORMS, SlideAnnotations, rings_of
from lib.interactive.prompts import NEGATIVE, POSITIVE
from lib.io.crop import write_rectangle
from monailabel_app.services import AppServices
from monailabel_app.studies.fitting import check_fit
from monailabel_app.web.dicom_seg import image_of
from monailabel_app.web.objects import read_object
from monailabel_app.web.parameters import INFER, clicked, read_parameters
from monailabel_app.web.uploads import require_source

SLIDES = ("wsi_infer.api_run_wsi_inference", "wsi_infer.api_run_wsi_v2_inference")  # endpoints
# QuPath's extension does not say that it sends JSON, which FastAPI asks for from 0.132 on
_STRICT = "strict_content_type"
ANY_TYPE: dict[str, Any] = (
    {_STRICT: False} if _STRICT in inspect.signature(APIRoute).parameters else {}
)
REGION = "wsi"  # the argument of a request
MOST_SIDE = 2**31
_EXPORT = "geojson"


def read_region(text: Any) -> dict[str, Any]:
    """Return what a request says of the region, checked.

    Args:
        text: JSON, or MONAI Label's ``WSIInput``.

    Returns:
        ``location`` and ``size``, x first, ``min_poly_area`` and ``params``. ``tile_size`` counts
        for nothing: tiles are those of `POST /infer/<model>`.

    Raises:
        InputError: no JSON object, no whole numbers, or another level than the full size.
    """
    found = text.model_dump() if hasattr(text, "model_dump") else read_object(REGION, text)
    if found.get("level"):
        raise InputError(
            f"level {shown(found['level'])} is not answered, expected 0, the full size; give "
            f"location and size in its pixels"
        )
    params = found.get("params")
    if params is not None and not isinstance(params, dict):
        raise InputError(f"params must be a JSON object, found {type(params).__name__}")
    least = found.get("min_poly_area")
    if least is not None and not (type(least) is int and 0 <= least < MOST_SIDE):
        raise InputError(f"min_poly_area '{shown(least)}': expected a whole number of pixels")
    return {
        "location": _pair("location", found.get("location"), -MOST_SIDE),
        "size": _pair("size", found.get("size"), 0),
        "min_poly_area": least or 0,
        "params": params or {},
    }


def _pair(name: str, value: Any, least: int) -> tuple[int, int]:
    if value is None:
        return 0, 0
    pair = list(value) if isinstance(value, (list, tuple)) else []
    if len(pair) != 2 or not all(type(one) is int and least <= one < MOST_SIDE for one in pair):
        raise InputError(
            f"{name} '{shown(value)}': expected two whole numbers"
            f"{'' if least else ' from 0'}, x first, as in [0, 0]"
        )
    return pair[0], pair[1]


def check_slide(app: AppServices, arguments: dict[str, Any]) -> None:
    """Check a request before its model gets its turn; ``wsi`` becomes what `read_region` returns.

    Raises:
        InputError: a model that answers no regions, or a parameter of another type, or one that
            would store a label.
    """
    name = arguments["model"]
    model = app.require_model(name)
    if not isinstance(model, SegmentationInfer) or model.task.image_dims == 3:
        raise InputError(
            f"'{name}' answers no regions of slides; choose a model that segments 2D images"
        )
    region = read_region(arguments.get(REGION))
    table = clicked([*model.labels]) if isinstance(model, ClickInfer) else INFER
    params = read_parameters(region["params"], table)
    if params.get("label_tag") or parse_switch(params.get("save_label"), "save_label"):
        raise InputError(
            f"label_tag and save_label store a label of a whole image, this answers a region; ask "
            f"with POST /infer/{name}"
        )
    require_source(app, arguments)
    arguments[REGION] = {**region, "params": params}


def answer_slide(app: AppServices, arguments: dict[str, Any]) -> Response:
    """Return the outlines of what a model finds in a region.

    Args:
        arguments: the checked arguments of the endpoint; ``wsi`` as `read_region` returns it.

    Raises:
        InputError: the image cannot be read, or the region lies outside of it.
    """
    start, name, region = time.perf_counter(), arguments["model"], arguments[REGION]
    model, params = app.require_model(name), region["params"]
    media_type, write = FORMS[getattr(arguments.get("output"), "value", None) or "json"]
    with image_of(app, arguments) as (id, files), tempfile.TemporaryDirectory() as folder:
        path, stored = files[0], not Path(id).is_absolute()
        check_fit(model, app.datastore(), id if stored else "", path, params)
        channel = str(params.get("channel") or "")
        place = region["location"], region["size"]
        file, (rows, columns) = write_rectangle(path, *place, channel, Path(folder))
        if file != path:
            params = _moved({**params, "channel": ""}, (columns.start, rows.start))
        request = {**params, "model": name, "image": id if file == path else str(file)}
        features = _features(app, request)
    location = columns.start, rows.start
    found = SlideAnnotations(
        model=name,
        description=model.description,
        location=location,
        size=(columns.stop - columns.start, rows.stop - rows.start),
        rings=rings_of(features, location, region["min_poly_area"]),
        seconds=time.perf_counter() - start,
    )
    return Response(write(found), media_type=media_type)


def _moved(params: dict[str, Any], location: tuple[int, int]) -> dict[str, Any]:
    """Return parameters whose clicks are counted from the first pixel of the region."""
    moved = dict(params)
    for key in (POSITIVE, NEGATIVE):
        points = params.get(key)
        if isinstance(points, list) and points:
            try:
                moved[key] = [[x - location[0], y - location[1]] for x, y, *_ in points]
            except (TypeError, ValueError):
                raise InputError(
                    f"{key} {shown(points)}: expected points of two numbers, as in [[10, 20]]"
                ) from None
    return moved


def _features(app: AppServices, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a model's answer as features of GeoJSON."""
    asked = {"exports": [_EXPORT], "result_extension": ".tif", "result": "mask"}
    answer = app.infer({**request, **asked})
    Path(answer["file"]).unlink()
    _, _, key, file = answer["params"]["exports"][_EXPORT].split("/")
    content = json.loads(app.result_files.find(key, file).read_bytes())
    features: list[dict[str, Any]] = content["features"]
    return features
