"""What the panel in OHIF asks of a real server: saved work, training with its end, versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
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

from lib.io.labels import read_label

SIZE = 64, 64
NUCLEI = [{"name": "nuclei", "idx": 1, "id": 1}]


@pytest.fixture(scope="module")
def own(launch: Callable[..., Server]) -> Server:
    """A server over five pictures, with weights that are exact on them."""

    def prepare(server: Server) -> None:
        for index in range(5):
            write_png(server.studies / f"cell_{index}.png", discs(*SIZE))
        threshold_weights(server.live_file)

    return launch(prepare)


def send(server: Server, image: str, label: np.ndarray, folder: Path, **sent: object) -> None:
    """Save a label as the panel does."""
    file = folder / "label.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(label.astype(np.uint8)), str(file), True)
    params = json.dumps({"client": "OHIF", "model": MODEL, "label_info": NUCLEI, **sent})
    with open(file, "rb") as content:
        answer = server.put(
            "/datastore/label",
            params={"image": image},
            data={"params": params},
            files={"label": (file.name, content)},
        )
    assert answer.ok, answer.text


def told(server: Server, path: str, **query: object) -> Any:
    answer = server.get(f"/viewer/{path}", params=query)
    assert answer.ok, answer.text
    return answer.json()


def drawn(server: Server, **query: object) -> sitk.Image:
    answer = server.get("/viewer/label", params=query)
    assert answer.ok, answer.text
    return read_itk(answer.content, ".nrrd")


def test_saved_labels_of_any_file_type_are_listed_and_open_again_with_the_names_of_structures(
    own, tmp_path
):
    objects = np.zeros(SIZE, np.uint16)
    objects[4:12, 4:12], objects[20:30, 20:30] = 7, 300
    by_hand = write_png(tmp_path / "objects.png", objects)
    assert own.save_label("cell_0", by_hand).ok
    mine = discs(*SIZE) > 100
    send(own, "cell_0", mine, tmp_path, client_id="anna")
    saved = told(own, "saved", image="cell_0")
    assert [(one["by"], one["version"], one["current"]) for one in saved] == [
        ("anna", 2, True),
        ("unknown", 1, False),
    ]
    now = drawn(own, image="cell_0")
    assert np.array_equal(sitk.GetArrayFromImage(now), mine)
    assert (now.GetMetaData("Segment0_Name"), now.GetMetaData("Segment0_LabelValue")) == (
        "nuclei",
        "1",
    )
    first = drawn(own, image="cell_0", version=1)
    assert first.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(first), objects > 0)
    assert_refused(own.get("/viewer/label?image=cell_1"), 404, "no label with tag 'final'")
    assert_refused(own.get("/viewer/label?image=cell_0&version=9"), 404, "no version 9")
    assert_refused(own.get("/viewer/label?image=cell_9"), 404, "unknown image 'cell_9'")
    assert_refused(own.get("/viewer/label?image=cell_0&tag=../x"), 400, "plain name")
    assert_refused(own.get("/viewer/saved?image=cell_9"), 404, "unknown image 'cell_9'")


def test_an_empty_label_is_an_answer_that_counts_and_is_trained_as_background(own, tmp_path):
    assert told(own, "trainable", model=MODEL)["missing"] == 1
    send(own, "cell_2", np.zeros(SIZE), tmp_path)
    assert "cell_2" in own.get("/datastore/?output=all").json()["objects"]
    assert read_label(own.studies / "labels" / "final" / "cell_2.nrrd").max() == 0
    (one,) = told(own, "saved", image="cell_2")
    assert one["current"] and one["kind"] == "segmentation"
    empty = drawn(own, image="cell_2")
    assert not sitk.GetArrayFromImage(empty).any()
    assert empty.GetMetaData("Segment0_Name") == "nuclei"
    found = told(own, "trainable", model=MODEL)
    assert (found["labels"], found["missing"], found["live"]) == (2, 0, True)


def test_a_training_is_told_to_its_end_and_versions_are_put_back(own, tmp_path):
    assert told(own, "training") == {"refusal": "", "running": [], "last": None}
    assert own.post(f"/train/{MODEL}", json=QUICK).ok
    own.wait_for(lambda: not told(own, "training")["running"], "end of training", 300)
    last = told(own, "training")["last"]
    assert last["state"] == "kept aside", "nothing is better than weights that are exact"
    assert "does not beat the published 1.0000" in last["line"]
    versions = told(own, "versions", model=MODEL)["versions"]
    assert [(one["live"], one["published"], one["score"] is not None) for one in versions] == [
        (False, False, True),
        (False, True, True),
    ], "the one that is kept aside, and what came with the app"
    answer = own.post(f"/model/restore/{MODEL}", params={"version": versions[0]["id"]})
    assert answer.ok, answer.text
    assert [one["live"] for one in told(own, "versions", model=MODEL)["versions"]][1] is True
    assert_refused(own.get("/viewer/versions?model=nuclej"), 404, "unknown model")
    assert_refused(own.get("/viewer/trainable?model=nuclej"), 404, "unknown model")
