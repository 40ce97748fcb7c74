"""Benchmarks on any device: figures of its load, whole trainings, and the script that runs all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.speed import batch, device_load, inference, study, train, training_step
from benchmarks.speed.device_load import count_flops, load_lines, load_of, peak_tflops, watched
from benchmarks.speed.rounds import Timed, measure_here
from lib.errors import InputError
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS

REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("SimpleITK", "itk", "monailabel"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Blocked())
"""


def _nothing() -> None:
    """Show no progress."""


@pytest.fixture
def here(monkeypatch):
    """Measure without processes, each variant once."""

    def measured(prepare, variants, settings, *_, **__):
        found = {}
        for variant in variants:
            run, finish = prepare(variant, **settings)
            run()
            found[variant] = Timed([2.0], 900.0, 600.0, finish())
        return found

    for module in (training_step, train, inference, batch):
        monkeypatch.setattr(module, "measure", measured)
    monkeypatch.setattr(device_load, "WATCHED_SECONDS", 0.0)


def test_operations_are_counted_and_set_beside_the_peak(monkeypatch):
    left, right = torch.rand(64, 32), torch.rand(32, 16)
    assert count_flops(lambda: left @ right) == 2 * 64 * 32 * 16
    monkeypatch.setattr(device_load, "WATCHED_SECONDS", 0.05)
    calls = []
    row = load_of(lambda: calls.append(1), 1e9, CPU, torch.float32)
    assert row["tflop_per_s"] > 0 and len(calls) > 1
    share = row["tflop_per_s"] / peak_tflops(CPU, torch.float32)["measured"]
    assert row["share_of_measured_peak"] == pytest.approx(share, rel=0.01)
    unknown = ("utilisation_percent", "share_of_sheet_peak", "peak_device_memory_mib")
    assert [row[name] for name in unknown] == [None, None, None]
    assert load_lines({"ours": row, "plain": {}})[0].startswith("ours: ")


def test_utilisation_is_read_by_nvml_else_by_nvidia_smi_else_unknown(monkeypatch):
    cuda = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 83)
    assert device_load.read_utilisation(cuda) == 83

    def absent(device):
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", absent)
    asked = []

    def smi(words, **_):
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, stdout="47\n")

    monkeypatch.setattr(subprocess, "run", smi)
    assert device_load.read_utilisation(cuda) == 47
    assert asked[0][-2:] == ["-i", "1"]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert device_load.read_utilisation(cuda) is None


def test_utilisation_is_sampled_meanwhile(monkeypatch):
    monkeypatch.setattr(device_load, "SAMPLE_SECONDS", 0.001)
    values = [10.0, 30.0, None]
    monkeypatch.setattr(device_load, "read_utilisation", lambda _: values.pop(0))
    with watched(torch.device("cuda")) as utilisation:
        while values:
            time.sleep(0.001)
    assert utilisation.mean == 20
    with watched(CPU) as nothing:
        pass
    assert nothing.mean is None


def test_a_step_is_measured_on_the_device_asked_for_with_its_load(here):
    report = training_step.run(3, _nothing, "cpu", quick=True)
    assert list(report["figures"]) == [training_step.STOCK, training_step.OURS]
    for row in report["figures"].values():
        assert row["images_per_s"] == 1.0  # two images in two seconds
        assert row["tflop_per_s"] > 0
    losses = [row["first_loss"] for row in report["figures"].values()]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def test_a_whole_training_is_measured_beside_stock(here):
    report = train.run(_nothing, "cpu", quick=True)
    assert report["left_out"] == {}
    for row in report["figures"].values():
        assert row["steps"] == 8
        assert [step for _, step, _ in row["validations"]] == [2, 4, 6, 8]
        assert 0 < row["first_validation_s"] < row["last_validation_s"]
        assert row["images_per_s"] > 0 and row["tflop_per_s"] >= 0
    assert report["ours_times_as_fast"] > 0
    lines = train.table(report)
    assert lines[0].startswith("ours: ") and "0.90 after" in lines[0]


def test_a_training_ends_with_its_time_and_tells_so(here, monkeypatch):
    monkeypatch.setattr(train, "SECONDS", {"cpu": {train.OURS: 0.0, train.STOCK: 0.0}})
    for row in train.run(_nothing, "cpu", quick=True)["figures"].values():
        assert (row["steps"], row["stopped_after_s"], row["images_per_s"]) == (2, 0.0, None)


def test_goals_are_reached_at_the_first_validation_that_meets_them():
    task = train.get_task(train.TASK)
    seen = [(10.0, 250, 0.5), (12.0, 500, 0.905), (14.0, 750, 0.93), (16.0, 1000, 0.91)]
    row = train._course(seen, task)
    assert (row["seconds_to_0.90"], row["seconds_to_0.92"]) == (12.0, 14.0)
    assert row["images_per_s"] == 750 * task.training.batch_size / 6
    assert (row["mean_iou"], row["best_mean_iou"]) == (0.91, 0.93)


def test_a_study_is_measured_one_by_one_and_at_once(monkeypatch):
    asked, reproduce = [], study.reproduce

    def reproduced(campaign, items, say):
        asked.append((campaign.jobs, campaign.steps, len(campaign.runs())))
        return reproduce(replace(campaign, jobs=1), items, say)  # without starting processes

    monkeypatch.setattr(study, "reproduce", reproduced)
    monkeypatch.setattr(study, "choose_at_once", lambda: 3)
    monkeypatch.setattr(study, "SAMPLE_SECONDS", 0.05)
    report = study.run(_nothing, "cpu", quick=True)
    assert asked == [(1, 2, 2), (3, 2, 2)]
    assert report["mean_iou_differs_by"] == 0
    for row in report["figures"].values():
        assert (row["runs"], row["failed"]) == (2, 0)
        assert row["seconds"] > 0 and row["peak_memory_mib"] > 100
    lines = study.table(report)
    assert lines[1].startswith("at once (3): ") and "for 2 runs, 0 failed" in lines[1]


@pytest.mark.parametrize("with_monailabel", [True, False])
def test_inference_and_batches_are_measured_with_and_without_monai_label(
    here, weights, tmp_path, monkeypatch, with_monailabel
):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{batch.TASK}.pt").write_bytes(weights.read_bytes())
    store = ModelStore(tmp_path / "models", tmp_path / "none")
    if not with_monailabel:
        for module in (inference, batch):
            monkeypatch.setattr(module, "find_spec", lambda name: None)
    report = inference.run(3, store, _nothing, "cpu", quick=True)
    figures = report["figures"]
    assert list(figures) == [inference.STOCK, inference.SLIDING, inference.OURS]
    assert report["stock"] == (
        "BasicInferTask" if with_monailabel else "the calls of BasicInferTask"
    )
    for row in figures.values():
        assert abs(row["mean_iou_minus_fp32"]) < 0.01
    assert min(figures[inference.OURS][f"answer_{name}_ms"] for name in ("infer", "post")) > 0
    report = batch.run(store, _nothing, "cpu", quick=True)
    assert report["left_out"] == {}
    assert list(report["figures"]) == [batch.OURS, batch.STOCK, batch.SLIDING]
    assert all(row["images_per_s"] == 2.0 for row in report["figures"].values())
    assert batch.table(report)[0].startswith("ours: 2.0 images/s")


def test_another_task_for_nuclei_is_measured_by_its_own_weights(here, tmp_path):
    store = ModelStore(tmp_path, SHIPPED_MODELS)
    for module, runs in ((inference, (3,)), (batch, ())):
        report = module.run(*runs, store, _nothing, "cpu", quick=True, task="nuclei")
        assert report["task"] == "nuclei" and "of nuclei on" in report["what"]
        assert report["weights"].startswith("served weights")
        assert report["left_out"] == {}


def test_on_a_gpu_recorded_answers_stand_beside_those_that_are_not(tmp_path, monkeypatch):
    asked = []

    def measured(prepare, variants, settings, *_, **__):
        asked.extend(variants)
        raise InputError("no GPU here")

    monkeypatch.setattr(inference, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(inference, "device_name", lambda device: "H200")
    monkeypatch.setattr(inference, "measure", measured)
    with pytest.raises(InputError, match="no GPU here"):
        inference.run(3, ModelStore(tmp_path, SHIPPED_MODELS), _nothing, "cuda")
    stock = [inference.STOCK, inference.SLIDING]
    assert asked == [*stock, inference.OURS, inference.CALLED]


def test_what_fails_in_this_process_is_an_input_error_with_its_reason():
    def failing(variant):
        raise RuntimeError("CUDA out of memory.")

    with pytest.raises(InputError, match="'a' failed: RuntimeError: CUDA out of memory"):
        measure_here(failing, "a", {}, 3, 0.0)
    calls = []
    timed = measure_here(lambda variant: (lambda: calls.append(1), lambda: 7), "a", {}, 4, 9.0)
    assert (len(timed["a"].seconds), len(calls), timed["a"].result) == (4, 9, 7)


def _gpu(tmp_path, environment, **words):
    """Run benchmarks/gpu.sh without SimpleITK and MONAI Label, and return its end and report."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKED)
    told = {"DEVICE": "cpu", "QUICK": "1", "PYTHON": sys.executable, "OUT": str(tmp_path / "out")}
    ended = subprocess.run(
        [REPOSITORY / "benchmarks" / "gpu.sh"],
        env={**environment, "PYTHONPATH": str(site), **told, **words},
        capture_output=True,
        text=True,
        timeout=900,
    )
    return ended, json.loads((tmp_path / "out" / "gpu.json").read_text())


def test_the_script_for_gpus_runs_on_a_bare_machine(tmp_path, environment):
    ended, report = _gpu(tmp_path, environment, ONLY="rows train_32")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [row["name"] for row in report["benchmarks"]] == ["train_32", "rows"]
    assert {row["status"] for row in report["benchmarks"]} == {0}
    assert (report["device"], report["quick"]) == ("cpu", True)
    made = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert set(made) == {"gpu", "rows", "train_32"}
    assert set(made["train_32"]["figures"]) == {train.OURS, train.STOCK}
    assert made["rows"]["figures"]["nuclei_u3clr"]["steps"] >= 2


def test_the_script_tells_what_failed_and_what_had_no_time(tmp_path, environment):
    ended, report = _gpu(tmp_path, environment, ONLY="rows", DEVICE="cuda:7")
    assert ended.returncode == 1
    assert "device 'cuda:7' is not here: 0 CUDA devices found" in ended.stderr
    assert report["benchmarks"][0]["status"] != 0
    (tmp_path / "later").mkdir()
    ended, report = _gpu(tmp_path / "later", environment, ONLY="rows batch", SECONDS_IN_ALL="0")
    assert ended.returncode == 1
    assert [(row["name"], row["status"]) for row in report["benchmarks"]] == [
        ("rows", 124),
        ("batch", 124),
    ]
