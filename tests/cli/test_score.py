"""`score`: what to look at again first."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

TASK = "nuclei_vhllrhe"
METHODS = ("label_quality", "dice", "uncertainty")


@pytest.fixture
def spoilt(studies, tmp_path):
    """The shared phantoms, one label of them emptied and one unreadable."""
    folder = tmp_path / "studies"
    shutil.copytree(studies, folder)
    labels = folder / "labels" / "final"
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(labels / "nucleus_5.png")
    (labels / "nucleus_6.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_each_method_lists_and_writes_what_to_look_at_first(cli, spoilt, weights, tmp_path, method):
    file = tmp_path / "scores.json"
    ended = cli(
        *("score", TASK, "--studies", spoilt, "--weights", weights, "--method", method),
        *("--json", file, "--precision", "fp32"),
    )
    assert ended.status == 0, ended.err
    content = json.loads(file.read_text())
    assert content["about"]["method"] == method and content["about"]["weights_sha256"]
    rows = content["images"]
    assert [row["id"] for row in rows] == [line.split()[0] for line in ended.out.splitlines()[1:]]
    if method == "uncertainty":
        told = [row["disagreement"] for row in rows]
        assert told == sorted(told, reverse=True) and len(told) == 8
        return
    place = [row["id"] for row in rows].index("nucleus_5")
    # of a network of a few steps the quality of another label may be as low, by the processor
    assert place == 0 if method == "dice" else place < len(rows) // 2
    assert rows[-1]["id"] == "nucleus_6" and "nucleus_6" in rows[-1]["error"]
    told = [row["quality" if method == "label_quality" else "dice"] for row in rows[:-1]]
    assert told == sorted(told) and 0 <= told[0] < told[-1] <= 1


def test_unknown_methods_are_refused(cli, studies, weights):
    ended = cli("score", TASK, "--studies", studies, "--weights", weights, "--method", "dise")
    ended.assert_refused("scoring method", "dise", "dice")


@pytest.mark.parametrize("method", ["label_quality", "uncertainty"])
def test_exams_are_scored_as_a_whole(
    cli, exam_studies, exam_task, exam_weights, monkeypatch, tmp_path, method
):
    from lib.tasks.registry import TASKS

    monkeypatch.setitem(TASKS, exam_task.name, exam_task)
    file = tmp_path / "scores.json"
    words = ("score", exam_task.name, "--studies", exam_studies, "--weights", exam_weights)
    ended = cli(*words, "--method", method, "--json", file)
    assert ended.status == 0, ended.err
    rows = json.loads(file.read_text())["images"]
    assert len(rows) == 12 and all(len(row["images"]) == 4 for row in rows)
    if method == "label_quality":
        told = [row["quality"] for row in rows]
        assert told == sorted(told)
        assert {row["class"] for row in rows} <= set(exam_task.exam_rules.names)
    refused = cli(*words, "--method", "dice")
    refused.assert_refused("dice", exam_task.name, "label_quality")
