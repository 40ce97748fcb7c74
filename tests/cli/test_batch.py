"""`batch-infer`: every image answered once, whatever interrupts it and however many share it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monailabel_app.config import SHIPPED_MODELS

TASK = "nuclei_vhllrhe"
IMAGES = 12
STARTING_SECONDS = 600  # of patience with a busy machine
SLOWLY = """
import sys, time
from lib.segmentation.predictor import Predictor
from monailabel_app.cli import main

plain = Predictor.finished

def finished(*given):
    time.sleep(0.5)  # so that it is killed before it ends
    return plain(*given)

Predictor.finished = finished
main(sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path: Path, studies: Path) -> Path:
    """Twelve images, the first of which has an accepted label."""
    folder = tmp_path / "batch"
    (folder / "labels" / "final").mkdir(parents=True)
    for number in range(IMAGES):
        pixels = np.asarray(Image.open(studies / f"nucleus_{number % 4}.png"))
        Image.fromarray(np.roll(pixels, 5 * number, axis=0)).save(folder / f"case_{number:02d}.png")
    label = Image.open(folder / "case_00.png").convert("L").point(lambda value: value // 200)
    label.save(folder / "labels" / "final" / "case_00.png")
    return folder


@pytest.fixture
def live(models: Path, weights: Path) -> Path:
    """A folder of models with live weights of the task."""
    shutil.copyfile(weights, models / f"{TASK}.pt")
    return models


def words(folder: Path, live: Path, *more: object) -> list[str]:
    common = ("--models", live, "--device", "cpu", "--precision", "fp32")
    return [str(word) for word in ("batch-infer", TASK, "--studies", folder, *common, *more)]


def answers(folder: Path, tag: str = "original") -> dict[str, bytes]:
    """Return the label files of a tag."""
    found = (folder / "labels" / tag).glob("*.png")
    return {file.name: file.read_bytes() for file in found}


@pytest.fixture
def begin(environment: dict[str, str]) -> Iterator[Any]:
    """Return a function that starts Python in a process of its own; it ends with the test."""
    children = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:  # torchrun's own children end with their group only
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def test_images_are_answered_again_for_another_diameter(cli, folder, models):
    for file in sorted(folder.glob("*.png"))[2:]:
        file.unlink()
    shutil.copyfile(SHIPPED_MODELS / "pretrained_nuclei.pt", models / "nuclei.pt")
    common = ("batch-infer", "nuclei", "--studies", folder, "--models", models, "--all")
    for told, expected in (("0", 2), ("0", 0), ("62", 2), ("62", 0), ("63", 2), ("0", 2)):
        ended = cli(*common, "--device", "cpu", "--diameter", told)
        assert f"{expected} images answered, {2 - expected} had their answer" in ended.out, told
    other = words(folder, models, "--diameter", "66")
    cli(*other).assert_refused(f"--diameter: '{TASK}' resamples no images for it")


def test_unlabelled_images_are_answered_once_and_bad_ones_named(cli, folder, live, tmp_path):
    (folder / "bad.png").write_text("not a picture")
    report = tmp_path / "report.json"
    ended = cli(*words(folder, live, "--json", report))
    assert ended.status == 2
    assert f"{IMAGES - 1} images answered, 0 had their answer, 1 failed" in ended.out
    assert ended.err.startswith("Error: bad: bad.png")
    assert set(answers(folder)) == {f"case_{number:02d}.png" for number in range(1, IMAGES)}
    content = json.loads(report.read_text())
    assert [row["image"] for row in content["written"]] == [
        f"case_{number:02d}" for number in range(1, IMAGES)
    ]
    assert set(content["failed"]) == {"bad"}
    index = json.loads((folder / "datastore_v2.json").read_text())["objects"]
    info = index["case_01"]["labels"]["original"]["info"]
    assert (info["model"], info["params"]["model_version"]) == (TASK, content["version"])

    before = answers(folder)
    ended = cli(*words(folder, live))
    assert f"0 images answered, {IMAGES - 1} had their answer, 1 failed" in ended.out
    ended = cli(*words(folder, live, "--all"))
    assert f"1 images answered, {IMAGES - 1} had their answer, 1 failed" in ended.out
    assert answers(folder).items() > before.items()


def test_originals_are_masks_that_viewers_show_unless_objects_are_asked_for(cli, folder, live):
    def stored() -> tuple[np.ndarray, dict[str, int]]:
        index = json.loads((folder / "datastore_v2.json").read_text())["objects"]
        info = index["case_01"]["labels"]["original"]["info"]["params"]
        label = np.asarray(Image.open(folder / "labels" / "original" / "case_01.png"))
        return label, info["label_names"]

    assert "11 images answered" in cli(*words(folder, live)).out
    mask, names = stored()
    assert names == {"nuclei": 1} and np.array_equal(np.unique(mask), [0, 1])
    ended = cli(*words(folder, live, "--result", "instances"))
    assert "11 images answered, 0 had their answer" in ended.out
    objects, names = stored()
    assert list(names.values()) == list(range(1, objects.max() + 1))
    assert list(names)[0] == "nuclei 1"
    assert "0 images answered" in cli(*words(folder, live, "--result", "instances")).out
    assert "11 images answered" in cli(*words(folder, live, "--result", "mask")).out
    other = ("batch-infer", "busi_lesion", "--studies", folder, "--models", live)
    cli(*other, "--result", "instances").assert_refused("'busi_lesion'")


def test_other_weights_answer_again(cli, folder, live):
    from lib.weights.store import ModelStore

    assert "11 images answered" in cli(*words(folder, live)).out
    store = ModelStore(live, live / "nothing")
    file = live / f"{TASK}.pt"
    copy = live / "copy.pt"
    copy.write_bytes(file.read_bytes())
    store.restore(TASK, store.add(TASK, copy, {}, True, "again"))
    ended = cli(*words(folder, live))
    assert "11 images answered, 0 had their answer" in ended.out


def test_a_killed_run_goes_on_where_it_was(cli, folder, live, begin):
    shutil.copytree(folder, whole := folder.with_name("whole"))
    child = begin("-c", SLOWLY, *words(folder, live))
    deadline = time.monotonic() + STARTING_SECONDS
    while len(answers(folder)) < 3:
        assert child.poll() is None and time.monotonic() < deadline, "no three answers"
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    done = {
        name: (folder / "labels" / "original" / name).stat().st_mtime_ns for name in answers(folder)
    }
    assert 3 <= len(done) < IMAGES - 1, "it ended before it was killed"
    ended = cli(*words(folder, live))
    assert ended.status == 0, ended.err
    again = [
        name
        for name, stamp in done.items()
        if (folder / "labels" / "original" / name).stat().st_mtime_ns != stamp
    ]
    assert len(again) <= 1, "only the label whose record was not written may be made again"
    cli(*words(whole, live))
    assert answers(folder) == answers(whole)


def test_torchrun_and_processes_give_the_files_of_one_process(cli, folder, live, begin, tmp_path):
    (folder / "bad.png").write_text("not a picture")
    for name in ("torchrun", "processes"):
        shutil.copytree(folder, tmp_path / name)
    cli(*words(folder, live))
    report = tmp_path / "report.json"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    child = begin(
        *launcher,
        *("-m", "monailabel_app", *words(tmp_path / "torchrun", live, "--json", report)),
    )
    out, errors = child.communicate(timeout=STARTING_SECONDS)
    assert child.returncode != 0, "the bad image was not reported"
    assert "11 images answered, 0 had their answer, 1 failed" in out, errors
    assert out.count("images answered") == 1
    assert len(json.loads(report.read_text())["written"]) == 11
    ended = cli(*words(tmp_path / "processes", live, "--processes", "2"))
    assert ended.status == 2
    assert "11 images answered, 0 had their answer, 1 failed" in ended.out
    assert answers(tmp_path / "torchrun") == answers(tmp_path / "processes") == answers(folder)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--tag", "final"), ["final", "accepted"]),
        (("--tag", "../up"), ["label tag", "plain name"]),
        (("--studies", "nowhere"), ["'nowhere' does not exist"]),
    ],
)
def test_wrong_words_are_refused(cli, folder, live, more, expected):
    cli(*words(folder, live, *more)).assert_refused(*expected)


def test_a_task_without_weights_is_refused(cli, folder, models):
    cli(*words(folder, models)).assert_refused(TASK, "no weights yet")
