"""The whole annotation loop with both clients that users have: the stock one and 3D Slicer's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client import client as stock
from PIL import Image
from server_support import MODEL, QUICK, TRAINING_SECONDS, UNTRAINED, Server, discs, write_png

SLICER = Path("monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py")


def slicer_library() -> ModuleType:
    """Load the client library of the 3D Slicer plugin from the installed wheel."""
    spec = importlib.util.spec_from_file_location("slicer_client", Path(sys.prefix) / SLICER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["stock", "slicer"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def client(kind: str, server: Server, tmp_path: Path) -> Any:
    library = stock if kind == "stock" else slicer_library()
    return library.MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="tester")


def test_info_lists_the_model_as_a_segmentation_with_labels_and_description(client: Any) -> None:
    info = client.info()
    model = info["models"][MODEL]
    assert model["type"] == "segmentation"
    assert model["labels"] == {"nuclei": 1}
    assert "nuclei" in model["description"].lower()
    assert model["dimension"] == 2
    assert info["labels"] == ["nuclei"]
    assert {"random", "first", "uncertainty", "diversity"} < set(info["strategies"])
    assert {"dice", "uncertainty", "label_quality"} == set(info["scoring"])
    assert info["trainers"][MODEL]["config"]["max_epochs"]
    # Slicer shows a list as a choice and cannot show any but one of words
    choices = info["strategies"]["uncertainty"]["config"]
    for config in (model["config"], info["trainers"][MODEL]["config"], choices):
        for value in config.values():
            assert not isinstance(value, list) or all(isinstance(item, str) for item in value)


def test_a_model_without_weights_is_offered_as_a_trainer_only(client: Any) -> None:
    info = client.info()
    assert UNTRAINED not in info["models"]
    assert UNTRAINED in info["trainers"]


@pytest.mark.parametrize("strategy", ["random", "first", "uncertainty"])
def test_next_sample_names_an_unlabelled_image_of_the_studies(
    client: Any, server: Server, strategy: str
) -> None:
    sample = client.next_sample(strategy, {})
    assert sample["id"] in server.images()
    assert "final" not in server.images()[sample["id"]]["labels"]
    # its neighbours differ in numbers only: by its path Slicer would load all as one volume
    assert "path" not in sample and not any(letter.isdigit() for letter in sample["name"])


@pytest.mark.parametrize("extension", [None, ".nrrd", ".nii.gz", ".png"])
def test_infer_returns_a_mask_of_the_image_size_and_figures(client: Any, extension: str) -> None:
    params = {"result_extension": extension} if extension else {}
    file, figures = client.infer(MODEL, "fluorescence_000", params)
    assert file.endswith(extension or ".png")
    mask = sitk.ReadImage(file)
    assert mask.GetSize()[:2] == (256, 256)
    assert figures["objects"] > 1
    assert np.array_equal(np.unique(sitk.GetArrayFromImage(mask)), [0, 1])
    assert figures["label_names"] == {"nuclei": 1}
    assert 0 < figures["foreground"] < 1
    assert figures["latencies"]["total"] > 0
    assert figures["model_version"]


def test_objects_that_are_asked_for_are_named_each_by_its_value(client: Any) -> None:
    config = client.info()["models"][MODEL]["config"]
    assert config["result"] == ["mask", "instances"], "Slicer sends the first"
    file, figures = client.infer(
        MODEL, "fluorescence_000", {"result": "instances", "result_extension": ".nrrd"}
    )
    numbers = range(1, figures["objects"] + 1)
    assert figures["label_names"] == {f"nuclei {number}": number for number in numbers}
    values = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    assert np.array_equal(values, [0, *numbers])


def test_infer_accepts_the_lists_of_choices_that_slicer_sends_back(client: Any) -> None:
    config = client.info()["models"][MODEL]["config"]
    file, _ = client.infer(MODEL, "fluorescence_000", {**config, "result_extension": ".nrrd"})
    assert sitk.ReadImage(file).GetSize()[:2] == (256, 256)


def test_infer_takes_a_file_instead_of_an_image_id(client: Any, tmp_path: Path) -> None:
    file = write_png(tmp_path / "local.png", discs(100, 140))
    answer, figures = client.infer(MODEL, "", {"result_extension": ".nrrd"}, file=str(file))
    assert sitk.ReadImage(answer).GetSize()[:2] == (140, 100)
    assert figures["objects"] == (100 // 24) * (140 // 24)


def test_a_session_holds_an_uploaded_image_for_inference(client: Any, tmp_path: Path) -> None:
    file = write_png(tmp_path / "session.png", discs(96, 96))
    session = client.create_session(str(file))["session_id"]
    assert client.get_session(session)["image"].endswith("session.png")
    answer, _ = client.infer(MODEL, "", {"result_extension": ".nrrd"}, session_id=session)
    assert sitk.ReadImage(answer).GetSize()[:2] == (96, 96)
    client.remove_session(session)


@pytest.mark.parametrize("extension", [".png", ".nrrd"])
def test_a_saved_label_comes_back_as_it_was(
    client: Any, server: Server, kind: str, tmp_path: Path, extension: str
) -> None:
    image = "fluorescence_006"
    label = np.zeros((256, 256), dtype=np.uint16)
    label[10:20, 30:50] = 300 if kind == "stock" else 301
    if extension == ".png":
        Image.fromarray(label).save(tmp_path / "label.png")
    else:  # as Slicer writes it: a slice with a third axis
        sitk.WriteImage(sitk.GetImageFromArray(label[np.newaxis]), str(tmp_path / "label.nrrd"))
    reply = client.save_label(image, str(tmp_path / f"label{extension}"), params={"by": kind})
    assert (reply["image"], reply["label"]) == (image, image)
    try:
        listed = client.datastore()["objects"][image]["labels"]["final"]
        assert (listed["ext"], listed["info"]["by"]) == (extension, kind)
        back = client.download_label(image, "final")
        assert np.array_equal(np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(back))), label)
        files = {f.name for f in (server.studies / "labels" / "final").glob(f"{image}.*")}
        assert files == {f"{image}{extension}"}, "an answer of another file type was left behind"
    finally:
        server.delete("/datastore/label", params={"id": image, "tag": "final"})


def test_an_uploaded_image_is_listed_and_can_be_segmented(
    client: Any, server: Server, kind: str, tmp_path: Path
) -> None:
    file = write_png(tmp_path / "upload.png", discs(72, 72))
    name = f"uploaded_{kind}"
    assert client.upload_image(str(file), name)["image"] == name
    try:
        assert name in client.datastore()["objects"]
        assert client.infer(MODEL, name, {})[1]["objects"] == 9
    finally:
        server.delete("/datastore/image", params={"id": name})
    assert name not in client.datastore()["objects"]


def test_synchronous_training_answers_with_what_became_of_it(server: Server) -> None:
    reply = server.post(f"/train/{MODEL}", params={"run_sync": True}, json=QUICK)
    assert reply.ok, reply.text
    outcome = reply.json()
    assert isinstance(outcome["published"], bool)
    assert outcome["reason"] and outcome["version"]
    assert 0 < outcome["metrics"]["mean_iou"] <= 1
    assert outcome["training_cases"] + outcome["validation_cases"] == 6
    assert not outcome["train_stats"]["active"]
    versions = server.get(f"/model/info/{MODEL}").json()["versions"]
    assert [v["reason"] for v in versions if v["id"] == outcome["version"]] == [outcome["reason"]]


def test_training_shows_progress_and_stops_without_touching_the_live_model(
    client: Any, server: Server
) -> None:
    live = server.live_file.read_bytes()
    versions = server.get(f"/model/info/{MODEL}").json()["versions"]
    task = client.train_start(MODEL, {**QUICK, "max_epochs": 100000})
    assert task["status"] in ("SUBMITTED", "RUNNING")
    try:
        server.wait_for(
            lambda: "left" in " ".join(client.train_status().get("details", [])),
            "progress of the training",
            TRAINING_SECONDS,
        )
        status, stats = client.train_status(), client.info()["train_stats"][MODEL]
        assert "loss" in " ".join(status["details"])
        assert stats["active"]
        assert status["status"] == "RUNNING"
        assert client.train_status(check_if_running=True)
        assert 0 < stats["step"] < stats["total_steps"]
        assert stats["total_epochs"] == 100000
    finally:
        stopped = client.train_stop()
    assert stopped["status"] == "STOPPED"
    assert client.train_status()["status"] == "STOPPED"
    assert not client.train_status(check_if_running=True)
    server.wait_for(lambda: not server.train_stats()["active"], "the end of training")
    assert server.live_file.read_bytes() == live
    assert server.get(f"/model/info/{MODEL}").json()["versions"] == versions


def test_training_of_all_models_takes_the_parameters_of_each(server: Server) -> None:
    """3D Slicer may press Train without choosing a model."""
    reply = server.post("/train/", params={"run_sync": True}, json={MODEL: QUICK, UNTRAINED: QUICK})
    try:
        assert reply.ok, reply.text
        assert set(reply.json()) == {MODEL, UNTRAINED}
        outcome = reply.json()[UNTRAINED]["result"]
        first = "first weights" if outcome["published"] else "kept aside"
        assert first in outcome["reason"]
        assert (UNTRAINED in server.get("/info/").json()["models"]) == outcome["published"]
    finally:
        server.delete(f"/model/{UNTRAINED}")


def test_the_live_model_can_be_described_and_downloaded(server: Server) -> None:
    info = server.get(f"/model/info/{MODEL}").json()
    assert info["checksum"].startswith("SHA256:")
    assert info["modified_time"] > 0
    assert server.get(f"/model/{MODEL}").content == server.live_file.read_bytes()


def test_the_datastore_tells_how_much_is_labelled(server: Server) -> None:
    status = server.get("/datastore/").json()
    assert (status["total"], status["completed"]) == (8, 6)
    pairs = server.get("/datastore/", params={"output": "train"}).json()
    assert len(pairs) == 6
    assert all(Path(pair["image"]).is_file() and Path(pair["label"]).is_file() for pair in pairs)
