"""`train`: writes what it promises, goes on where it was, refuses what cannot be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore

TASK = "nuclei_vhllrhe"
SMALL = ("--batch-size", 2, "--patch-size", 32, "--device", "cpu", "--precision", "fp32")
STEPS = ("--steps", 4, "--val-interval", 2)


@pytest.fixture
def train(cli, studies, tmp_path, models):
    """Return a function that runs a short training."""

    def run(*words, out="run"):
        return cli(
            *("train", TASK, "--studies", studies, "--out", tmp_path / out, "--models", models),
            *SMALL,
            *words,
        )

    return run


def test_train_writes_weights_figures_and_their_story(train, tmp_path, models):
    ended = train("--steps", 4, "--val-interval", 2, "--json", tmp_path / "run.json", "--seed", 3)
    assert ended.status == 0, ended.err
    assert "mean_iou" in ended.out
    assert "after 4 steps" in ended.out
    report = json.loads((tmp_path / "run.json").read_text())
    assert [entry["step"] for entry in report["history"]] == [2, 4]
    assert report["seed"] == 3
    assert report["task"]["training"]["steps"] == 4
    assert report["command"].startswith(f"python -m monailabel_app train {TASK} --studies studies")
    assert str(tmp_path) not in report["command"]
    checkpoint = load_checkpoint(tmp_path / "run" / "best.pt")
    assert checkpoint.metrics == report["metrics"]
    assert checkpoint.provenance["command"] == report["command"]
    assert {"state.pt", "history.json", "stats.json", "tensorboard"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    assert not (models / f"{TASK}.pt").exists(), "publishing is asked for"


def test_a_narrower_network_may_be_trained_but_not_served(train, tmp_path):
    words = ("--longest-side", 32, "--channels", "4,4,4,4,4")
    assert train("--steps", 1, *words).status == 0
    spec = load_checkpoint(tmp_path / "run" / "best.pt").spec
    assert list(spec["network"]["channels"]) == [4, 4, 4, 4, 4]
    assert spec["input"]["longest_side"] == 32
    refused = train("--steps", 1, *words, "--publish", out="other")
    refused.assert_refused("--publish is for a task as it is, not with --longest-side")
    train("--channels", "8", out="third").assert_refused("one for each of 5 levels")


def test_an_interrupted_training_goes_on_and_ends_the_same(train, tmp_path, monkeypatch):
    from lib.training.batches import StepBatches

    words = ("--steps", 6, "--val-interval", 2)
    train(*words, "--json", tmp_path / "whole.json", out="whole")
    prepare = StepBatches.__getitem__

    def interrupt(self, step):
        if step == 5:
            raise KeyboardInterrupt
        return prepare(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", interrupt)
        ended = train(*words, out="cut")
    assert ended.status == 130
    assert ended.err.strip().splitlines()[-1].startswith("Error: interrupted; run the command aga")
    ended = train(*words, "--json", tmp_path / "cut.json", out="cut")
    assert ended.status == 0, ended.err
    whole, cut = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("whole", "cut"))
    assert cut["history"] == whole["history"]
    assert cut["metrics"] == whole["metrics"]


def test_publishing_goes_through_the_gate(train, models, tmp_path):
    ended = train("--steps", 2, "--publish")
    assert ended.status == 0, ended.err
    assert "an empty mask scores" in ended.out and "kept aside" in ended.out
    store = ModelStore(models, tmp_path)
    assert store.served_path(TASK) is None
    store.restore(TASK, store.versions(TASK)[0].id)  # as somebody may who wants them nevertheless
    live = (models / f"{TASK}.pt").read_bytes()
    # the same run again scores the same, which is not better
    ended = train("--steps", 2, "--publish", "--json", tmp_path / "run.json", out="again")
    assert ended.status == 0, ended.err
    assert "does not beat the published" in ended.out
    assert "does not beat" in json.loads((tmp_path / "run.json").read_text())["gate"]
    assert (models / f"{TASK}.pt").read_bytes() == live
    assert [v.published for v in ModelStore(models, tmp_path).versions(TASK)] == [False, False]


def test_epochs_are_passes_over_the_training_images(train, tmp_path):
    assert train("--epochs", 2, "--json", tmp_path / "run.json").status == 0
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["steps"] == 2 * -(-len(report["training_ids"]) // 2)


def test_volumes_are_trained_on_segmented_and_scored(
    cli, volume_task, volume_items, tmp_path, models, monkeypatch
):
    monkeypatch.setitem(TASKS, "balls", replace(volume_task, name="balls"))
    folder = volume_items[0].image.parent
    ended = cli(
        *("train", "balls", "--studies", folder, "--out", tmp_path / "run", "--models", models),
        *("--device", "cpu", "--precision", "fp32", "--steps", 12, "--publish"),
    )
    assert ended.status == 0, ended.err
    served = ("--models", models, "--device", "cpu")
    ended = cli("infer", "balls", volume_items[0].image, "--out", tmp_path / "masks", *served)
    assert ended.status == 0, ended.err
    mask = sitk.ReadImage(str(tmp_path / "masks" / "ball_0.nrrd"))
    assert mask.GetSize() == (20, 24, 12)
    assert mask.GetSpacing() == (0.5, 0.5, 1.0)
    ended = cli(
        *("evaluate", "balls", "--studies", folder, "--json", tmp_path / "score.json", *served)
    )
    assert ended.status == 0, ended.err
    row = json.loads((tmp_path / "score.json").read_text())["images"][0]
    assert (row["slices"], row["rows"], row["columns"]) == (12, 24, 20)


def test_torchrun_gives_the_curve_of_one_process(studies, tmp_path, train, environment):
    assert train(*STEPS, "--json", tmp_path / "one.json", out="one").status == 0
    words = ("--studies", studies, "--out", tmp_path / "two", "--json", tmp_path / "two.json")
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", "-m", "monailabel_app", "train", TASK),
            *map(str, (*words, *SMALL, *STEPS)),
        ],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = child.communicate(timeout=600)
    finally:
        if child.poll() is None:  # torchrun's own children end with their group only
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 0, errors
    one, two = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("one", "two"))
    assert len(two["history"]) == 2
    for entry, other in zip(two["history"], one["history"], strict=True):
        assert entry == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--steps", 2, "--epochs", 2), ["give --steps or --epochs, not both"]),
        (("--steps", 0), ["--steps"]),
        (("--steps", "many"), ["--steps", "many"]),
        (("--optimizer", "adm"), ["unknown optimizer 'adm': did you mean 'adam'"]),
        (("--loss", "dise"), ["unknown loss 'dise': did you mean 'dice'"]),
        (("--learning-rate", "-1"), ["learning_rate must be positive, found -1.0"]),
        (("--learning-rate", "nan"), ["learning_rate must be positive, found nan"]),
        (("--val-split", "1"), ["val_split must lie between 0 and 1, found 1.0"]),
        (("--patch-size", "40"), ["patch_size must be a multiple of 16", "found 40"]),
        (("--device", "tpu"), ["device 'tpu'"]),
        (("--device", "cuda:99"), ["device 'cuda:99'"]),
        (("--processes", "3"), ["batch_size 2 cannot be shared by 3 processes"]),
        (("--init-from", "absent.pt"), ["absent.pt: no such weights file"]),
        (("--lerning-rate", "1"), ["No such option", "--learning-rate"]),
    ],
)
def test_impossible_requests_are_refused_in_one_line(train, words, expected):
    train(*words).assert_refused(*expected)


def test_a_diverged_training_is_told_in_one_line(train):
    words = ("--steps", 3, "--val-interval", 1, "--learning-rate", "1e30", "--schedule", "constant")
    train(*words).assert_refused("no longer finite at step", "lower the learning rate")


def test_data_that_cannot_be_trained_on_is_refused(cli, studies, tmp_path):
    cli("train", TASK, "--studies", tmp_path / "absent").assert_refused("absent' does not exist")
    cli("train", TASK, "--studies", tmp_path).assert_refused("no labelled images in")
    cli("train", "nuclei_vhlrhe", "--studies", studies).assert_refused("did you mean 'nuclei_v")
    cli("train", TASK).assert_refused("Missing option '--studies'")


def test_weights_of_a_network_that_hardly_fits_are_refused(cli, weights, studies, tmp_path):
    cli(
        *("train", "nuclei", "--studies", studies, "--out", tmp_path / "run"),
        *("--init-from", weights, *SMALL),
    ).assert_refused("do not fit task 'nuclei'", "expected at least half")


def test_weights_of_another_task_are_taken_as_far_as_they_fit(cli, weights, studies, tmp_path):
    assert TASKS["nuclei_vdlrhe"].network == TASKS[TASK].network
    run = tmp_path / "run"
    words = ("--steps", 1, "--init-from", weights, *SMALL)
    ended = cli("train", "nuclei_vdlrhe", "--studies", studies, "--out", run, *words)
    assert ended.status == 0, ended.err
    origin = load_checkpoint(run / "best.pt").provenance["from"]
    assert (origin["task"], origin["tensors_fresh"]) == (TASK, [])
    assert origin["tensors_taken"] > 50


def test_a_broken_label_is_named(cli, tmp_path, studies):
    import shutil

    copy = shutil.copytree(studies, tmp_path / "studies")
    (copy / "labels" / "final" / "nucleus_1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = cli("train", TASK, "--studies", copy, "--out", tmp_path / "run", *SMALL)
    ended.assert_refused("nucleus_1.png: damaged or not an image of its type")


def test_a_full_disk_is_told_in_one_line(train, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device", "state.pt")

    monkeypatch.setattr("lib.weights.checkpoint.write_atomically", fail)
    train("--steps", 1).assert_refused("no space left on the disk for state.pt")


def test_labels_of_other_structures_are_left_out_and_named(cli, studies, tmp_path):
    folder = shutil.copytree(studies, tmp_path / "studies")
    for name in ("nucleus_0", "nucleus_1"):
        (folder / "labels" / "final" / f"{name}.png").unlink()
        label = sitk.GetImageFromArray(np.ones((64, 64), np.uint8))
        label.SetMetaData("Segment0_Name", "vessel" if name == "nucleus_0" else "Nuclei_1")
        sitk.WriteImage(label, str(folder / "labels" / "final" / f"{name}.seg.nrrd"))
    words = ("train", TASK, "--studies", folder, "--out", tmp_path / "run", *SMALL, "--steps", 1)
    ended = cli(*words, "--json", tmp_path / "run.json")
    assert ended.status == 0, ended.err
    report = json.loads((tmp_path / "run.json").read_text())
    assert list(report["left_out"]) == ["nucleus_0"]
    assert "is a label of vessel" in report["left_out"]["nucleus_0"]
    assert "label of 'nucleus_0' left out: nucleus_0.seg.nrrd: is a label of vessel" in ended.err
    used = report["training_ids"] + report["validation_ids"]
    assert "nucleus_0" not in used and "nucleus_1" in used


def test_a_run_that_is_not_published_says_how_it_can_be_without_training_again(train, tmp_path):
    ended = train("--steps", 2)
    assert "Not served yet. The same command with --publish serves them" in ended.out
    assert f"infer {TASK} FILES --weights {tmp_path / 'run' / 'best.pt'}" in ended.out
    written = (tmp_path / "run" / "best.pt").stat().st_mtime_ns
    ended = train("--steps", 2, "--publish")
    assert ended.status == 0 and "kept aside" in ended.out and "Not served yet" not in ended.out
    assert (tmp_path / "run" / "best.pt").stat().st_mtime_ns == written
    narrow = train("--steps", 1, "--channels", "4,6,8,8,8", out="narrow")
    assert "Not served. To try them" in narrow.out and "--publish" not in narrow.out


def test_a_gpu_that_is_not_there_is_refused(cli, studies, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for verb, *words in (("train", TASK, "--studies", studies), ("infer", TASK, studies / "a.png")):
        cli(verb, *words, "--device", "cuda").assert_refused(
            "--device cuda: no CUDA device is found here; use cpu, or auto"
        )
