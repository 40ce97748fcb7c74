"""Models and the images that they are not for: refused, passed over, and never the next image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from server_support import (
    MODEL,
    QUICK,
    assert_refused,
    discs,
    threshold_weights,
    write_dicom,
    write_png,
)

LESION = "busi_lesion"
NOT_MR = "'busi_lesion' answers ultrasound (US/IVUS), this is MR"
NUCLEI_NOT_US = "'nuclei_vhllrhe' answers pictures of microscopy (SM/GM/XC/OT/SC), this is US"


@pytest.fixture(scope="module")
def mixed(launch):
    """Pictures, ultrasound, MR slices and views of an exam in one folder."""

    def prepare(server):
        server.conf["models"] = f"{MODEL},{LESION},density_birads"
        picture = discs(64, 64)
        for name in (MODEL, LESION):
            threshold_weights(server.model_dir / f"{name}.pt", task=name)
        for number in (1, 2):
            write_png(server.studies / f"cells{number}.png", picture)
            write_dicom(server.studies / f"us{number}.dcm", picture)
            write_dicom(server.studies / f"mr{number}.dcm", picture, Modality="MR")
        for view in ("R-CC", "L-CC"):
            write_png(server.studies / f"EXAM_{view}.png", picture)

    server = launch(prepare)
    server.wait_for_image("us2")
    return server


def _ask(server, model: str, image: str, **params):
    query = {"image": image, "output": "json"}
    return server.post(f"/infer/{model}", params=query, data={"params": json.dumps(params)})


def test_an_image_of_another_modality_is_refused_by_name_unless_that_is_wanted(mixed):
    assert_refused(_ask(mixed, LESION, "mr1"), 400, NOT_MR, "any_modality: true")
    answer = _ask(mixed, LESION, "mr1", any_modality=True)
    assert answer.ok and NOT_MR in answer.json()["unfit"]
    for image in ("us1", "cells1"):
        assert "unfit" not in _ask(mixed, LESION, image).json()


def test_a_file_that_is_sent_is_refused_as_well(mixed):
    with open(mixed.studies / "mr1.dcm", "rb") as file:
        reply = mixed.post(f"/infer/{LESION}", files={"file": ("a.dcm", file)})
    assert_refused(reply, 400, NOT_MR)


def test_nuclei_are_answered_in_pictures_of_any_modality_with_a_note(mixed):
    answer = _ask(mixed, MODEL, "us1")
    assert answer.ok and answer.json()["unfit"] == NUCLEI_NOT_US


def test_tools_without_training_answer_any_image(mixed):
    assert _ask(mixed, "region_click", "mr1", foreground=[[12, 12, 0]]).ok


def test_answers_come_with_what_is_known_of_their_weights(mixed):
    params = _ask(mixed, LESION, "us1").json()
    assert params["figure"]["words"].startswith("not tested") and "lesion" in params["card"]


def test_a_batch_passes_over_what_the_model_is_not_for(mixed):
    started = mixed.post(
        f"/batch/infer/{LESION}", params={"run_sync": "true"}, json={"label_tag": "batch"}
    )
    result = started.json()
    assert {id for id, one in result.items() if "passed_over" in one} == {"mr1", "mr2"}
    assert NOT_MR in result["mr1"]["passed_over"]
    assert {id for id, one in result.items() if one.get("label")} >= {"us1", "us2", "cells1"}


def test_the_next_image_after_a_view_is_an_exam(mixed):
    sample = mixed.post("/activelearning/random", json={"like": "EXAM_R-CC"}).json()
    assert sample["id"].startswith("EXAM") and sample["model"] == "density_birads"


def test_an_unknown_image_to_be_like_is_named(mixed):
    reply = mixed.post("/activelearning/random", json={"like": "nix"})
    assert_refused(reply, 404, "nix")


def test_a_training_leaves_out_what_its_task_is_not_for(mixed, tmp_path):
    label = write_png(tmp_path / "label.png", (discs(64, 64) > 100).astype(np.uint8))
    for image in ("us1", "us2", "mr1"):
        assert mixed.save_label(image, label).ok
    reply = mixed.post(f"/train/{LESION}", params={"run_sync": "true"}, json=QUICK)
    assert reply.ok, reply.text
    left_out = reply.json()["left_out"]
    assert left_out == {"mr1": NOT_MR}
