"""A stranger's tasks on the command line: the files of docs/own_tasks.md, as they stand there."""

from __future__ import annotations

import json
import os
import re
import sys

import numpy as np
import pytest
from own_tasks_page import PAGE, write_example, write_narrow_example

from lib.phantoms.ultrasound.studies import write_ultrasound_studies
from lib.tasks import outside
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.config import DEFAULT_MODELS, AppConfig

pytestmark = pytest.mark.usefixtures("own_tasks")


@pytest.fixture
def frames(tmp_path):
    """Labelled frames of ultrasound as pictures."""
    folder = tmp_path / "frames"
    write_ultrasound_studies(
        folder, nerves=6, breasts=0, volumes=0, loops=0, labelled=1.0, absent=0.0
    )
    return folder


def test_the_rows_of_the_page_are_listed_from_any_folder(run_python, tmp_path):
    file = write_example(tmp_path)
    for words in (["--task-file", file.name, "list"], ["list", f"--task-file={file.name}"]):
        ended = run_python("-m", "monailabel_app", *words, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        lines = [line for line in ended.stdout.splitlines() if line.startswith("follicles")]
        assert len(lines) == 2 and all("segmentation" in line and "none" in line for line in lines)


def test_a_row_is_trained_published_and_answers(cli, frames, models, tmp_path):
    file = write_narrow_example(tmp_path)
    words = ["--steps", "2", "--val-interval", "2", "--batch-size", "2", "--device", "cpu"]
    out = tmp_path / "run"
    ended = cli(
        *("train", "follicles", "--task-file", file, "--studies", frames, "--out", out, *words),
        *("--json", tmp_path / "run.json"),
    )
    assert ended.status == 0, ended.err
    checkpoint = load_checkpoint(out / "best.pt")
    assert checkpoint.task == "follicles" and checkpoint.spec["labels"] == {"follicle": 1}
    assert json.loads((tmp_path / "run.json").read_text())["task"]["name"] == "follicles"
    picture = next(frames.glob("*.png"))
    ended = cli(
        *("--task-file", file, "infer", "follicles", picture, "--weights", out / "best.pt"),
        *("--out", tmp_path / "masks", "--models", models, "--device", "cpu"),
    )
    assert ended.status == 0 and "1 of 1 images" in ended.out, ended.err


def test_the_python_file_of_the_page_adds_a_task_and_its_loss(cli, studies, tmp_path):
    file = write_example(tmp_path, "python")
    words = ["--steps", "2", "--val-interval", "2", "--batch-size", "2", "--patch-size", "32"]
    ended = cli(
        *("train", "nuclei_squared", "--task-file", file, "--studies", studies),
        *("--channels", "4,6,8,8,8", *words, "--device", "cpu", "--out", tmp_path / "run"),
    )
    assert ended.status == 0, ended.err
    assert load_checkpoint(tmp_path / "run" / "best.pt").spec["training"]["loss"] == "squared_error"


def test_the_messages_of_the_page_are_those_that_are_said(cli, tmp_path):
    file = write_example(tmp_path)
    said = re.findall(r"^Error: (my_tasks.yaml, task 'follicles': .*?)(?: \.\.\.)?$", PAGE, re.M)
    right = file.read_text()
    wrong = [right.replace("channels: [8, 16, 32, 64]", "channels: 8, 16", 1)]
    wrong += [right.replace("learning_rate", "learning_rat", 1)]
    assert len(said) == len(wrong) == 2
    for message, text in zip(said, wrong, strict=True):
        file.write_text(text)
        cli("list", "--task-file", file).assert_refused(message)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("training: {loss: bce_dise}", "unknown loss 'bce_dise': did you mean 'bce_dice'"),
        ("training: {optimizer: adan}", "unknown optimizer 'adan': did you mean 'adam'"),
        ("training: {patch_size: 100}", "patch_size must be a multiple of 16"),
        ("kind: segmentations", "unknown kind 'segmentations': did you mean 'segmentation'"),
        ("kind: classification", "classification needs a ClassifierSpec and an exam"),
    ],
)
def test_what_only_the_whole_app_knows_is_checked_by_list(field, message, cli, tmp_path):
    file = tmp_path / "rows.yaml"
    row = "tasks: [{name: own, extends: nerve_vhllrhe, description: Own, %s}]"
    file.write_text(row % field)
    cli("list", "--task-file", file).assert_refused("task 'own'", message)


def test_a_key_metric_that_is_no_figure_is_named_at_the_first_validation(cli, studies, tmp_path):
    file = tmp_path / "rows.yaml"
    file.write_text(
        "tasks: [{name: own, extends: nuclei_u3clr, description: Own, key_metric: mean_iu}]"
    )
    words = ["--steps", "2", "--batch-size", "2", "--patch-size", "32", "--device", "cpu"]
    cli(
        *("train", "own", "--task-file", file, "--studies", studies, "--out", tmp_path / "run"),
        *("--channels", "4,6,8,8,8", *words),
    ).assert_refused("key_metric of task 'own' 'mean_iu': did you mean 'mean_iou'")


def test_a_file_that_is_not_there_is_refused(cli):
    cli("list", "--task-file", "absent.yaml").assert_refused("'absent.yaml' does not exist")
    cli("list", "--task-file").assert_refused("task file")


def test_the_server_serves_own_tasks_beside_its_default_ones(tmp_path):
    file = write_example(tmp_path)
    assert AppConfig.from_conf({}).models == DEFAULT_MODELS
    config = AppConfig.from_conf({"tasks": str(file)})
    assert config.models == (*DEFAULT_MODELS, "follicles", "follicles_wide")
    assert os.environ[outside.VARIABLE] == str(file)


def test_named_models_may_be_own_ones_whatever_comes_first(tmp_path):
    file = write_example(tmp_path)
    config = AppConfig.from_conf({"models": "follicles", "tasks": str(file)})
    assert config.models == ("follicles",) and "follicles" in TASKS


@pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")
def test_types_of_files_of_a_python_file_are_read_in_workers(run_python, tmp_path, monkeypatch):
    (tmp_path / "types.py").write_text(
        "import numpy as np\n"
        "from lib.image import Geometry, Image\n"
        "from lib.io import read\n"
        "def size(path):\n    return np.load(path, mmap_mode='r').shape[::-1]\n"
        "def pixels(path, max_pixels, spatial_dims):\n"
        "    array = np.load(path)\n"
        "    return Image(array, Geometry.flat(*array.shape), path)\n"
        "read.FILE_TYPES += (read.FileType(extensions=('.npy',), size=size, read=pixels),)\n"
    )
    np.save(tmp_path / "cell.npy", np.eye(8, dtype=np.uint8))
    monkeypatch.setenv(outside.VARIABLE, str(tmp_path / "types.py"))
    program = (
        "import os, sys; from pathlib import Path; os.environ['UNETVNET_TASKS'] = sys.argv[1]\n"
        "from lib.tasks import outside; outside.load_given()\n"
        "from lib.isolation import calls; calls.read_in_workers()\n"
        "from lib.io.read import read_image\n"
        "print(read_image(Path(sys.argv[2])).shape)\n"
    )
    ended = run_python("-c", program, tmp_path / "types.py", tmp_path / "cell.npy")
    assert ended.stdout.strip() == "(8, 8)", ended.stderr
