"""Mammograms on a server without a model for them: the first class, percent density, tissue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from server_support import (
    MODEL,
    Server,
    assert_refused,
    discs,
    read_png,
    threshold_weights,
    write_png,
)

from lib.io.masks import write_mask
from lib.io.read import image_geometry
from lib.mammography.tissue_map import DENSE, TISSUES, percent_density
from lib.phantoms.mammograms.exams import write_exams

TOOL, TAG = "percent_density", "dense_tissue"
VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has a model for nuclei alone, over two exams without a label."""
    server = Server(tmp_path_factory.mktemp("by_hand"), MODEL, device="cpu")
    write_exams(server.studies, seed=5, exams=2, scale=0.04, labelled=0.0)
    write_png(server.studies / "cells.png", discs(96, 96))
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


def _estimate(server: Server, image: str, output: str = "json"):
    params = {"params": json.dumps({"result_extension": ".png"})}
    query = {"image": image, "output": output}
    return server.post(f"/infer/{TOOL}", params=query, data=params)


def _saved(server: Server, image: str) -> dict:
    response = server.get("/viewer/density", params={"image": image})
    assert response.ok, response.text
    return response.json()


def _save(server: Server, image: str, folder: Path, content: dict, **params: object):
    (folder / "label.json").write_text(json.dumps(content))
    with (folder / "label.json").open("rb") as label:
        return server.put(
            "/datastore/label",
            params={"image": image},
            data={"params": json.dumps(params)},
            files={"label": ("label.json", label)},
        )


def test_percent_density_is_told_of_each_view_and_of_the_exam_without_any_weights(server):
    model = server.get("/info/").json()["models"][TOOL]
    assert "no BI-RADS class" in model["description"] and model["type"] == "others"
    response = _estimate(server, "exam_000_L-MLO")
    assert response.ok, response.text
    answer = response.json()
    assert "class" not in answer and answer["view"] == "L-MLO" and answer["method"]
    assert answer["tissues"] == TISSUES and list(answer["views"]) == list(VIEWS)
    for view in VIEWS:
        fetched = server.get(answer["tissue"][view])
        assert fetched.ok, fetched.text
        told = answer["views"][view]["percent_density"]
        assert told == pytest.approx(percent_density(read_png(fetched.content)), abs=0.06)
    of_views = [answer["views"][view]["percent_density"] for view in VIEWS]
    assert answer["percent_density"] == pytest.approx(np.mean(of_views), abs=0.1)
    label = read_png(_estimate(server, "exam_000_L-MLO", "image").content)
    whole = read_png(server.get(answer["tissue"]["L-MLO"]).content)
    assert np.array_equal(label == 1, whole == DENSE)


def test_an_image_that_is_no_mammogram_has_no_percent_density_and_no_class(server):
    assert_refused(_estimate(server, "cells"), 400, "no view of a mammography exam")
    refused = server.get("/viewer/density", params={"image": "cells"})
    assert_refused(refused, 400, "belongs to no mammography exam")
    assert_refused(server.get("/viewer/density", params={"image": "cell"}), 404, "cell")


def test_the_first_class_is_saved_without_a_model_and_told_with_who_and_when(server, tmp_path):
    assert _saved(server, "exam_000_R-CC")["labels"] == []
    percent = {"R-CC": 20.5, "L-CC": 18.0}
    first = _save(server, "exam_000_R-CC", tmp_path, {"density": "B"}, client_id="anna")
    assert first.ok, first.text
    content = {"density": "C", "percent_density": percent}
    assert _save(server, "exam_000_L-MLO", tmp_path, content, client_id="bert").ok
    for view in VIEWS:  # the class of one view is that of its exam
        found = _saved(server, f"exam_000_{view}")
        assert [(one["density"], one["by"]) for one in found["labels"]] == [
            ("C", "bert"),
            ("B", "anna"),
        ]
        assert found["labels"][0]["percent_density"] == percent
        assert found["labels"][0]["when"] > found["labels"][1]["when"]
        assert sorted(found["images"]) == sorted(f"exam_000_{name}" for name in VIEWS)
    assert _saved(server, "exam_001_R-CC")["labels"] == []


def test_a_percent_out_of_range_is_refused_and_nothing_is_saved(server, tmp_path):
    content = {"density": "A", "percent_density": {"R-CC": 120}}
    response = _save(server, "exam_001_R-CC", tmp_path, content)
    assert_refused(response, 400, "R-CC is '120'", "0 to 100")
    assert _saved(server, "exam_001_R-CC")["labels"] == []


def test_corrected_tissue_is_kept_with_its_names_and_is_no_class_of_the_exam(server, tmp_path):
    image = "exam_001_L-CC"
    made = server.get(_estimate(server, image).json()["tissue"]["L-CC"])
    tissues = read_png(made.content).copy()
    tissues[tissues == DENSE] = TISSUES["other breast tissue"]
    tissues[20:30, 5:9] = DENSE
    grid = image_geometry(server.studies / f"{image}.dcm")
    file = write_mask(tmp_path / "tissue.nrrd", tissues, grid)
    with file.open("rb") as label:
        response = server.put(
            "/datastore/label",
            params={"image": image, "tag": TAG},
            data={"params": json.dumps({"client_id": "anna", "params": {"label_names": TISSUES}})},
            files={"label": ("tissue.nrrd", label)},
        )
    assert response.ok and "not_stored" not in response.json(), response.text
    found = _saved(server, "exam_001_R-CC")
    assert found["labels"] == [] and found["tissue"][image]["by"] == "anna"
    (tmp_path / "got.nrrd").write_bytes(
        server.get("/datastore/label", params={"label": image, "tag": TAG}).content
    )
    from lib.io.labels import read_label

    assert np.array_equal(read_label(tmp_path / "got.nrrd", tissues.shape), tissues)
