"""Images of several channels on the server: the one asked for is answered, named, and stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from server_support import (
    MODEL,
    QUICK,
    Server,
    assert_refused,
    discs,
    read_itk,
    threshold_weights,
    write_png,
)
from test_clients import slicer_library

from lib.data.studies import list_items

CLICKED = "busi_click"
NUCLEI = discs(96, 144)
NAMES = ["GFP", "DAPI"]
ON = (36, 60)  # row and column of a disc's middle


def _write(path: Path, **layout: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 250, NUCLEI.shape).astype(np.uint8)
    channels = np.stack([noise, NUCLEI])
    if "Z" in layout["metadata"]["axes"]:
        channels = np.stack([channels] * 3)
    tifffile.imwrite(path, channels, photometric="minisblack", **layout)


@pytest.fixture(scope="module")
def stained(launch) -> Server:
    def prepare(server: Server) -> None:
        server.conf["models"] = f"{MODEL},{CLICKED}"
        for task in (MODEL, CLICKED):
            threshold_weights(server.model_dir / f"{task}.pt", task=task)
        named = {"axes": "CYX", "Channel": {"Name": NAMES}}
        _write(server.studies / "named.ome.tif", ome=True, metadata=named)
        _write(server.studies / "unnamed.tif", metadata={"axes": "CYX"})
        _write(server.studies / "slices.tif", metadata={**named, "axes": "ZCYX"})
        write_png(server.studies / "grey.png", NUCLEI)

    return launch(prepare)


@pytest.fixture
def client(stained: Server, tmp_path: Path) -> Any:
    return slicer_library().MONAILabelClient(stained.url, str(tmp_path), "tester")


def _mask(server: Server, image: str, **params: Any) -> np.ndarray:
    answer = server.infer(
        image, json.dumps({"result_extension": ".nrrd", "result": "mask", **params})
    )
    assert answer.ok, answer.text
    return sitk.GetArrayFromImage(read_itk(answer.content, ".nrrd"))


@pytest.mark.parametrize("channel", ["DAPI", "dapi", "2", 2])
def test_the_answer_is_that_on_the_channel_asked_for(stained: Server, channel: object) -> None:
    expected = _mask(stained, "grey")
    np.testing.assert_array_equal(_mask(stained, "named.ome", channel=channel), expected)
    slices = _mask(stained, "slices", channel=channel)
    np.testing.assert_array_equal(slices, np.stack([expected] * 3))


def test_the_answer_names_its_channel(client: Any) -> None:
    for model in (MODEL, CLICKED, "region_click"):
        clicks = {"foreground": [[*ON[::-1], 0]], "background": []}
        asked = {"result_extension": ".nrrd", "channel": "2", **clicks}
        _, answer = client.infer(model, "named.ome", asked)
        assert answer["channel"] == "DAPI"


def test_clicks_on_another_channel_are_answered_on_that(client: Any) -> None:
    def answer(channel: str) -> np.ndarray:
        asked = {"result_extension": ".nrrd", "channel": channel}
        file, _ = client.infer(CLICKED, "unnamed", asked)
        return sitk.GetArrayFromImage(sitk.ReadImage(file))

    assert (answer("1") != answer("2")).any()


def test_without_a_choice_it_is_refused_with_the_channels(stained: Server) -> None:
    for model in (MODEL, CLICKED, "region_click"):
        clicks = json.dumps({"foreground": [[*ON[::-1], 0]], "channel": ""})
        answer = stained.post(f"/infer/{model}?image=named.ome", data={"params": clicks})
        told = "2 channels (1 GFP, 2 DAPI) and none was chosen"
        assert_refused(answer, 400, "named.ome.tif", told, "for nuclei probably 'DAPI'")
    answer = stained.infer("named.ome", json.dumps({"channel": "Cy5"}))
    assert_refused(answer, 400, "no channel 'Cy5'", "1 GFP, 2 DAPI")


def test_viewers_are_offered_the_parameter_and_send_it_empty(client: Any) -> None:
    config = client.info()["models"][MODEL]["config"]
    assert config["channel"] == ""
    _, answer = client.infer(MODEL, "grey", {"result_extension": ".nrrd", "channel": ""})
    assert "channel" not in answer


def test_a_label_has_the_size_without_channels(stained: Server, tmp_path: Path) -> None:
    label = sitk.GetImageFromArray((NUCLEI > 100).astype(np.uint8))
    sitk.WriteImage(label, str(tmp_path / "label.nrrd"))
    assert stained.save_label("named.ome", tmp_path / "label.nrrd", "checked").ok
    volume = sitk.GetImageFromArray(np.stack([NUCLEI > 100] * 3).astype(np.uint8))
    sitk.WriteImage(volume, str(tmp_path / "volume.nrrd"))
    assert stained.save_label("slices", tmp_path / "volume.nrrd", "checked").ok
    assert stained.save_label("named.ome", tmp_path / "volume.nrrd", "checked").status_code == 400


def test_an_image_of_several_channels_can_be_uploaded(stained: Server, tmp_path: Path) -> None:
    _write(tmp_path / "sent.tif", metadata={"axes": "CYX"})
    reply = stained.add_image(tmp_path / "sent.tif")
    assert reply.ok, reply.text
    assert (_mask(stained, "sent", channel="2") == _mask(stained, "grey")).all()


def test_the_folder_chooses_for_all_requests(stained: Server) -> None:
    table = stained.studies / "channels.csv"
    table.write_text("id,channel\nunnamed,2\n*,DAPI\n")
    try:
        for image in ("named.ome", "unnamed"):
            np.testing.assert_array_equal(_mask(stained, image), _mask(stained, "grey"))
        params = {"model": MODEL, "images": ["named.ome", "slices"], "result_extension": ".nrrd"}
        done = stained.post(f"/batch/infer/{MODEL}?run_sync=true", json=params)
        assert done.ok and "error" not in done.text, done.text
        table.write_text("id,channel\nwrong\n")
        answer = stained.infer("unnamed")
        assert_refused(answer, 400, "channels.csv: found the line 'wrong', expected an id")
    finally:
        table.unlink()


def test_training_reads_the_channel_asked_for(stained: Server, tmp_path: Path) -> None:
    label = sitk.GetImageFromArray((NUCLEI > 100).astype(np.uint8))
    sitk.WriteImage(label, str(tmp_path / "label.nrrd"))
    for image in ("named.ome", "unnamed"):
        assert stained.save_label(image, tmp_path / "label.nrrd").ok
    for channel, told in (("2", "published 1.0000"), ("3", "no channel '3', it has 2 channels")):
        asked = {**QUICK, "device": "cpu", "channel": channel}
        answer = stained.post(f"/train/{MODEL}", json=asked)
        assert answer.ok, answer.text
        ended = stained.wait_for_training("DONE", "ERROR")
        assert ended["status"] == ("DONE" if channel == "2" else "ERROR"), ended
        assert told in str(ended["details"]), ended


def _about(server: Server, image: str) -> dict[str, Any]:
    answer = server.get("/viewer/image", params={"image": image})
    assert answer.ok, answer.text
    return dict(answer.json())


def test_a_viewer_is_told_the_channels_and_which_one_it_shows(stained: Server) -> None:
    found = _about(stained, "named.ome")
    assert (list(found["channels"]), found["channel"]) == (NAMES, "GFP")
    assert list(_about(stained, "unnamed")["channels"]) == ["1", "2"]
    grey = _about(stained, "grey")
    assert (grey["channels"], grey["channel"]) == ({}, "")
    for name, series in found["channels"].items():
        shown = _about(stained, series)
        assert (shown["id"], shown["channel"]) == ("named.ome", name)


def test_a_request_on_the_channel_that_is_shown_is_answered_on_that(stained: Server) -> None:
    expected = _mask(stained, "grey")
    shown = _about(stained, "named.ome")["channels"]
    np.testing.assert_array_equal(_mask(stained, shown["DAPI"]), expected)
    assert (_mask(stained, shown["GFP"]) != expected).any()
    np.testing.assert_array_equal(_mask(stained, shown["GFP"], channel="DAPI"), expected)
    refused = stained.infer("named.ome", "{}")
    assert_refused(refused, 400, "none was chosen; give channel by its name or number")
    assert "--" not in refused.text


def test_a_label_is_trained_on_in_the_channel_that_it_was_drawn_on(
    stained: Server, tmp_path: Path
) -> None:
    label = sitk.GetImageFromArray((NUCLEI > 100).astype(np.uint8))
    sitk.WriteImage(label, str(tmp_path / "label.nrrd"))
    series = _about(stained, "named.ome")["channels"]["DAPI"]
    assert stained.save_label(series, tmp_path / "label.nrrd", "final").ok
    assert stained.save_label("grey", tmp_path / "label.nrrd", "final").ok

    def drawn_in() -> tuple[str, str]:
        items = list_items(stained.studies, labelled=True)
        found = {item.id: item.channel for item in items}
        return found["named.ome"], found["grey"]

    assert drawn_in() == ("DAPI", "")
    (stained.studies / "channels.csv").write_text("id,channel\nnamed*,GFP\n")
    try:
        assert drawn_in() == ("", "")  # the table counts, when the image is read
    finally:
        (stained.studies / "channels.csv").unlink()
        for image in ("named.ome", "grey"):
            query = {"id": image, "tag": "final"}
            assert stained.request("DELETE", "/datastore/label", params=query).ok
