"""GET /viewer/image: what fits the image that is shown, its label, and what can be done now."""

from __future__ import annotations

import json

import numpy as np
import pytest
from server_support import MODEL, assert_refused, discs, threshold_weights, write_dicom, write_png

from lib.tasks.registry import get_task

LESION, EXAMS, VOLUMES = "busi_lesion", "density_birads", "volume_vnet"
SERVED = (MODEL, LESION, VOLUMES, EXAMS)
TOOLS = ["region_click", "scribbles"]


@pytest.fixture(scope="module")
def studies(launch):
    def prepare(server):
        server.conf["models"] = ",".join(SERVED)
        picture = discs(64, 64)
        for name in (MODEL, LESION):
            threshold_weights(server.model_dir / f"{name}.pt", task=name)
        write_png(server.studies / "cells.png", picture)
        write_png(server.studies / "EXAM_R-CC.png", picture)
        write_dicom(server.studies / "still.dcm", picture)
        write_dicom(server.studies / "loop.dcm", np.stack([picture] * 4), FrameTime="40")
        write_dicom(server.studies / "mr.dcm", np.stack([picture] * 4), Modality="MR")

    server = launch(prepare)
    server.wait_for_image("mr")
    return server


def _about(studies, image: str) -> dict:
    response = studies.get("/viewer/image", params={"image": image})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("image", "modality", "dimensions", "models", "trainers"),
    [
        ("cells", "", "2d", [MODEL, LESION], [MODEL, LESION]),
        ("EXAM_R-CC", "", "mammogram", [], [EXAMS]),
        ("still", "US", "2d", [LESION], [LESION]),
        ("loop", "US", "loop", [LESION], [LESION]),
        ("mr", "MR", "3d", [], [VOLUMES]),
    ],
)
def test_only_what_fits_an_image_is_offered(studies, image, modality, dimensions, models, trainers):
    found = _about(studies, image)
    assert (found["id"], found["modality"], found["dimensions"]) == (image, modality, dimensions)
    tissue = ["percent_density"]  # of mammograms alone
    mammogram = dimensions == "mammogram"
    assert found["models"] == [*models, *TOOLS, *(tissue if mammogram else [])]
    assert found["trainers"] == trainers
    assert set(found["unfit"]) - set(tissue) == set(SERVED) - set(trainers)
    assert ("percent_density" in found["unfit"]) is not mammogram
    assert found["label"] is None


def test_what_can_be_drawn_is_told_by_task_with_or_without_weights(studies):
    assert _about(studies, "mr")["structures"] == {VOLUMES: get_task(VOLUMES).labels}
    assert list(_about(studies, "cells")["structures"]) == [MODEL, LESION]
    assert _about(studies, "EXAM_R-CC")["structures"] == {}, "an exam has a class"


def test_an_image_that_no_model_fits_has_a_hint_of_what_can_be_drawn(studies):
    assert _about(studies, "mr")["hint"] == (
        "No model fits this image yet: draw, scribble, click with region_click or draw a box; "
        "after 2 labels press Train"
    )
    assert "choose A, B, C or D; after 2 labels" in _about(studies, "EXAM_R-CC")["hint"]


def test_a_model_that_fits_and_a_label_are_named(studies, tmp_path):
    assert f"Press Run: {LESION} fits this image" in _about(studies, "still")["hint"]
    with open(write_png(tmp_path / "still.png", discs(64, 64) // 220), "rb") as label:
        saved = studies.put(
            "/datastore/label",
            params={"image": "still"},
            data={"params": json.dumps({"client_id": "ann"})},
            files={"label": ("still.png", label)},
        )
    assert saved.status_code == 200, saved.text
    found = _about(studies, "still")
    assert found["label"]["by"] == "ann" and found["label"]["source"].startswith("python-requests")
    assert found["hint"].startswith(f"Labelled by ann on {found['label']['when'][:10]}")


def test_what_models_and_trainers_are_for_is_told(studies):
    info = studies.get("/info/").json()
    assert info["models"][LESION]["modalities"] == ["US", "IVUS"]
    assert info["trainers"][EXAMS]["dimensions"] == ["mammogram"]
    assert info["trainers"][VOLUMES]["labels"] == get_task(VOLUMES).labels
    assert info["models"]["region_click"]["modalities"] == []


def test_an_unknown_image_is_named(studies):
    assert_refused(studies.get("/viewer/image", params={"image": "nix"}), 404, "nix")
