"""Every output of every kind of model on every kind of image: of its type, or with a reason."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from benchmarks.speed.serving import Server
from fuzz.playground import FRAME, LOOP, MAMMOGRAM, PICTURES, UNTRAINED, VOLUME, served
from lib.dicom.seg.read import read_segments

SEGMENTS, CLICKS, VOLUMES = "nuclei_vhllrhe", "busi_click", "ultrasound3d_vnet"
DENSITY, REGION, SCRIBBLES = "density_birads", "region_click", "scribbles"
MODELS = (SEGMENTS, CLICKS, VOLUMES, DENSITY, REGION, SCRIBBLES, UNTRAINED, "unknown", "")
OUTPUTS = ("image", "json", "all", "dicom_seg", None, "unknown")
STORED = (PICTURES[0], VOLUME, FRAME, LOOP, MAMMOGRAM)
SENT = (f"{PICTURES[0]}.png", f"{FRAME}.dcm", f"{LOOP}.dcm", "session", "session of two", "text")
MARKED = {"foreground": [[5, 5, 0]]}
PARAMS: tuple[dict[str, Any], ...] = (
    *({"save_label": True, "label_tag": "other"}, {"label_tag": "other"}, {"save_label": "yes"}),
    *({"result": "instances"}, {"result": ["mask", "instances"]}, {"result": "boxes"}),
    *({"channel": 1}, {"channel": "red"}, {"channel": ""}, {"flips": True}, {"flips": [False]}),
    *({"diameter": 30}, {"diameter": [0]}, {"diameter": ""}, {"diameter": "1e999"}),
    *({"device": "cpu"}, {"device": ["cpu", "cuda"]}, {"device": "cuda"}, {"saliency": "gradcam"}),
    *({"result_extension": ".nrrd"}, {"result_extension": "png"}, {"result_dtype": "uint16"}),
    *({"label_info": [{"name": "nuclei", "id": 1}]}, {"roi": [2, 20, 2, 20, 0, 0]}, {"slice": 1}),
    *({"unheard of": {"a": 1}, "largest_cc": False}, {"lesion": [[5, 5, 0]]}, {"label": "cyst"}),
)
TYPES = {
    "image": ("image/png", "application/octet-stream", "image/tiff", "application/gzip"),
    "json": ("application/json",),
    "all": ("multipart/form-data",),
    None: ("multipart/form-data",),
    "dicom_seg": ("application/dicom",),
}
US_OR_UNKNOWN = tuple(image for image in STORED if image != MAMMOGRAM)
ALWAYS = {SEGMENTS: STORED, CLICKS: US_OR_UNKNOWN, REGION: STORED, VOLUMES: (VOLUME, LOOP)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as running:
        yield running


@pytest.fixture(scope="module")
def studies(folder: Path, server: Server) -> Path:
    return folder / "studies"


@pytest.fixture(scope="module")
def sessions(server: Server, studies: Path) -> dict[str, str]:
    """The ids of a session with one image, and of one with two."""
    found = {}
    for name, files in (("session", SENT[:1]), ("session of two", SENT[:2])):
        parts = [("files", (file, (studies / file).read_bytes())) for file in files]
        reply = requests.put(f"{server.url}/session/", files=parts, timeout=60)
        assert reply.ok, reply.text
        found[name] = reply.json()["session_id"]
    return found


@pytest.fixture
def ask(server: Server, sessions: dict[str, str], studies: Path):
    """Ask for an answer on a stored or sent image, and check whatever comes."""

    def ask(model: str, image: str, output: str | None, params: dict[str, Any]) -> int:
        query = {"output": output} if output else {}
        files = {}
        if image in sessions:
            query["session_id"] = sessions[image]
        elif image in SENT:
            file = studies / image
            files["file"] = (image, file.read_bytes() if file.exists() else b"no image")
        else:
            query["image"] = image
        reply = requests.post(
            f"{server.url}/infer/{model}",
            params=query,
            data={"params": json.dumps(params)},
            files=files,
            timeout=300,
        )
        what = f"{model} on {image} as {output}, {params}: {reply.status_code} {reply.text[:300]}"
        if reply.ok:
            assert reply.headers["content-type"].startswith(TYPES[output]), what
            _check(output, reply)
        else:
            assert 400 <= reply.status_code < 500, what
            detail = reply.json()["detail"]
            assert isinstance(detail, str) and detail.isprintable() and len(detail) > 8, what
            if output in TYPES and output != "dicom_seg" and not set(params) - {"foreground"}:
                assert image not in ALWAYS.get(model, ()), what
        return reply.status_code

    return ask


def _check(output: str | None, reply: requests.Response) -> None:
    if output == "json":
        assert isinstance(reply.json()["label_names"], dict)
    elif output == "dicom_seg":
        assert read_segments(pydicom.dcmread(io.BytesIO(reply.content))) is not None
    else:
        assert reply.content


@pytest.mark.parametrize("model", MODELS)
def test_every_output_of_every_image_is_answered_or_refused_with_the_reason(ask, model: str):
    params = MARKED if model in (CLICKS, REGION) else {}
    statuses = [
        ask(model, image, output, params) for image, output in product((*STORED, *SENT), OUTPUTS)
    ]
    assert (200 in statuses) == (model in ALWAYS or model == DENSITY)


@pytest.mark.parametrize("model", [SEGMENTS, CLICKS, REGION, VOLUMES, DENSITY, SCRIBBLES])
def test_every_parameter_of_every_model_is_taken_or_refused_with_the_reason(ask, model: str):
    image = MAMMOGRAM if model == DENSITY else VOLUME if model == VOLUMES else PICTURES[0]
    for params in PARAMS:
        ask(model, image, "json", {**MARKED, **params})


@pytest.mark.parametrize("image", [FRAME, LOOP, MAMMOGRAM])
def test_what_clicks_outline_is_a_dicom_segmentation_too(ask, image: str):
    assert ask(REGION, image, "dicom_seg", MARKED) == 200
    assert ask(REGION, image, "dicom_seg", {**MARKED, "label_name": "cyst"}) == 200
    assert ask(CLICKS, image, "dicom_seg", {"any_modality": True}) == 200
