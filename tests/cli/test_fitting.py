"""Images of modalities that a task is not for: refused, passed over and told by the verbs."""

from __future__ import annotations

import json

import pytest
from server_support import discs, threshold_weights, write_dicom, write_png

LESION = "busi_lesion"
REASON = "'busi_lesion' answers ultrasound (US/IVUS), this is MR"


@pytest.fixture
def mixed(tmp_path):
    """A folder with a picture, an ultrasound and an MR image; and one with weights."""
    studies, models = tmp_path / "studies", tmp_path / "models"
    studies.mkdir()
    models.mkdir()
    write_png(studies / "cells.png", discs(32, 32))
    write_dicom(studies / "us.dcm", discs(32, 32))
    write_dicom(studies / "mr.dcm", discs(32, 32), Modality="MR")
    threshold_weights(models / f"{LESION}.pt", task=LESION)
    return studies, models


def test_infer_refuses_another_modality_unless_that_is_wanted(cli, mixed, tmp_path):
    studies, models = mixed
    ask = ("infer", LESION, *sorted(studies.iterdir()), "--models", models, "--out", tmp_path / "o")
    ended = cli(*ask)
    assert ended.status == 2 and "2 of 3 images" in ended.out
    assert REASON in ended.err and "--any-modality" in ended.err
    assert "3 of 3 images" in cli(*ask, "--any-modality").out


def test_a_batch_passes_it_over_and_says_how_many(cli, mixed, tmp_path):
    studies, models = mixed
    ask = ("batch-infer", LESION, "--studies", studies, "--models", models)
    ended = cli(*ask, "--json", tmp_path / "batch.json")
    assert ended.status == 0 and f"1 images passed over, the first: mr: {REASON}" in ended.out
    assert json.loads((tmp_path / "batch.json").read_text())["passed_over"] == {"mr": REASON}
    assert "1 images answered, 2 had their answer" in cli(*ask, "--any-modality").out


def test_list_images_tells_what_no_task_is_for(cli, mixed, tmp_path):
    studies, _ = mixed
    ended = cli("list-images", studies, "--tasks", LESION, "--json", tmp_path / "list.json")
    assert "mr  32 x 32, unlabelled; none of the tasks is for single images of MR" in ended.out
    assert "us  32 x 32, unlabelled\n" in ended.out
    rows = json.loads((tmp_path / "list.json").read_text())["images"]
    assert {row["id"]: row["tasks"] for row in rows} == {
        "cells": [LESION],
        "us": [LESION],
        "mr": [],
    }
