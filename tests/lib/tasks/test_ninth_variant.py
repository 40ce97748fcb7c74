"""One row is all that a ninth variant takes: it trains, is kept and served like the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from infer.base import InferSettings
from infer.build import build_infer
from lib.io.labels import read_label
from lib.segmentation.evaluation import evaluate
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import TASKS, get_task, register
from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions
from lib.training.publish import train_and_submit
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore

NAME = "nuclei_ninth"


@pytest.fixture(scope="module")
def ninth() -> Iterator[TaskSpec]:
    """The row, in the table for as long as these tests run: what an engineer would write."""
    row = get_task("nuclei_vhllrhe")
    yield register(
        replace(
            row,
            name=NAME,
            description="Nuclei in microscopy: V-Net in 2D with instance normalisation",
            network=replace(
                row.network,
                kernel_size=3,
                downsampling="max_pool",
                norm="instance",
                channels=(6, 12, 24),
                convolutions=(1, 2, 2),
            ),
            training=replace(
                row.training,
                loss="bce",
                optimizer="adamw",
                steps=40,
                val_interval=20,
                batch_size=4,
                patch_size=32,
                learning_rate=3e-3,
                val_split=0.3,
            ),
            weights_licence="",
        )
    )
    del TASKS[NAME]


@pytest.fixture(scope="module")
def store(ninth, items, tmp_path_factory) -> ModelStore:
    """A store in which the ninth variant was trained and published."""
    folder = tmp_path_factory.mktemp("ninth")
    store = ModelStore(folder / "models", folder / "shipped")
    options = FitOptions(out=folder / "run", device="cpu", progress=False, tensorboard=False)
    result, decision = train_and_submit(ninth, items, options, store)
    assert decision.published
    assert result.metrics["mean_iou"] > result.initial_metrics["mean_iou"]
    return store


def test_its_weights_come_back_and_segment(store, ninth, items):
    checkpoint = load_checkpoint(store.served_path(NAME))
    assert checkpoint.task == NAME
    assert checkpoint.spec == get_task(NAME).as_dict()
    report = evaluate(Predictor.from_checkpoint(ninth, checkpoint, "cpu", "fp32"), items)
    assert report.pooled["mean_iou"] > 0.6
    assert {"ap50", "fg_dice"} <= set(report.pooled)


def test_it_answers_a_request(store, ninth, items):
    task = build_infer(ninth, store, InferSettings(device="cpu"))
    assert task.is_valid()
    file, summary = task({"image": str(items[0].image), "result": "instances"})
    try:
        found, truth = read_label(file), read_label(items[0].label)
        assert found.shape == truth.shape
        assert ((found > 0) == (truth > 0)).mean() > 0.8
        assert summary["objects"] == found.max() > 1
        assert summary["model_version"] == store.versions(NAME)[-1].id
    finally:
        os.unlink(file)


def test_the_app_serves_and_trains_it(store, ninth, items, tmp_path, monkeypatch):
    from monailabel_app.app import App

    copied = tmp_path / "studies"
    copied.mkdir()
    (copied / items[0].image.name).write_bytes(items[0].image.read_bytes())
    monkeypatch.setenv("MONAI_LABEL_DATASTORE_AUTO_RELOAD", "false")
    conf = {"models": NAME, "model_dir": str(store.folder), "device": "cpu"}
    app = App(str(tmp_path / "app"), str(copied), conf)
    info = app.info()
    assert info["models"][NAME]["description"] == ninth.description
    assert NAME in info["trainers"]
    assert info["trainers"][NAME]["config"]["patch_size"] == 32
    answer = app.infer({"model": NAME, "image": items[0].id})
    try:
        assert read_label(answer["file"]).shape == read_label(items[0].label).shape
    finally:
        os.unlink(answer["file"])


def test_the_command_line_knows_it(ninth, store, items, tmp_path, capsys):
    from monailabel_app.cli import main

    main(["list"])
    assert f"{NAME} " in capsys.readouterr().out
    words = ("infer", NAME, items[0].image, "--models", store.folder, "--out", tmp_path / "masks")
    main([str(word) for word in (*words, "--device", "cpu")])
    (mask,) = (tmp_path / "masks").iterdir()
    assert read_label(mask).any()
