"""Breast density through a running server: answers, corrections and training, by exam."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from server_support import (
    MODEL,
    Server,
    assert_refused,
    discs,
    read_itk,
    read_png,
    threshold_weights,
    write_dicom,
    write_png,
)

from lib.dicom.seg.read import read_seg, read_segments
from lib.networks import build_network
from lib.phantoms.mammograms.exams import write_exams
from lib.tasks.registry import get_task
from lib.weights.checkpoint import Checkpoint, save_checkpoint

TASK = "density_birads"
SIZE = 64
VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")
LIKELY = math.e**2 / (math.e**2 + 3)  # probability of the class that the weights always answer


def _weights_that_answer_c(file: Path) -> None:
    spec = get_task(TASK)
    spec = replace(spec, input=replace(spec.input, size=SIZE))
    network = build_network(spec.network)
    last = {
        name.rsplit(".", 1)[0]: module
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == 4
    }
    assert len(last) == len(spec.classifier.views)
    with torch.no_grad():
        for layer in last.values():
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([0.0, 0.0, 2.0, 0.0]))
    answer = {"temperature": 1.0, "views": sorted(VIEWS)}
    save_checkpoint(
        file,
        Checkpoint(
            task=TASK, spec=spec.as_dict(), weights=dict(network.state_dict()), answer=answer
        ),
    )


def _write_wrong(folder: Path) -> None:
    """Write files that are no mammograms under names of views, and damaged mammograms."""
    grey = np.zeros((120, 96), np.uint8)
    write_png(folder / "black_R-CC.png", grey)
    write_png(folder / "white_R-CC.png", grey + 255)
    noise = np.random.default_rng(0).integers(0, 256, (120, 96, 3)).astype(np.uint8)
    write_png(folder / "noise_R-CC.png", noise[..., 0])
    write_png(folder / "photo_R-CC.png", noise)
    chest = {"Modality": "DX", "BodyPartExamined": "CHEST", "ImageLaterality": "R"}
    write_dicom(folder / "chest.dcm", discs(96, 96), ViewPosition="CC", **chest)
    write_dicom(folder / "slice_R-CC.dcm", discs(96, 96), Modality="CT")
    whole = folder / "exam_000_R-CC.dcm"
    for name, change in (("rgb", "RGB"), ("yonder", "MONOCHROME3"), ("bare", None)):
        data = pydicom.dcmread(whole)
        data.StudyInstanceUID = f"1.2.{len(name)}.{ord(name[0])}"
        if change is None:
            del data.PixelData
        else:
            data.PhotometricInterpretation = change
        data.save_as(folder / f"{name}.dcm")
    data = pydicom.dcmread(whole)
    data.StudyInstanceUID = "1.2.99"
    data.PixelData = data.PixelData[: len(data.PixelData) // 2]
    data.save_as(folder / "cut.dcm")


@pytest.fixture(scope="module")
def density_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over six phantom exams, five of them labelled; one of these lacks two views."""
    server = Server(tmp_path_factory.mktemp("density_server"), f"{TASK},{MODEL}", device="cpu")
    write_exams(server.studies, seed=3, exams=6, scale=0.04, labelled=0.84)
    for view in ("R-MLO", "L-MLO"):
        (server.studies / f"exam_004_{view}.dcm").unlink()
        (server.studies / f"labels/final/exam_004_{view}.json").unlink()
    write_png(server.studies / "cells.png", discs(96, 96))
    _write_wrong(server.studies)
    write_dicom(server.studies / "echo.dcm", discs(96, 96))
    _weights_that_answer_c(server.model_dir / f"{TASK}.pt")
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


def _ask(server: Server, image: str, output: str, params: str = "{}"):
    query = {"image": image, "output": output}
    return server.post(f"/infer/{TASK}", params=query, data={"params": params})


def test_one_views_id_answers_for_its_exam(density_server):
    response = _ask(density_server, "exam_000_L-MLO", "json")
    assert response.ok, response.text
    answer = response.json()
    answer = answer.get("params", answer)
    assert answer["class"] == "C" and answer["view"] == "L-MLO"
    assert answer["label_names"] == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert answer["probabilities"]["C"] == pytest.approx(LIKELY, abs=1e-3)
    assert sorted(answer["views_used"]) == sorted(VIEWS) and answer["left_out"] == {}
    assert {side["class"] for side in answer["breasts"].values()} == {"C"}
    assert all(0 <= view["percent_density"] <= 100 for view in answer["views"].values())
    assert isinstance(answer["uncertain"], bool) and answer["model_version"]
    assert "total" in answer["latencies"]


@pytest.mark.parametrize("suffix", [".nrrd", ".png"])
def test_the_label_image_is_dense_tissue_of_the_class_on_the_views_grid(density_server, suffix):
    params = json.dumps({"result_extension": suffix})
    response = _ask(density_server, "exam_000_R-CC", "image", params)
    assert response.ok, response.text
    image = sitk.ReadImage(str(density_server.studies / "exam_000_R-CC.dcm"))
    if suffix == ".png":
        pixels = read_png(response.content)
    else:
        label = read_itk(response.content, suffix)
        assert label.GetSpacing()[:2] == pytest.approx(image.GetSpacing()[:2], rel=1e-4)
        pixels = np.squeeze(sitk.GetArrayFromImage(label))
    assert pixels.shape == image.GetSize()[1::-1]
    assert set(np.unique(pixels)) == {0, 3}


def test_dense_tissue_is_given_as_a_segmentation_where_that_is_asked_for(density_server):
    response = _ask(density_server, "exam_000_R-CC", "dicom_seg")
    assert response.ok, response.text
    seg = pydicom.dcmread(io.BytesIO(response.content))
    assert [segment.name for segment in read_segments(seg)] == ["C"]
    tissue = read_seg(seg, density_server.studies / "exam_000_R-CC.dcm")
    picture = _ask(density_server, "exam_000_R-CC", "image", '{"result_extension": ".png"}')
    assert tissue.any() and np.array_equal(tissue, read_png(picture.content))


def _fetched(server: Server, path: str, suffix: str):
    response = server.get(path)
    assert response.ok, response.text
    return read_png(response.content) if suffix == ".png" else read_itk(response.content, suffix)


def test_one_request_hands_out_overlays_maps_and_dense_tissue_of_all_views(density_server):
    params = json.dumps({"saliency": "gradcam", "result_extension": "nrrd"})
    answer = _ask(density_server, "exam_000_L-CC", "json", params).json()
    assert list(answer["saliency"]) == list(answer["dense_tissue"]) == list(VIEWS)
    for view in VIEWS:
        image = sitk.ReadImage(str(density_server.studies / f"exam_000_{view}.dcm"))
        columns, rows = image.GetSize()[:2]
        label = _fetched(density_server, answer["dense_tissue"][view], ".nrrd")
        assert set(np.unique(sitk.GetArrayFromImage(label))) == {0, 3}, view
        tissue = _fetched(density_server, answer["tissue"][view], ".nrrd")
        dense, whole = (np.squeeze(sitk.GetArrayFromImage(one)) for one in (label, tissue))
        assert np.array_equal(dense > 0, whole == 1) and (whole == 2).any(), "and the breast"
        files = answer["saliency"][view]["gradcam"]
        scalar = _fetched(density_server, files["scalar"], ".nrrd")
        assert label.GetSize()[:2] == scalar.GetSize()[:2] == (columns, rows)
        assert scalar.GetSpacing()[:2] == pytest.approx(image.GetSpacing()[:2], rel=1e-4)
        assert 0 <= sitk.GetArrayFromImage(scalar).min()
        assert _fetched(density_server, files["overlay"], ".png").shape == (rows, columns, 3)
        steps = np.rint(np.squeeze(sitk.GetArrayFromImage(scalar)) * 255)
        assert np.array_equal(_fetched(density_server, files["layer"], ".png"), steps)


def test_files_come_only_by_their_whole_path_and_saliency_only_when_asked_for(density_server):
    answer = _ask(density_server, "exam_000_L-CC", "json").json()
    assert "saliency" not in answer
    root, name = answer["dense_tissue"]["R-CC"].rsplit("/", 1)
    assert_refused(density_server.get(f"{root}/secret.png"), 404, "no file 'secret.png'", name)
    assert_refused(density_server.get(f"/results/other/{name}"), 404, "results are gone")
    for target in (f"{root}/..%2f..%2fserver.log", f"{root}/../{name}", "/results/%2e%2e/log"):
        assert density_server.raw("GET", target)[0] == 404, target
    refused = _ask(density_server, "exam_000_L-CC", "json", '{"saliency": "gradcan"}')
    assert_refused(refused, 404, "gradcan", "did you mean 'gradcam'")


def test_an_exam_without_a_view_answers_and_says_so(density_server):
    answer = _ask(density_server, "exam_004_R-CC", "json").json()
    answer = answer.get("params", answer)
    assert answer["class"] == "C" and sorted(answer["views_used"]) == ["L-CC", "R-CC"]
    assert answer["left_out"] == {"R-MLO": "missing", "L-MLO": "missing"}


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("black_R-CC", ("blank",)),
        ("white_R-CC", ("blank",)),
        ("noise_R-CC", ("no breast found",)),
        ("photo_R-CC", ("no breast found",)),
        ("chest", ("CHEST", "expected a mammogram")),
        ("slice_R-CC", ("CT", "expected a mammogram")),
        ("rgb", ("photometric interpretation 'RGB'",)),
        ("yonder", ("photometric interpretation 'MONOCHROME3'",)),
        ("bare", ("no pixel data", "export it again")),
        ("cut", ("cut.dcm", "export it again")),
    ],
)
def test_what_is_no_mammogram_or_damaged_is_refused_by_its_cause(density_server, image, words):
    assert_refused(_ask(density_server, image, "json"), 400, *words)


@pytest.mark.parametrize("image", ["cells", "echo"])
def test_an_image_of_something_else_is_refused(density_server, image):
    assert_refused(_ask(density_server, image, "json"), 400, image, "EXAM_R-CC.png")


def test_segmentation_is_served_beside_it(density_server):
    response = density_server.infer("cells")
    assert response.ok, response.text
    assert read_png(response.content).max() == 1


def _save(server: Server, image: str, folder: Path, content: str):
    file = folder / "answer.json"
    file.write_text(content)
    return server.save_label(image, file)


def test_a_wrong_answer_is_refused_with_what_is_expected(density_server, tmp_path):
    for content, found in (('{"density": "Q"}', "'Q'"), ("{", "not JSON"), ("[1]", "None")):
        response = _save(density_server, "exam_005_R-CC", tmp_path, content)
        assert_refused(response, 400, "exam_005_R-CC.dcm", found)
    assert not density_server.images()["exam_005_R-CC"]["labels"]


def test_what_there_is_to_train_on_is_counted_in_exams(density_server):
    found = density_server.get("/viewer/trainable", params={"model": TASK}).json()
    assert (found["labels"], found["missing"]) == (5, 0)


def test_training_runs_its_steps_and_tells_the_outcome(density_server):
    params = {"max_epochs": 1, "input_size": SIZE, "device": "cpu"}
    refused = density_server.post(f"/train/{TASK}", json={"patch_size": 32})
    assert_refused(refused, 404, "patch_size", "input_size")
    response = density_server.post(f"/train/{TASK}", params={"run_sync": True}, json=params)
    assert response.ok, response.text
    outcome = response.json()
    assert 2 <= outcome["steps"] <= 4
    assert "exam_likelihood" in outcome["reason"] and "the published" in outcome["reason"]
    assert outcome["training_cases"] + outcome["validation_cases"] == 18  # views of five exams
    assert 0 < outcome["metrics"]["exam_likelihood"] < 1
    stats = density_server.get("/info/").json()["train_stats"][TASK]
    assert stats["total_steps"] == outcome["steps"] and not stats["active"]


def test_a_saved_answer_is_listed_read_back_and_there_after_a_restart(density_server, tmp_path):
    response = _save(density_server, "exam_005_L-CC", tmp_path, '{"density": "D", "by": "reader"}')
    assert response.ok, response.text

    def check() -> None:
        label = density_server.images()["exam_005_L-CC"]["labels"]["final"]
        assert label["ext"] == ".json" and label["info"]["density"] == "D"
        query = {"label": "exam_005_L-CC", "tag": "final"}
        read = density_server.get("/datastore/label", params=query)
        assert read.json() == {"density": "D", "by": "reader"}

    check()
    density_server.stop()
    density_server.start()
    check()
