"""Wrong names and parameters: a 4xx that names the cause, and a server that stays up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from server_support import MODEL, QUICK, UNTRAINED, Server, assert_refused, write_png

IMAGE = "fluorescence_000"


def test_an_unknown_model_is_named_with_the_nearest_one(calm: Server) -> None:
    wrong = "nuclei_vhllhre"
    for response in (
        calm.post(f"/infer/{wrong}", params={"image": IMAGE}),
        calm.post(f"/train/{wrong}", json={}),
        calm.post(f"/batch/infer/{wrong}", json={}),
        calm.get(f"/model/{wrong}"),
        calm.get(f"/model/info/{wrong}"),
        calm.delete(f"/model/{wrong}"),
        calm.put(f"/model/{wrong}", files={"file": ("w.pt", b"x")}),
    ):
        assert_refused(response, 404, wrong, MODEL)


def test_a_model_without_weights_answers_409_and_says_what_to_do(calm: Server) -> None:
    response = calm.post(f"/infer/{UNTRAINED}", params={"image": IMAGE})
    assert_refused(response, 409, UNTRAINED, "no weights", "train")
    assert_refused(calm.post(f"/batch/infer/{UNTRAINED}", json={}), 409, "no weights")
    assert_refused(calm.get(f"/model/{UNTRAINED}"), 404, UNTRAINED)
    assert_refused(calm.get(f"/model/info/{UNTRAINED}"), 404, UNTRAINED)


def test_an_unknown_image_is_named(calm: Server) -> None:
    assert_refused(calm.infer("nobody"), 404, "nobody")
    for path in ("/datastore/image", "/datastore/image/info"):
        assert_refused(calm.get(path, params={"image": "nobody"}), 404, "nobody")
    assert_refused(calm.delete("/datastore/image", params={"id": "nobody"}), 404, "nobody")
    gone = calm.delete("/datastore/label", params={"id": "nobody", "tag": "final"})
    assert_refused(gone, 404, "nobody")
    assert (
        calm.get("/datastore/label", params={"label": "nobody", "tag": "final"}).status_code == 404
    )
    assert calm.request("HEAD", "/datastore/image", params={"image": "nobody"}).status_code == 404


def test_an_inference_of_nothing_says_what_to_give(calm: Server) -> None:
    assert_refused(calm.post(f"/infer/{MODEL}"), 400, "image id", "file")


def test_unknown_strategies_and_scoring_methods_are_named(calm: Server) -> None:
    assert_refused(calm.post("/activelearning/randm", json={}), 404, "strategy", "randm", "random")
    override = calm.post("/activelearning/random", json={"strategy": "wish"})
    assert_refused(override, 404, "wish")
    assert_refused(calm.post("/scoring/dise", json={}), 404, "scoring method", "dise")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("{", ["params", "JSON"]),
        ("nonsense", ["params", "JSON"]),
        ("[1, 2]", ["JSON object", "list"]),
        ('"text"', ["JSON object", "str"]),
        ('{"image": "other"}', ["image"]),
        ('{"model": "other"}', ["model"]),
        ('{"label": "x"}', ["label"]),
        ('{"session": {"image": "x"}}', ["session"]),
        ('{"label_tag": "../../x", "save_label": true}', ["tag"]),
        ('{"result": "boxes"}', ["boxes", "instances", "mask"]),
        ('{"result": {"a": 1}}', ["result"]),
        ('{"result_extension": ".jpg"}', [".jpg", ".png"]),
        ('{"result_extension": {"a": 1}}', ["result_extension"]),
        ('{"result_dtype": "complex64"}', ["complex64", "uint16"]),
        ('{"device": "tpu"}', ["tpu", "cpu"]),
        ('{"device": "cuda:99"}', ["cuda:99"]),
        ('{"device": {"a": 1}}', ["device"]),
        ('{"flips": "sometimes"}', ["flips", "sometimes"]),
        ('{"diameter": "wide"}', ["diameter", "wide", "pixels"]),
        ('{"diameter": -3}', ["diameter", "-3"]),
        ('{"diameter": true}', ["diameter", "True"]),
        ('{"diameter": [[66]]}', ["diameter", "[66]"]),
        ('{"diameter": "nan"}', ["diameter", "nan"]),
        ('{"diameter": 66}', ["diameter", MODEL, "resamples no images"]),
    ],
)
def test_wrong_inference_parameters_are_named(calm: Server, params: str, words: list[str]) -> None:
    response = calm.infer(IMAGE, params)
    assert_refused(response, response.status_code, *words)
    assert response.status_code in (400, 404)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"epochs": 3}, ["epochs", "max_epochs"]),
        ({"max_epochs": "ten"}, ["max_epochs", "ten"]),
        ({"max_epochs": 0}, ["max_epochs", "at least 1"]),
        ({"max_epochs": {"a": 1}}, ["max_epochs"]),
        ({"max_epochs": float("inf")}, ["max_epochs"]),
        ({"learning_rate": "fast"}, ["learning_rate", "fast"]),
        ({"learning_rate": float("nan")}, ["learning_rate"]),
        ({"learning_rate": float("inf")}, ["learning_rate"]),
        ({"client_id": float("nan")}, ["NaN"]),
        ({"learning_rate": -1}, ["learning_rate"]),
        ({"train_batch_size": -8}, ["train_batch_size"]),
        ({"patch_size": 100}, ["patch_size", "multiple"]),
        ({"val_split": 1.5}, ["val_split"]),
        ({"val_split": 0}, ["val_split"]),
        ({"pretrained": "perhaps"}, ["pretrained", "perhaps"]),
        ({"device": "tpu"}, ["tpu"]),
        ({"device": "cuda:99"}, ["cuda:99"]),
        ({"name": "../../run"}, ["name"]),
        ({"seed": -1}, ["seed"]),
        ({"model": UNTRAINED}, ["model", UNTRAINED]),
    ],
    ids=str,
)
@pytest.mark.parametrize("run_sync", [True, False])
def test_wrong_training_parameters_are_refused_before_anything_starts(
    calm: Server, params: dict[str, Any], words: list[str], run_sync: bool
) -> None:
    response = calm.post(
        f"/train/{MODEL}",
        params={"run_sync": run_sync},
        data=json.dumps({**QUICK, **params}),
        headers={"content-type": "application/json"},
    )
    assert_refused(response, response.status_code, *words)
    assert response.status_code in (400, 404)
    assert calm.get("/train/", params={"check_if_running": True}).status_code == 404


@pytest.mark.parametrize("body", ["{", "[1]", '"x"'])
def test_a_training_request_that_is_no_object_is_refused(calm: Server, body: str) -> None:
    headers = {"content-type": "application/json"}
    response = calm.post(f"/train/{MODEL}", data=body, headers=headers)
    assert response.status_code in (400, 422) and response.json()["detail"]


@pytest.mark.parametrize(
    "params", ["{", "[1]", "5", '{"a": NaN}', '{"a": 1e999}', r'{"a": "\ud800"}']
)
def test_wrong_params_of_uploads_and_records_are_refused(
    calm: Server, tmp_path: Path, params: str
) -> None:
    file = write_png(tmp_path / "x.png", np.zeros((256, 256), np.uint8))
    before = calm.images()
    with open(file, "rb") as content:
        data = content.read()
    for response in (
        calm.put("/datastore/image", data={"params": params}, files={"file": ("x.png", data)}),
        calm.put(
            "/datastore/label",
            params={"image": IMAGE},
            data={"params": params},
            files={"label": ("x.png", data)},
        ),
        calm.put("/datastore/image/info", params={"image": IMAGE}, data={"info": params}),
        calm.put(
            "/datastore/label/info", params={"label": IMAGE, "tag": "final"}, data={"info": params}
        ),
    ):
        assert_refused(response, 400, "JSON" if "ud8" not in params else "surrogate")
    assert calm.images() == before


def test_the_whole_log_is_sent_as_it_was_read_while_it_grows(calm: Server) -> None:
    for lines in ({"lines": 0}, {"lines": 10**6, "text": True}):
        response = calm.get("/logs/", params=lines)
        assert response.headers["content-type"].startswith("text/plain")
        assert len(response.content) == int(response.headers["content-length"]) > 0
        assert "etag" not in response.headers  # no file whose size was looked up before it was read


def test_missing_logs_of_a_gpu_are_not_a_server_error(calm: Server) -> None:
    assert calm.get("/logs/gpu").status_code in (200, 404)


def test_a_reload_keeps_the_app_that_serves(calm: Server) -> None:
    assert calm.process is not None
    process = psutil.Process(calm.process.pid)
    nice = process.nice()
    assert calm.post("/reload").json() == {}
    response = calm.post(f"/train/{MODEL}", params={"run_sync": True}, json=QUICK)
    assert response.ok, response.text
    assert process.nice() == nice, "the server took itself for a training process"


def test_training_of_all_models_names_a_model_that_is_none(calm: Server) -> None:
    response = calm.post("/train/", params={"run_sync": True}, json={"nuclei_x": QUICK})
    assert_refused(response, 404, "nuclei_x")
    response = calm.post("/train/", params={"run_sync": True}, json={MODEL: {"epochs": 1}})
    assert_refused(response, 404, "epochs", "max_epochs")


def test_batch_inference_labels_the_unlabelled_images_on_a_cpu(calm: Server) -> None:
    params = {"label_tag": "batch", "device": "cpu"}
    response = calm.post(
        f"/batch/infer/{MODEL}", params={"images": "unlabeled", "run_sync": True}, json=params
    )
    assert response.ok, response.text
    assert set(response.json()) == {"fluorescence_006", "fluorescence_007"}
    for image in response.json():
        assert "batch" in calm.images()[image]["labels"]


def test_a_batch_without_a_tag_makes_the_originals_that_slicer_loads(calm: Server) -> None:
    query, params = {"run_sync": True}, {"images": ["fluorescence_006"]}
    assert calm.post(f"/batch/infer/{MODEL}", params=query, json=params).ok
    try:
        label = calm.images()["fluorescence_006"]["labels"]["original"]["info"]["params"]
        assert label["result"] == "mask" and label["label_names"] == {"nuclei": 1}
    finally:
        calm.delete("/datastore/label", params={"id": "fluorescence_006", "tag": "original"})


def test_a_batch_passes_over_what_it_cannot_read_and_repeats_nothing(calm: Server) -> None:
    torn = calm.studies / "torn.png"
    torn.write_bytes(b"\x89PNG but no more")
    calm.wait_for_image("torn")
    params = {"label_tag": "again", "images": ["fluorescence_006", "torn"]}

    def answer() -> dict[str, Any]:
        response = calm.post(f"/batch/infer/{MODEL}", params={"run_sync": True}, json=params)
        assert response.ok, response.text
        return response.json()

    try:
        first = answer()
        assert set(first) == {"fluorescence_006", "torn"}
        assert first["fluorescence_006"]["params"]["objects"] > 1
        assert "torn.png" in first["torn"]["error"]
        label = calm.images()["fluorescence_006"]["labels"]["again"]["info"]
        assert (
            label["params"]["model_version"] == first["fluorescence_006"]["params"]["model_version"]
        )
        assert set(answer()) == {"torn"}, "what was answered by this version was done again"
    finally:
        torn.unlink()
        calm.wait_for(lambda: "torn" not in calm.images(), "the end of a removed image")
