"""`export-model` and `export-data` from the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from lib.networks import build_network
from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks.registry import TASKS, get_task
from lib.weights.checkpoint import Checkpoint, save_checkpoint, state_on_cpu
from lib.weights.store import ModelStore


@pytest.fixture
def narrow(monkeypatch, models) -> str:
    """Name of a narrow task with random weights in the folder of models."""
    row = get_task("nuclei")
    network = replace(row.encoder_decoder, channels=(4, 8, 8), convolutions=(1, 1, 1))
    task = replace(row, name="narrow", network=network, weights_licence="")
    monkeypatch.setitem(TASKS, "narrow", task)
    torch.manual_seed(0)
    weights = state_on_cpu(build_network(task.network))
    file = ModelStore(models, models).published_path("narrow")
    save_checkpoint(file, Checkpoint(task="narrow", spec=task.as_dict(), weights=weights))
    return "narrow"


@pytest.fixture(autouse=True)
def none_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr("monailabel_app.config.SHIPPED_MODELS", tmp_path / "none")


def test_a_bundle_has_its_parts(cli, narrow, models, tmp_path):
    out = tmp_path / "new" / "bundle"
    words = ("export-model", narrow, "--format", "bundle", "--models", models, "--out", out)
    ended = cli(*words)
    assert ended.status == 0, ended.err
    told = json.loads((out / "configs" / "metadata.json").read_text())
    assert told["name"] == narrow and told["app"]["spec"]["network"]["channels"] == [4, 8, 8]
    assert (out / "models" / "model.pt").is_file() and "Apache" in (out / "LICENSE").read_text()
    cli(*words).assert_refused("exists already")


def test_onnx_is_written_and_its_difference_told(cli, narrow, models, tmp_path):
    out, figures = tmp_path / "narrow.onnx", tmp_path / "figures.json"
    words = ("export-model", narrow, "--format", "onnx", "--models", models, "--json", figures)
    ended = cli(*words, "--out", out)
    assert ended.status == 0, ended.err
    assert 0 <= json.loads(figures.read_text())["difference"] < 1e-3
    assert out.stat().st_size > 1000
    cli(*words, "--out", tmp_path / "narrow").assert_refused("ends in .onnx")
    cli(*words, "--out", tmp_path / "none" / "a.onnx").assert_refused("make it first")


def test_a_task_without_weights_is_refused(cli, models, tmp_path):
    words = ("export-model", "busi_lesion", "--models", models, "--out", tmp_path / "b")
    cli(*words, "--format", "bundle").assert_refused("no weights yet")
    assert not (tmp_path / "b").exists()


def test_missing_packages_are_named(cli, narrow, models, tmp_path, monkeypatch):
    monkeypatch.setattr("lib.exchange.onnx_model._NEEDED", ("onnx", "not_installed_here"))
    words = ("export-model", narrow, "--format", "onnx", "--models", models)
    ended = cli(*words, "--out", tmp_path / "a.onnx")
    ended.assert_refused("needs not_installed_here", "requirements-exchange.txt")


def test_labels_are_exported_and_imported(cli, tmp_path):
    studies, out = tmp_path / "studies", tmp_path / "out"
    write_nuclei_studies(studies, 3, 2, 0)
    ended = cli("export-data", "coco", "nuclei", "--studies", studies, "--out", out)
    assert ended.status == 0 and "2 images with" in ended.out, ended.err
    ended = cli("import", "coco", out, tmp_path / "again", "--table", out / "annotations.json")
    assert ended.status == 0 and "2 images with" in ended.out, ended.err
    ended = cli("import", "nnunet", out, tmp_path / "third", "--table", out / "annotations.json")
    ended.assert_refused("--table is for")
    words = ("export-data", "coco", "density_birads", "--studies", studies, "--out", tmp_path / "x")
    cli(*words).assert_refused("has no masks")
