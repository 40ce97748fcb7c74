"""Scribbles and clicks through the real server, with the client library of 3D Slicer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from server_support import MODEL, Server
from test_clients import slicer_library

IMAGE = "fluorescence_000"


@pytest.fixture
def client(calm: Server, tmp_path: Path) -> Any:
    return slicer_library().MONAILabelClient(calm.url, tmpdir=str(tmp_path), client_id="tester")


@pytest.fixture
def nuclei(server: Server) -> np.ndarray:
    return np.array(Image.open(server.studies / "labels" / "final" / f"{IMAGE}.png"))


def one_of(nuclei: np.ndarray) -> np.ndarray:
    """Return the largest nucleus."""
    sizes = np.bincount(nuclei.ravel())
    sizes[0] = 0
    return nuclei == sizes.argmax()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def read(file: str) -> np.ndarray:
    return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))


def test_slicer_lists_both_beside_the_trained_models(client: Any) -> None:
    info = client.info()
    assert info["models"]["scribbles"]["type"] == "scribbles"
    assert info["models"]["region_click"]["type"] == "deepgrow"
    assert info["labels"] == ["nuclei"]
    assert not {"scribbles", "region_click"} & set(info["trainers"])


def test_a_click_in_slicer_draws_the_nucleus(client: Any, nuclei: np.ndarray) -> None:
    target = one_of(nuclei)
    rows, columns = np.nonzero(target)
    point = [round(columns.mean()), round(rows.mean()), 0]
    params = {"label": "nuclei", "foreground": [point], "background": [], "reset_state": True}
    file, summary = client.infer(
        "region_click", IMAGE, {**params, "result_extension": ".nrrd", "result_dtype": "uint8"}
    )
    assert summary["label_names"] == {"nuclei": 1}
    assert dice(read(file) == 1, target) > 0.7


def test_scribbles_in_slicer_add_a_nucleus_to_an_answer(
    client: Any, nuclei: np.ndarray, tmp_path: Path
) -> None:
    target, truth = one_of(nuclei), nuclei > 0
    rows, columns = np.nonzero(target)
    drawn = np.where(truth & ~target, 1, 0).astype(np.uint8)
    middle = round(columns.mean())
    drawn[round(rows.mean()), middle - 2 : middle + 3] = 3
    sitk.WriteImage(sitk.GetImageFromArray(drawn[np.newaxis]), str(tmp_path / "scribbles.nii.gz"))
    names = ["nuclei", "background_scribbles", "foreground_scribbles"]
    params = {
        "roi": [],
        "label_info": [{"name": name, "id": value} for value, name in enumerate(names, start=1)],
        "selected_label_name": "nuclei",
        "result_extension": ".nrrd",
    }
    file, _ = client.infer("scribbles", IMAGE, params, str(tmp_path / "scribbles.nii.gz"))
    assert dice(read(file) == 1, truth) > dice(drawn == 1, truth)


@pytest.mark.parametrize(
    ("model", "params", "name", "words"),
    [
        ("scribbles", {}, None, "foreground scribble"),
        ("scribbles", {}, "raw.bin", "no label image"),
        ("scribbles", {}, "broken.png", "damaged"),
        ("scribbles", {"label": "/etc/hostname"}, None, "may not hold 'label'"),
        ("region_click", {"foreground": [[9999, 0, 0]]}, None, "outside"),
        ("region_click", {"label": ["x"], "foreground": [[1, 1, 0]]}, None, "may not hold 'label'"),
        (MODEL, {"label": "x"}, None, "may not hold 'label'"),
    ],
)
def test_wrong_requests_are_refused_with_the_reason(
    calm: Server, model: str, params: dict[str, Any], name: str | None, words: str
) -> None:
    files = {"label": (name, b"\x01\x02\x03")} if name else None
    reply = calm.post(
        f"/infer/{model}", params={"image": IMAGE}, data={"params": json.dumps(params)}, files=files
    )
    assert reply.status_code == 400
    assert words in reply.json()["detail"]


def test_a_batch_of_what_needs_marks_is_refused(calm: Server) -> None:
    reply = calm.post("/batch/infer/scribbles", params={"run_sync": True}, json={})
    assert reply.status_code == 400
    assert "marked in one image" in reply.json()["detail"]


def test_there_are_no_weights_to_fetch(calm: Server) -> None:
    assert calm.get("/model/scribbles").status_code == 404
