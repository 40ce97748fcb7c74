"""`familiarity` measures what weights lack; `infer`, `models` and the server then tell of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuclei_samples import write_nuclei
from PIL import Image as PillowImage

from infer.build import build_infer
from lib.tasks.registry import get_task
from lib.training.familiarity import with_familiarity
from lib.weights.checkpoint import load_checkpoint, save_checkpoint
from lib.weights.store import ModelStore
from lib.weights.versions import TrainedOn

TASK = "nuclei_vhllrhe"
CPU = ("--device", "cpu", "--precision", "fp32", "--backend", "torch")


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    return write_nuclei(tmp_path_factory.mktemp("many") / "cells", 30)


@pytest.fixture(scope="module")
def absurd(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("absurd") / "noise"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        noise = rng.integers(0, 256, (64, 64), np.uint8)
        PillowImage.fromarray(noise).save(folder / f"noise_{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def old(weights, tmp_path) -> Path:
    """Weights from before there were warnings."""
    return save_checkpoint(tmp_path / "old.pt", with_familiarity(load_checkpoint(weights), None))


@pytest.fixture
def measured(cli, old, many, absurd, tmp_path):
    """The same with what the images look like to them, and the figures."""
    out, figures = tmp_path / "new.pt", tmp_path / "figures.json"
    words = ("familiarity", TASK, "--studies", many, "--weights", old, "--out", out)
    ended = cli(*words, "--other", absurd, "--json", figures, *CPU)
    assert ended.status == 0, ended.err
    return out, json.loads(figures.read_text())


def test_it_measures_warns_of_absurd_images_and_of_few_of_its_own(measured, old):
    out, figures = measured
    sets, about = figures["sets"], figures["about"]
    assert sets["held out"]["warned"] == 0
    assert sets["held out"]["warned_left_out"] <= 1
    assert (sets["noise"]["images"], sets["noise"]["warned"]) == (12, 12)
    assert sets["blank"]["warned"] == 12
    assert about["training"] + about["validation"] == 30
    checkpoint, before = load_checkpoint(out), load_checkpoint(old)
    assert checkpoint.provenance["familiar_with"] == about["training"]
    assert checkpoint.metrics == before.metrics
    assert all((checkpoint.weights[n] == value).all() for n, value in before.weights.items())


def test_infer_warns_on_standard_error_and_in_its_json(cli, measured, old, many, absurd, tmp_path):
    new, _ = measured
    files = (many / "nucleus_0.png", absurd / "noise_0.png")
    told = {}
    for weights in (new, old):
        words = ("infer", TASK, *files, "--out", tmp_path / weights.stem, "--weights", weights)
        ended = cli(*words, "--json", tmp_path / "rows.json", *CPU)
        assert ended.status == 0
        rows = json.loads((tmp_path / "rows.json").read_text())["images"]
        told[weights.stem] = ended.err, [row["warnings"] for row in rows]
    err, (none, some) = told["new"]
    assert none == [] and "unlike those that the model was trained on" in some[0]
    assert f"noise_0.png: {some[0]}" in err and "nucleus_0" not in err
    assert told["old"][1] == [[], []] and "unlike" not in told["old"][0]


def test_the_server_warns_and_models_says_which_weights_do(
    cli, measured, old, many, absurd, tmp_path
):
    new, _ = measured
    models = tmp_path / "models"
    models.mkdir()
    warned = {}
    for name, weights in (("new", new), ("old", old)):
        shutil.copy(weights, models / f"{TASK}.pt")
        task = build_infer(get_task(TASK), ModelStore(models, tmp_path / "none"))
        for image in (many / "nucleus_1.png", absurd / "noise_1.png"):
            file, summary = task({"image": str(image), "device": "cpu"})
            os.unlink(file)
            warned[name, image.stem] = summary["warnings"]
    assert [bool(one) for one in warned.values()] == [False, True, False, False]
    for name, weights, expected in (
        ("one", new, "warns of images unlike its training"),
        ("two", old, "no warning of images unlike its training"),
    ):
        store = ModelStore(tmp_path / name, tmp_path / "none")
        checkpoint = load_checkpoint(weights)

        data = TrainedOn(checkpoint.provenance)
        store.submit(TASK, weights, {"mean_iou": 0.9}, "mean_iou", None, data)
        assert expected in cli("models", TASK, "--models", tmp_path / name).out


def test_what_cannot_be_measured_is_refused(cli, old, many, studies, tmp_path):
    words = ("familiarity", TASK, "--studies", many, "--weights", old)
    cli(*words, *CPU).assert_refused("does not know the images it was trained on", "--out FILE")
    cli(*words, *CPU, "--other", tmp_path / "absent").assert_refused("no such folder")
    cli("familiarity", "density_birads", "--studies", many).assert_refused(
        "a network for each view"
    )


def test_views_of_exams_are_measured_too(cli, exam_studies, tmp_path):
    words = ("--studies", exam_studies, "--steps", "4", "--device", "cpu")
    trained = tmp_path / "run" / "best.pt"
    assert cli("train", "density_dense_lite", *words, "--out", trained.parent).status == 0
    hands = tmp_path / "hands"
    hands.mkdir()
    noise = np.random.default_rng(0).integers(90, 256, (160, 120), np.uint8)
    noise[:, 70:] = 0
    PillowImage.fromarray(noise).save(hands / "H_R-CC.png")
    figures = tmp_path / "figures.json"
    asked = ("density_dense_lite", "--studies", exam_studies, "--weights", trained, *CPU)
    ended = cli("familiarity", *asked, "--other", hands, "--json", figures)
    assert ended.status == 0, ended.err
    sets = json.loads(figures.read_text())["sets"]
    assert set(sets) == {"held out", "hands"}
    assert (sets["hands"]["images"], sets["hands"]["warned"]) == (1, 1)
    assert sets["held out"]["warned"] == 0


def test_evaluate_draws_the_worst_images(cli, weights, studies, tmp_path):
    words = ("evaluate", TASK, "--studies", studies, "--weights", weights, *CPU)
    ended = cli(*words, "--plots", tmp_path / "plots", "--json", tmp_path / "score.json")
    assert ended.status == 0, ended.err
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == [f"{TASK}_reliability.png", f"{TASK}_worst.png"]
    report = json.loads((tmp_path / "score.json").read_text())
    assert 0 <= report["reliability"]["calibration_error"] < 0.5
